"""Three real servers under load, of which one is killed, frozen, slowed and revived: nobody elsewhere
notices, nobody is shown another store, nobody is told that the password is wrong, and in the end
everybody is in."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from peers.dovecot import Dovecot
from peers.process import session_members, signal_each, wait_until
from peers.rawimap import Closed, RawImap
from peers.usher import Listener, Usher

NAMES = ("mail1", "mail2", "mail3")
PEOPLE = {f"user{number}": f"secret-{number}" for number in range(12)}
# So that an outage is seen soon, and none where the machine is only busy.
CHECKS = {
    "check": "greeting",
    "check_interval": "500ms",
    "check_fast_interval": "200ms",
    "check_timeout": "2s",
    "check_fall": "2",
    "slow_start": "0s",
}
# How a session that nothing has happened to ends.
HARMLESS = {"client_closed", "backend_closed", "client_logout", "login_tries", "stopping"}
PATIENCE_S = 60
HOUR = re.compile(
    r"(\w{3} \d\d \d\d:\d\d:\d\d) (?:imap-login: Info: (Login): user=<(\w+)>.*"
    r"|imap\((\w+)\)<\d+>.*(Disconnected|Logged out|Connection closed))"
)


class Person(threading.Thread):
    """A mail program that comes, looks, stays for a moment and goes, over and over."""

    def __init__(self, usher: Usher, name: str) -> None:
        super().__init__(daemon=True)
        self.usher = usher
        self.user = name
        self.ends = threading.Event()
        self.served = 0
        self.stores: Counter[bytes] = Counter()
        self.refusals: Counter[str] = Counter()

    def run(self) -> None:
        while not self.ends.is_set():
            try:
                with self.usher.connect(timeout=30) as imap:
                    self.visit(imap)
            except OSError:
                pass
            time.sleep(0.05)

    def visit(self, imap: RawImap) -> None:
        answer = imap.login(self.user, PEOPLE[self.user])
        if answer.status != "OK":
            self.refusals[answer.code] += 1
            return
        imap.command(b"SELECT INBOX")
        fetched = imap.command(b"FETCH 1 BODY.PEEK[HEADER.FIELDS (X-Store)]")
        if fetched.status == "OK":
            (told,) = fetched.untagged
            self.stores[re.search(rb"X-Store: (\S+)", told)[1]] += 1
        until = time.monotonic() + 1
        while time.monotonic() < until and not self.ends.is_set():
            if imap.command(b"NOOP").status != "OK":
                return
            self.ends.wait(0.1)
        imap.command(b"LOGOUT")
        self.served += 1


class Cluster:
    """Usher, its servers, and people at work."""

    def __init__(self, usher: Usher, servers: dict[str, Dovecot]) -> None:
        self.usher = usher
        self.servers = servers
        self.people = [Person(usher, name) for name in PEOPLE]

    @contextmanager
    def working(self) -> Iterator[None]:
        for person in self.people:
            person.start()
        try:
            yield
        finally:
            for person in self.people:
                person.ends.set()
            for person in self.people:
                person.join()

    def wait_all_served(self, times: int = 1) -> None:
        """Until everybody has had so many more good visits."""
        before = {person.user: person.served for person in self.people}
        wait_until(
            lambda: all(person.served >= before[person.user] + times for person in self.people),
            PATIENCE_S,
            "everybody is served",
        )

    def wait_health(self, backend: str, state: str, after: int) -> None:
        self.usher.wait_event("backend_health", after=after, timeout=PATIENCE_S, backend=backend, state=state)

    def assert_nobody_else_noticed(self, ill: str, after: int) -> None:
        for event in self.usher.find("session_end", after=after):
            if event.get("backend") not in ("", ill):
                assert event["reason"] in HARMLESS, event
        for event in self.usher.find("backend_failed", after=after):
            assert event["backend"] == ill, event

    def assert_never_a_wrong_password(self) -> None:
        refusals = sum((person.refusals for person in self.people), Counter())
        assert set(refusals) <= {"UNAVAILABLE"}, refusals
        assert not self.usher.find("login_refused")


def deliver(server: Dovecot, store: str) -> None:
    """Each mailbox has one message, which says whose it is and in which store it lies."""
    for user in PEOPLE:
        new = server.maildir(user) / "new"
        for folder in (new, server.maildir(user) / "cur", server.maildir(user) / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (new / "1.first").write_text(f"X-Store: {store}/{user}\r\n\r\nHello\r\n")
        server.adopt(user)


def start_cluster(start_dovecot, start_usher, storage: str, mail=None) -> Cluster:
    servers = {
        name: start_dovecot(name, users=PEOPLE, clients_per_process=20, **({"mail": mail} if mail else {}))
        for name in NAMES
    }
    for name, server in servers.items():
        deliver(server, "all" if mail else name)
    usher = start_usher(
        servers,
        storage=storage,
        listeners={"imap": Listener()},
        pool_settings={"main": CHECKS},
        connect_timeout="2s",
        backend_login_timeout="6s",
        kick_grace="1s",
        user_expire="1s",
    )
    return Cluster(usher, servers)


def busiest(cluster: Cluster) -> str:
    """Whom it would hurt most."""
    logins = Counter(event["backend"] for event in cluster.usher.find("login"))
    return logins.most_common(1)[0][0]


@contextmanager
def frozen(server: Dovecot) -> Iterator[None]:
    members = session_members(server.process.pid)
    signal_each(members, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_each(members, signal.SIGCONT)


@contextmanager
def slowed(server: Dovecot) -> Iterator[None]:
    """It stands still for most of the time."""
    ending = threading.Event()

    def hamper() -> None:
        while not ending.wait(0.05):
            with frozen(server):
                ending.wait(0.2)

    thread = threading.Thread(target=hamper)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def kill_and_revive(cluster: Cluster, ill: str, start_dovecot, mail) -> None:
    """As a machine that loses its power, and comes again."""
    server = cluster.servers[ill]
    before = cluster.usher.mark()
    server.process.kill()
    cluster.wait_health(ill, "down", before)
    if mail:
        cluster.wait_all_served()
    cluster.assert_nobody_else_noticed(ill, before)
    before = cluster.usher.mark()
    cluster.servers[ill] = start_dovecot(
        ill, users=PEOPLE, clients_per_process=20, address=server.address, **({"mail": mail} if mail else {})
    )
    cluster.wait_health(ill, "up", before)
    cluster.wait_all_served()


def freeze_and_thaw(cluster: Cluster, ill: str, is_shared: bool) -> None:
    before = cluster.usher.mark()
    with frozen(cluster.servers[ill]):
        cluster.wait_health(ill, "down", before)
        if is_shared:
            cluster.wait_all_served()
        cluster.assert_nobody_else_noticed(ill, before)
        thawed = cluster.usher.mark()
    cluster.wait_health(ill, "up", thawed)
    cluster.wait_all_served()


def slow_down(cluster: Cluster, ill: str) -> None:
    before = cluster.usher.mark()
    with slowed(cluster.servers[ill]):
        cluster.wait_all_served(2)
    cluster.assert_nobody_else_noticed(ill, before)


def spans(server: Dovecot) -> list[tuple[str, datetime, datetime]]:
    """Who was there from when to when, by the server's own log, which has seconds."""
    began, ended = {}, {}
    for line in server.log.read_text().splitlines():
        found = HOUR.match(line)
        if found:
            at = datetime.strptime(f"2024 {found[1]}", "%Y %b %d %H:%M:%S")
            (began if found[2] else ended).setdefault(found[3] or found[4], []).append(at)
    return [
        (user, start, end)
        for user, starts in began.items()
        for start, end in zip(starts, ended.get(user, []))
    ]


