"""An usher whose configuration and program change while it runs, for the tests of that."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conftest import LISTENERS, configure
from ctl import FAILED, Answer, ask, steer
from peers.certs import Certificate
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import signal_each, stat_fields, wait_until
from peers.rawimap import RawImap
from peers.usher import Event, Usher

# idle_timeout unless it is said otherwise.
USUAL_IDLE_S = 31 * 60

# Events that tell how many workers there are from then on.
WITH_WORKERS = ("ready", "reloaded", "upgraded")


class Changing:
    """`usher` runs with what `settings` say (those of conftest's configure(), and `pools`); the
    methods change some of them, have usher read them, and say how that went."""

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        certificate: Certificate,
        pools: Mapping[str, Mapping[str, object]],
        *,
        usher: Mapping[str, object] | None = None,
        **settings: object,
    ) -> None:
        """`usher` has options of Usher."""
        self.folder = folder
        self.settings = {"certificate": certificate, "pools": pools, **settings}
        self.count = 0
        self.door = folder / "state/ctl"
        self.usher = stack.enter_context(Usher(folder, self.text(), **(usher or {})))

    def text(self, **changed: object) -> str:
        """The configuration with these settings in place of those in use; None: without."""
        wanted = {**self.settings, **changed}
        wanted = {key: value for key, value in wanted.items() if value is not None}
        shown = wanted.pop("certificate", None)
        return configure(self.folder, shown, wanted.pop("pools"), **wanted)

    def write(self, **changed: object) -> None:
        self.usher.rewrite(self.text(**changed))

    def begin_reload(self, **changed: object) -> Event:
        """Changes these and no others; it must succeed. Workers of before may still accept."""
        self.write(**changed)
        event = self.usher.reload()
        self.settings.update(changed)
        return event

    def reload(self, **changed: object) -> Event:
        """The same. Returns when all that is new has taken over."""
        mark = self.usher.mark()
        event = self.begin_reload(**changed)
        self.wait_taken_over(mark)
        return event

    def upgrade(self) -> Event:
        """To what is installed now; it must succeed. Returns when all that is new has taken over."""
        mark = self.usher.mark()
        event = self.usher.upgrade()
        self.wait_taken_over(mark)
        return event

    def wait_taken_over(self, after: int) -> None:
        """The new control decides, and the workers of before accept nothing more."""
        usher = self.usher
        usher.wait_event("control_recovered", after=after)
        with_workers = [event for event in usher.events[:after] if event.name in WITH_WORKERS]
        usher.wait_events("worker_retired", int(with_workers[-1]["workers"]), after=after)

    def renew(self) -> Event:
        """A new generation for a reason that concerns nobody."""
        return self.reload(idle_timeout=self.next_patience())

    def next_patience(self) -> str:
        """A value of idle_timeout that it has not had yet, and that nobody notices."""
        self.count += 1
        return f"{USUAL_IDLE_S + self.count}s"

    def refused(self, number: int = signal.SIGHUP, **changed: object) -> str:
        """It must be refused; why."""
        self.write(**changed)
        event = self.usher.change(number)
        assert event.name == "change_refused", event
        return event["detail"]

    def ask(self, *words: object) -> Answer:
        """By the socket's path: the configuration may be unreadable."""
        return ask(self.door, *words)

    def ask_refused(self, *words: object) -> Answer:
        """A change that must be refused. It has been logged too by now: who waits for the end of the
        next change from here on does not meet this one's."""
        mark = self.usher.mark()
        answer = self.ask(*words)
        assert answer.status == FAILED, answer
        self.usher.wait_event("change_refused", after=mark)
        return answer

    @contextmanager
    def stopped_workers(self, count: int) -> Iterator[None]:
        """The workers, so many, stand still meanwhile."""
        wait_until(lambda: len(self.workers()) == count, 20, "control knows all workers")
        pids = [row["pid"] for row in self.workers()]
        signal_each(pids, signal.SIGSTOP)
        try:
            wait_until(lambda: all(stat_fields(pid)[0] == "T" for pid in pids), 10, "workers stop")
            yield
        finally:
            signal_each(pids, signal.SIGCONT)

    def workers(self, retired: bool = False) -> list[dict]:
        """Those of the last generation, or of all before it."""
        rows = steer(self.door, "workers").rows
        return [row for row in rows if row["retired"] == retired]


def starting(stack: ExitStack, folder: Path, **usual: object) -> Callable[..., Changing]:
    """What starts one; `usual` are its settings unless they are given otherwise."""

    def start(**settings: object) -> Changing:
        return Changing(stack, folder, **{"listeners": LISTENERS, **usual, **settings})

    return start


def both(fakes: Sequence[FakeBackend]) -> dict[str, dict[str, FakeBackend]]:
    """One pool of all of them."""
    return {"main": {fake.name: fake for fake in fakes}}


def only(fake: FakeBackend) -> dict[str, dict[str, FakeBackend]]:
    return both([fake])


def is_refused(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection((address, port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False


def log_in(usher: Usher, user: str = "ann", listener: str = "plain", **options: object) -> RawImap:
    imap = usher.connect(listener, **options)
    answer = imap.login(user, PASSWORD)
    assert answer.status == "OK", answer
    return imap


def home_of(usher: Usher, user: str, listener: str = "plain") -> str:
    """The name of the backend to which a login is shown now; the session ends again."""
    with usher.connect(listener) as imap:
        answer = imap.login(user, PASSWORD)
        assert answer.status == "OK", answer
        return answer.text.rsplit(b" ", 1)[1].decode()


def instance_of(usher: Usher, imap: RawImap) -> str:
    """Which worker has this session that is logged in: the first part of the session's id."""
    login = usher.wait_event("login", after=imap.since, client=imap.local)
    return login["id"].partition(".")[0]
