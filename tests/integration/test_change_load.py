"""Reloads, upgrades and sudden deaths of usher's processes while many are in the middle of something: nobody
is refused or cut off, no octet is lost, and everybody is seen.

A run prints its seed. CHANGE_SEED in the environment repeats it, as far as time allows.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterable

import pytest
from changing import Changing
from ctl import BINARY, steer
from peers.certs import Tls
from peers.crowd_live import Live, LiveCrowd
from peers.process import is_alive, wait_until
from peers.program import Installed
from peers.streaming import StreamingBackend
from peers.usher import Event, Listener

LISTENERS = {
    "plain": Listener(),
    "imap": Listener(tls=Tls.STARTTLS, auth_allow_cleartext=False),
    "imaps": Listener(tls=Tls.IMPLICIT, auth_allow_cleartext=False),
}
# What must never be in the log.
SHAMEFUL = (
    "crashed",
    "fatal",
    "sandbox_violation",
    "process_stuck",
    "listener_broken",
    "state_failed",
    "affinity_lost",
    "accept_failed",
)
# How many of those who come later join each generation.
NEWCOMERS = 10
PATIENCE_S = 120
# A process that has lived for so long is replaced at once.
OLD_S = 11


class Show:
    """One usher, whoever is connected with it, and what is done to it meanwhile."""

    def __init__(self, stack, folder, certificate, seed: str, **settings: object) -> None:
        print(f"CHANGE_SEED={seed}")
        self.draw = random.Random(seed)
        backends = [stack.enter_context(StreamingBackend(name)) for name in ("mail1", "mail2")]
        self.installed = Installed(folder, BINARY)
        self.changing = Changing(
            stack,
            folder,
            certificate,
            {"main": {backend.name: backend for backend in backends}},
            listeners=LISTENERS,
            usher={"binary": self.installed.path},
            **{"login_timeout": "2m", **settings},
        )
        self.usher = self.changing.usher
        ports = {listener.tls: self.usher.port(name) for name, listener in LISTENERS.items()}
        self.crowd = stack.enter_context(LiveCrowd(ports, seed))
        self.killed: list[int] = []

    # --- changes ---

    def begin(self, with_upgrade: bool) -> int:
        """Has usher begin a change that needs new processes; where the events behind it begin."""
        mark = self.usher.mark()
        if with_upgrade:
            self.installed.put_other()
        self.changing.write(idle_timeout=self.changing.next_patience())
        self.usher.process.send_signal(signal.SIGUSR2 if with_upgrade else signal.SIGHUP)
        return mark

    def change(self, with_upgrade: bool = False) -> Event:
        """A change that succeeds, and some who come behind it."""
        mark = self.begin(with_upgrade)
        event = self.usher.wait_change(mark, PATIENCE_S)
        assert event.name == ("upgraded" if with_upgrade else "reloaded"), event
        self.usher.wait_event("control_recovered", PATIENCE_S, after=mark)
        self.crowd.enter(NEWCOMERS)
        self.look()
        return event

    # --- deaths ---

    def kill(self, pid: int) -> None:
        self.killed.append(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended by itself

    def fresh(self, mark: int) -> list[int]:
        """Processes that were started since, and live."""
        pids = [int(event["pid"]) for event in self.usher.find("process_started", mark)]
        return [pid for pid in pids if is_alive(pid)]

    def wait_moment(self, mark: int) -> None:
        """Some moment of a change: when so many processes have been started for it, or a little later."""
        usher = self.usher
        wanted = self.draw.randrange(0, 6)

        def has_come() -> bool:
            ended = any(usher.find(name, mark) for name in ("reloaded", "upgraded", "change_refused"))
            return ended or len(usher.find("process_started", mark)) >= wanted

        wait_until(has_come, PATIENCE_S, "the change goes on")
        time.sleep(self.draw.choice((0, 0, 0.001, 0.01, 0.05, 0.2)))

    def kill_control(self, with_upgrade: bool) -> None:
        mark = self.begin(with_upgrade)
        self.wait_moment(mark)
        self.kill(self.usher.control_pid())
        self.settle(mark)

    def kill_candidate(self, with_upgrade: bool) -> None:
        mark = self.begin(with_upgrade)
        self.wait_moment(mark)
        wait_until(lambda: self.fresh(mark), PATIENCE_S, "there is a candidate")
        victim, before = self.draw.choice(self.fresh(mark)), time.monotonic()
        self.kill(victim)
        # It may be one that serves already.
        self.give_up(victim, before)
        self.settle(mark)

    def kill_new_worker(self, with_upgrade: bool) -> None:
        mark = self.begin(with_upgrade)
        self.usher.wait_change(mark, PATIENCE_S)
        workers = self.usher.find("process_started", mark, role="worker")
        time.sleep(self.draw.choice((0, 0.001, 0.01, 0.05, 0.2)))
        victim, before = int(self.draw.choice(workers)["pid"]), time.monotonic()
        self.kill(victim)
        self.give_up(victim, before)
        self.settle(mark)

    def give_up(self, victim: int, before: float) -> None:
        """Whoever was in the process that was killed: those who have got through since are not."""
        wait_until(lambda: not is_alive(victim), 20, "who was killed is dead")
        started = [int(event["pid"]) for event in self.usher.find("process_started")]
        # Processes are numbered as they are started.
        lost = self.members_of(1 + started.index(victim))
        self.crowd.give_up(lost, (before, time.monotonic()))

    def members_of(self, instance: int) -> list[Live]:
        logins = self.usher.find("login")
        addresses = {
            event["client"].rpartition(":")[0]
            for event in logins
            if event["id"].startswith(f"{instance}.")
        }
        return [session for session in self.crowd.sessions if session.address in addresses]

    def settle(self, mark: int) -> None:
        """After a death: the change went through or changed nothing, and all is well again."""
        self.usher.wait_change(mark, PATIENCE_S)
        wait_until(self.is_well, PATIENCE_S, "usher has all its processes")
        self.crowd.enter(NEWCOMERS)
        self.look()

    def is_well(self) -> bool:
        done = self.changing.ask("status").done
        return bool(done) and done["recovered"] and len(self.changing.workers()) == 2

    # --- what must hold ---

    def look(self) -> None:
        """Nothing has gone wrong, and control knows exactly those who are there."""
        faults = self.crowd.faults()
        assert not faults, "\n".join([*faults[:20], *self.usher.lines[-100:]])
        living = {session.address for session in self.crowd.sessions}

        def differing() -> set[str]:
            rows = steer(self.changing.door, "sessions").rows
            # Those of the stream come from another address, and go.
            seen = [row["client"] for row in rows if row["client"] != "127.0.0.1"]
            assert len(seen) == len(set(seen)), "a session is told twice"
            return living ^ set(seen)

        wait_until(lambda: not differing(), 30, "operators see exactly those who are there")

    def audit(self) -> None:
        """All come to a good end."""
        self.crowd.finish()
        self.look_at_the_end()
        outcomes = self.crowd.stream.outcomes
        print(f"{outcomes['good']} logins, the longest waited {self.crowd.longest_wait():.2f} s")
        done = {kind: self.done(kind) for kind in ("idle", "fetch", "append")}
        print(f"{len(self.crowd.sessions)} sessions to the end: {done}")
        assert all(done.values())
        self.look_at_the_log()

    def look_at_the_end(self) -> None:
        faults = self.crowd.faults()
        assert not faults, "\n".join(faults[:20])
        assert self.crowd.stream.outcomes["good"] > 0

    def done(self, kind: str) -> int:
        return sum(session.done for session in self.crowd.sessions if session.kind == kind)

    def look_at_the_log(self) -> None:
        usher = self.usher
        for name in SHAMEFUL:
            assert not usher.find(name), usher.find(name)
        for event in usher.find("process_ended"):
            assert int(event["pid"]) in self.killed, event
        assert {event["reason"] for event in usher.find("session_end")} <= {
            "client_closed",
            "client_reset",
            "client_logout",
            "client_tls",
            "backend_closed",
        }


def perform(show: Show, sessions: int, rate: float, reloads: int, deaths: Iterable[str]) -> None:
    show.crowd.enter(sessions)
    show.crowd.begin_stream(rate)
    show.look()
    for _ in range(reloads):
        show.change()
    for _ in ("there", "back"):
        show.change(with_upgrade=True)
    for number, victim in enumerate(deaths):
        getattr(show, f"kill_{victim}")(with_upgrade=number % 2 == 1)
    show.change(with_upgrade=True)
    show.audit()


VICTIMS = ("control", "candidate", "new_worker")


def seed_of(usual: str) -> str:
    return os.environ.get("CHANGE_SEED", usual)


def test_nobody_notices(stack, folder, certificate):
    show = Show(stack, folder, certificate, seed_of("1"))
    perform(show, sessions=150, rate=20, reloads=3, deaths=VICTIMS)
    show.usher.stop(60)


@pytest.mark.long
def test_two_thousand_sessions_and_a_hundred_logins_a_second(stack, folder, certificate):
    show = Show(stack, folder, certificate, seed_of(str(random.SystemRandom().randrange(1 << 32))))
    deaths = [show.draw.choice(VICTIMS) for _ in range(17)] + list(VICTIMS)
    perform(show, sessions=2000, rate=100, reloads=10, deaths=deaths)
    show.usher.stop(120)


@pytest.mark.long
def test_how_long_logins_wait_is_told(stack, folder, certificate):
    """Figures, of this machine and this build; CHANGE_FIGURES in the environment names a file for
    them. That everybody gets in is asserted, how soon is not."""
    show = Show(stack, folder, certificate, seed_of("1"))
    crowd, figures = show.crowd, []

    def measure(what: str, times: int, act: Callable[[], None]) -> None:
        waits = []
        for _ in range(times):
            began = time.monotonic()
            act()
            waits.append(crowd.longest_wait(began))
        told = " ".join(f"{1000 * wait:.0f}" for wait in sorted(waits))
        figures.append(f"{what}: the longest waits of logins in ms: {told}")

    def crash() -> None:
        # One that dies young is replaced after a pause.
        born = time.monotonic()
        wait_until(lambda: time.monotonic() - born > OLD_S, PATIENCE_S, "control is old enough")
        mark, logins = show.usher.mark(), crowd.stream.outcomes["good"]
        show.kill(show.usher.control_pid())
        show.usher.wait_event("control_recovered", PATIENCE_S, after=mark)
        wait_until(lambda: crowd.stream.outcomes["good"] > logins + 50, PATIENCE_S, "logins go on")

    def rest() -> None:
        logins = crowd.stream.outcomes["good"]
        wait_until(lambda: crowd.stream.outcomes["good"] > logins + 50, PATIENCE_S, "logins go on")

    crowd.enter(500)
    crowd.begin_stream(100)
    measure("calm", 5, rest)
    measure("reload", 5, show.change)
    measure("upgrade", 5, lambda: show.change(with_upgrade=True))
    measure("crash of control", 3, crash)
    print("\n".join(figures))
    if "CHANGE_FIGURES" in os.environ:
        with open(os.environ["CHANGE_FIGURES"], "a", encoding="utf-8") as file:
            file.write("\n".join(figures) + "\n")
    show.audit()
    show.usher.stop(60)
