"""Logins that a backend answers when it has gone down already."""

from __future__ import annotations

import pytest
from ctl import ask
from peers.fakebackend import PASSWORD
from peers.usher import Backend, Listener
from watched import Mood, Watched

CHECKS = {
    "check": "greeting",
    "check_interval": "300ms",
    "check_fast_interval": "100ms",
    "check_timeout": "1500ms",
    "check_fall": "2",
}
# Slower than probes bear, and not too slow for a login.
SLOW = Mood(delay_s=2)


@pytest.fixture
def world(stack) -> Watched:
    return stack.enter_context(Watched(("mail1", "mail2")))


def start(start_usher, world: Watched, **pool):
    return start_usher(
        {name: Backend(end.endpoint) for name, end in world.backends.items()},
        storage="shared",
        listeners={"imap": Listener()},
        pool_settings={"main": {**CHECKS, **pool}},
    )


def log_in_late(usher, world: Watched, imap):
    """The answer of ann's backend, and its name, when it was found to be down before."""
    home = ask(usher, "route", "ann").done["chosen"]
    world.feel(home, Mood(is_frozen=True))
    tag = imap.start(f'LOGIN "ann" "{PASSWORD}"'.encode())
    usher.wait_event("backend_health", backend=home, state="down")
    world.feel(home, SLOW)
    return imap.finish(tag), home


def test_who_is_late_on_a_backend_that_is_down_comes_again_elsewhere(start_usher, world):
    """Else this one session would keep its user out for as long as it lives."""
    usher = start(start_usher, world)
    with usher.connect(timeout=30) as late, usher.connect() as other:
        answer, home = log_in_late(usher, world, late)
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert other.login("ann", PASSWORD).status == "OK"
        assert late.login("ann", PASSWORD).status == "OK"
        assert ask(usher, "route", "ann").done["live"] not in (home, None)
    assert world.overlaps == []


def test_who_is_late_stays_where_sessions_are_kept(start_usher, world):
    usher = start(start_usher, world, on_down="keep")
    with usher.connect(timeout=30) as late:
        answer, home = log_in_late(usher, world, late)
        assert answer.status == "OK"
        assert ask(usher, "route", "ann").done["live"] == home