def test_own_storage_under_outages(start_dovecot, start_usher):
    cluster = start_cluster(start_dovecot, start_usher, "own")
    with cluster.working():
        cluster.wait_all_served()
        ill = busiest(cluster)
        kill_and_revive(cluster, ill, start_dovecot, None)
        freeze_and_thaw(cluster, ill, is_shared=False)
        slow_down(cluster, ill)
        cluster.wait_all_served()
    cluster.assert_never_a_wrong_password()
    for person in cluster.people:
        # Always the same store, and its own mailbox.
        assert len(person.stores) == 1, person.stores
        assert next(iter(person.stores)).endswith(b"/" + person.user.encode())
    assert not any(
        event["reason"] == "backend_down" for event in cluster.usher.find("session_end")
    )


def test_shared_storage_under_outages(start_dovecot, start_usher, folder):
    mail = folder / "mail"
    cluster = start_cluster(start_dovecot, start_usher, "shared", mail)
    with cluster.working():
        cluster.wait_all_served()
        ill = busiest(cluster)
        kill_and_revive(cluster, ill, start_dovecot, mail)
        freeze_and_thaw(cluster, ill, is_shared=True)
        slow_down(cluster, ill)
        cluster.wait_all_served()
    cluster.assert_never_a_wrong_password()
    for person in cluster.people:
        assert set(person.stores) == {b"all/" + person.user.encode()}
    cluster.usher.stop()
    # A server that stands still writes nothing, neither mail nor log: what it says of the end of a
    # session that was ended meanwhile comes when it wakes up.
    stays = [(name, *span) for name, server in cluster.servers.items() for span in spans(server)]
    homes = Counter((user, name) for name, user, _, _ in stays)
    assert len(homes) > len(PEOPLE)
    slack = timedelta(seconds=1)
    for one, user, began, ended in stays:
        for other, other_user, other_began, other_ended in stays:
            if user == other_user and one != other and ill not in (one, other):
                assert ended <= other_began + slack or other_ended <= began + slack
