"""A crowd that comes all at once is let in as fast as its backend takes it, and no faster."""

from __future__ import annotations

import threading
import time

import pytest
from peers.crowd import Crowd
from peers.fakebackend import PASSWORD
from peers.process import wait_until
from peers.usher import Backend, Listener
from watched import Watched, WatchedSession

RATE = 200
# What comes late comes together: the machine's delays, in logins.
SLACK = 150


class Timed(Watched):
    """Watched backends that know when each login came."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.times: list[float] = []
        super().__init__(names)

    def enter(self, session: WatchedSession) -> None:
        self.times.append(time.monotonic())
        super().enter(session)


@pytest.fixture
def one(stack):
    return stack.enter_context(Timed(("mail1",)))


def assert_never_faster(times: list[float], rate: int) -> None:
    """At no moment have more come than the rate allows since the first."""
    for number, at in enumerate(times):
        assert number <= (at - times[0]) * rate * 1.02 + SLACK, (number, at - times[0])


def backends(world: Watched, **options) -> dict[str, Backend]:
    return {name: Backend(end.endpoint, **options) for name, end in world.backends.items()}


def start(start_usher, world, **options):
    return start_usher(
        backends(world, **options),
        listeners={"imap": Listener()},
        pool_settings={"main": {"queue_timeout": "60s", "check": "greeting"}},
        login_timeout="90s",
        max_logins="6000",
    )


@pytest.mark.parametrize("count", [800, pytest.param(5000, marks=pytest.mark.long)])
def test_a_storm_is_let_in_at_the_rate_of_the_backend(start_usher, one, count):
    usher = start(start_usher, one, login_rate=RATE)
    with Crowd() as crowd:
        began = time.monotonic()
        crowd.enter(
            count, "127.0.0.1", usher.port(), user="user{}".format, password=PASSWORD,
            timeout=120, abreast=count,
        )  # fmt: skip
        took = time.monotonic() - began
        assert crowd.count_alive() == count
    assert_never_faster(one.times, RATE)
    # It was held back at all.
    assert took > count / (RATE * 1.1) - 1
    assert usher.find("queued", backend="mail1")
    assert not usher.find("login_failed")


def test_a_crowd_waits_for_those_who_leave(start_usher, one):
    usher = start(start_usher, one, max_sessions=20)
    with Crowd() as crowd:
        crowd.enter(20, "127.0.0.1", usher.port(), user="early{}".format, password=PASSWORD)
        with usher.connect() as late:
            tag = late.start(f'LOGIN "late" "{PASSWORD}"'.encode())
            assert "max_sessions" in usher.wait_event("queued")["detail"]
            crowd.members.pop().writer.transport.abort()
            crowd.loop.run_until_complete(crowd_turn())
            assert late.finish(tag).status == "OK"
            assert late.is_alive()


async def crowd_turn() -> None:
    """Transports finish closing in the loop's next round."""


def test_who_waits_too_long_is_told_that_it_is_not_the_password(start_usher, one):
    usher = start_usher(
        backends(one, max_sessions=1),
        listeners={"imap": Listener()},
        pool_settings={"main": {"queue_timeout": "300ms", "unavailable_text": "Busy, come again."}},
    )
    with usher.connect() as first, usher.connect() as second:
        assert first.login("ann", PASSWORD).status == "OK"
        answer = second.login("bob", PASSWORD)
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert b"Busy, come again." in answer.text
    assert "queue_timeout" in usher.wait_event("login_failed", user="bob")["detail"]


def test_one_user_with_many_programs_holds_nobody_up(start_usher, one):
    usher = start(start_usher, one, login_rate=10)
    order: list[str] = []

    def come(user: str) -> None:
        with usher.connect(timeout=60) as imap:
            assert imap.login(user, PASSWORD).status == "OK"
            order.append(user)

    threads = [threading.Thread(target=come, args=("greedy",)) for _ in range(40)]
    for thread in threads:
        thread.start()
    usher.wait_event("queued")
    others = [threading.Thread(target=come, args=(f"other{n}",)) for n in range(5)]
    for thread in others:
        thread.start()
    for thread in threads + others:
        thread.join()
    wait_until(lambda: len(order) == 45, 10, "all are in")
    # Each waits for one of the greedy user's at most, and for the few that were before the queue.
    last = max(order.index(f"other{n}") for n in range(5))
    assert order[last:].count("greedy") >= 8, order
