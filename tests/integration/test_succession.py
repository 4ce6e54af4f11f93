"""What a control that is replaced by a reload tells its successor, and one that dies does not: how backends
do and since when, and the moves and kicks that are under way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from changing import Changing, home_of, log_in
from conftest import LISTENERS
from ctl import steer
from peers.fakebackend import FakeBackend
from peers.process import wait_until


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes) -> Callable[..., Changing]:
    """Starts an usher before both backends; nobody goes to mail2 unless moved."""

    def start(**settings) -> Changing:
        pools = {"main": {"mail1": fakes[0], "mail2": fakes[1]}}
        usual = {"pools": pools, "listeners": LISTENERS, "certificate": certificate}
        changing = Changing(stack, folder, **{**usual, **settings})
        steer(changing.usher, "backend", "drain", "mail2")
        return changing

    return start


def log_in_many(changing: Changing, stack, count: int) -> list[str]:
    users = [f"user{number} = %" for number in range(count)]
    for user in users:
        stack.enter_context(log_in(changing.usher, user))
    steer(changing.usher, "backend", "up", "mail2")
    return users


def since(changing: Changing, backend: str) -> int:
    return changing.ask("backends").row(backend=backend)["since"]


def replace_by_death(changing: Changing) -> None:
    usher = changing.usher
    mark = usher.mark()
    os.kill(usher.pid("control"), signal.SIGKILL)
    usher.wait_event("control_recovered", after=mark)


def test_who_waits_for_a_turn_is_moved_by_the_next_control(start, stack):
    changing = start(storage="shared")
    usher = changing.usher
    users = log_in_many(changing, stack, 8)
    steer(usher, "move", "--from", "mail1", "--to", "mail2", "--rate", "2")
    usher.wait_event("moved")
    mark = usher.mark()
    changing.renew()
    taken = usher.wait_event("notes_taken", after=mark)
    assert taken["backends"] == "2"
    assert 0 < int(taken["waiting"]) < len(users)
    usher.wait_events("moved", len(users), timeout=30)
    # Each once, whichever control it was.
    assert sorted(event["user"] for event in usher.find("moved")) == sorted(users)
    assert {home_of(usher, user) for user in users} == {"mail2"}
    assert not usher.find("notes_lost")
    assert not usher.find("move_failed")


def test_kicks_go_on(start, stack):
    changing = start(storage="shared")
    usher = changing.usher
    users = log_in_many(changing, stack, 6)
    steer(usher, "kick", "--backend", "mail1", "--rate", "2")
    usher.wait_event("session_end")
    changing.renew()
    assert int(usher.wait_event("notes_taken")["waiting"]) > 0
    usher.wait_events("session_end", len(users), timeout=30)


def test_since_when_a_backend_is_up_is_known(start):
    changing = start(pool_settings={"main": {"check": "tcp"}})
    wait_until(lambda: since(changing, "mail1") >= 2, 20, "it is up for a while")
    changing.renew()
    assert since(changing, "mail1") >= 2
    replace_by_death(changing)
    assert since(changing, "mail1") <= 1


def test_a_control_that_dies_leaves_no_notes(start, stack):
    changing = start(storage="shared")
    usher = changing.usher
    log_in_many(changing, stack, 4)
    steer(usher, "move", "--from", "mail1", "--to", "mail2", "--rate", "1")
    replace_by_death(changing)
    assert changing.ask("status").done["moves"] == 0
    # Nor does it get those of a reload before it.
    changing.renew()
    usher.wait_event("notes_taken")
    mark = usher.mark()
    replace_by_death(changing)
    assert not usher.find("notes_taken", mark)
