"""Longer runs: what leaks or breaks only after thousands of sessions."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import LISTENER_OF_TLS
from peers.certs import Tls
from peers.crowd import Crowd
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import rss_kib, wait_until

MANY = 9000
SHORT_SESSIONS = 15_000
CHURN_S = 60
GROWTH_MOST_KIB = 4 << 10

pytestmark = pytest.mark.long


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def count_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def short_session(usher, number: int) -> bool:
    """Comes, asks, goes, each third time with TLS, STARTTLS or a wrong password; whether it was
    served."""
    tls = list(Tls)[number % 3]
    password = "wrong" if number % 7 == 0 else PASSWORD
    try:
        with usher.connect(LISTENER_OF_TLS[tls], tls=tls, timeout=30) as imap:
            status = imap.login(f"user{number % 500}", password).status
            return status == ("NO" if password == "wrong" else "OK") and imap.is_alive()
    except OSError:
        return False


def test_thousands_of_short_sessions_leave_nothing_behind(start_usher, fake):
    frugal = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    usher = start_usher({"fake": fake}, workers="1", env={"ASAN_OPTIONS": frugal})
    pids = [usher.pid(role) for role in ("worker", "control", "lookup")]
    numbers = iter(range(SHORT_SESSIONS))
    for number in (next(numbers) for _ in range(SHORT_SESSIONS // 3)):
        assert short_session(usher, number)
    usher.wait_events("session_end", SHORT_SESSIONS // 3, timeout=30)
    descriptors = [count_descriptors(pid) for pid in pids]
    memory = [rss_kib(pid) for pid in pids]
    for number in numbers:
        assert short_session(usher, number)
    usher.wait_events("session_end", SHORT_SESSIONS, timeout=30)
    assert [count_descriptors(pid) for pid in pids] == descriptors
    assert all(rss_kib(pid) - before < GROWTH_MOST_KIB for pid, before in zip(pids, memory))


def test_logins_are_served_while_processes_die(start_usher, fake):
    """Everything but the parent is killed in turn, again and again, under load. Only sessions of
    a killed worker may be lost; what is asked of the others is answered."""
    usher = start_usher({"fake": fake}, workers="2")
    ending = threading.Event()
    served = [0, 0, 0, 0]
    lost = [0, 0, 0, 0]

    def visitor(who: int) -> None:
        draw = random.Random(who)
        while not ending.is_set():
            if short_session(usher, draw.randrange(10_000)):
                served[who] += 1
            else:
                lost[who] += 1

    visitors = [threading.Thread(target=visitor, args=(who,)) for who in range(len(served))]
    for thread in visitors:
        thread.start()
    draw = random.Random(0)
    worker_deaths = 0
    until = time.monotonic() + CHURN_S
    try:
        while time.monotonic() < until:
            role = draw.choice(["control", "control", "lookup", "worker"])
            slot = draw.randrange(2) if role == "worker" else None
            before = usher.mark()
            os.kill(usher.pid(role, slot), signal.SIGKILL)
            worker_deaths += role == "worker"
            where = {"role": role} if slot is None else {"role": role, "slot": slot}
            usher.wait_event("process_started", after=before, timeout=30, **where)
            time.sleep(draw.uniform(0, 2))
    finally:
        ending.set()
        for thread in visitors:
            thread.join()
    assert worker_deaths > 0
    assert min(served) > 100
    # A visitor has one session at a time, so a worker takes at most one of each along.
    assert sum(lost) <= worker_deaths * len(visitors)
    assert all(short_session(usher, number) for number in range(1, 50))


def test_nine_thousand_sessions_outlive_control(start_usher, fake):
    usher = start_usher({"fake": fake}, workers="2")
    with Crowd() as crowd:
        for listener, tls, count in (("plain", Tls.OFF, 6000), ("imaps", Tls.IMPLICIT, 3000)):
            crowd.enter(
                count, "127.0.0.1", usher.port(listener),
                user=f"{listener}{{}}".format, password=PASSWORD, tls=tls, timeout=300,
            )  # fmt: skip
        assert crowd.count_alive(timeout=120) == MANY
        os.kill(usher.pid("control"), signal.SIGKILL)
        assert int(usher.wait_event("control_recovered", timeout=30)["sessions"]) == MANY
        assert crowd.count_alive(timeout=120) == MANY
        assert short_session(usher, 1)
    wait_until(lambda: len(usher.find("session_end")) > MANY, 60, "all sessions end")
