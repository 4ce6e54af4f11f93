"""Processes of several generations at one time: what control knows goes from one to the next, and workers of
before are seen and steered until their last session ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from changing import Changing, both, home_of, log_in, only, starting
from ctl import steer
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.usher import Listener
from test_penalties import fail


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes) -> Callable[..., Changing]:
    """Starts an usher before mail1, unless told otherwise; settings are Changing's."""
    return starting(stack, folder, certificate=certificate, pools=only(fakes[0]))


# --- what goes on ---------------------------------------------------------------------------------


def test_a_backend_that_was_put_down_stays_down(start, fakes):
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    steer(usher, "backend", "down", "mail1")
    changing.renew()
    assert changing.ask("backends").row(backend="mail1")["state"] == "down"
    assert {home_of(usher, f"user{number}") for number in range(10)} == {"mail2"}


def test_a_backend_that_probes_have_found_down_is_not_tried(start, fakes):
    """Control remembers what the one before it knew: nobody meets the dead backend first."""
    checks = {"check": "tcp", "check_interval": "1h", "check_fast_interval": "100ms", "check_fall": "1"}
    checks |= {"storage": "shared"}
    changing = start(pools=both(fakes), pool_settings={"main": checks})
    usher = changing.usher
    fakes[0].stop()
    # A login that fails has it probed.
    users = [f"user{number}" for number in range(10)]
    wait_until(
        lambda: [home_of(usher, user) for user in users] and usher.find("backend_health", state="down"),
        30,
        "it is down",
    )
    mark = usher.mark()
    changing.renew()
    for user in users:
        assert home_of(usher, user) == "mail2"
    assert not usher.find("backend_failed", mark)
    assert changing.ask("backends").row(backend="mail1")["health"] in ("down", "recovering")


def test_users_stay_where_they_were(start, fakes):
    """Shared storage: affinity outlives their sessions and the control that knew it."""
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    users = [f"user{number}" for number in range(10)]
    steer(usher, "backend", "down", "mail1")
    assert {home_of(usher, user) for user in users} == {"mail2"}
    steer(usher, "backend", "up", "mail1")
    changing.renew()
    assert {home_of(usher, user) for user in users} == {"mail2"}
    # Others go there.
    assert "mail1" in {home_of(usher, f"new{number}") for number in range(30)}


def test_failed_logins_are_remembered(start):
    changing = start(
        listeners={"imap": Listener()},
        penalty_exempt=["127.0.0.1"],
        penalty_delay="50ms",
        penalty_refuse_address="4",
    )
    usher = changing.usher
    fail(usher, 4)
    changing.renew()
    with usher.connect("imap", source="127.0.1.1") as imap:
        answer = imap.login("ann", PASSWORD)
        assert answer.status == "NO" and answer.code != "AUTHENTICATIONFAILED"
    log_in(usher, "ann", "imap").close()


def test_holds_and_pins_are_kept(start, fakes):
    changing = start(pools=both(fakes), storage="shared", hold_timeout="1m")
    usher = changing.usher
    steer(usher, "pin", "ann", "mail2")
    steer(usher, "hold", "bob")
    with usher.connect("plain") as waiting:
        tag = waiting.start(f'LOGIN "bob" "{PASSWORD}"'.encode())
        usher.wait_event("held", user="bob")
        changing.renew()
        usher.wait_events("held", 2, user="bob")
        assert home_of(usher, "ann") == "mail2"
        steer(usher, "release", "bob")
        assert waiting.finish(tag).status == "OK"


def test_counters_go_on(start):
    changing = start()
    usher = changing.usher
    for number in range(3):
        log_in(usher, f"user{number}").close()
        changing.renew()
    usher.stop()
    totals = usher.find("stopped")[0]
    assert (totals["logins"], totals["sessions"]) == ("3", "3")


def test_a_move_of_many_goes_on(start, fakes, stack):
    """A reload in the middle: whoever was on the way arrives, and nobody is left half."""
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    steer(usher, "backend", "drain", "mail2")
    users = [f"user{number}" for number in range(30)]
    for user in users:
        stack.enter_context(log_in(usher, user))
    steer(usher, "backend", "up", "mail2")
    steer(usher, "move", "--from", "mail1", "--to", "mail2", "--rate", "20")
    usher.wait_event("moved")
    changing.renew()
    usher.wait_events("moved", len(users), timeout=60)
    assert {home_of(usher, user) for user in users} == {"mail2"}


# --- workers of before ----------------------------------------------------------------------------


def test_several_generations_live_and_are_steered(start):
    changing = start(kick_grace="100ms")
    usher = changing.usher
    with ExitStack() as sessions:
        users = {}
        for number in range(4):
            users[f"user{number}"] = sessions.enter_context(log_in(usher, f"user{number}"))
            changing.renew()
        rows = steer(usher, "workers").rows
        assert {row["generation"] for row in rows if not row["retired"]} == {5}
        assert {row["generation"] for row in rows if row["sessions"]} == {1, 2, 3, 4}
        assert {row["user"] for row in steer(usher, "sessions").rows} == set(users)
        for user, imap in users.items():
            assert imap.is_alive()
            steer(usher, "kick", user)
            assert b"* BYE" in imap.rest()
            assert usher.wait_event("session_end", user=user)["reason"] == "kicked"
    wait_until(lambda: not changing.workers(retired=True), 20, "workers of before end")
    assert steer(usher, "status").done["sessions"] == 0


def test_a_session_of_before_is_moved(start, fakes):
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    home = home_of(usher, "ann")
    other = "mail2" if home == "mail1" else "mail1"
    with log_in(usher, "ann") as ann:
        changing.renew()
        steer(usher, "move", "ann", other)
        assert b"* BYE" in ann.rest()
        assert home_of(usher, "ann") == other


def test_one_user_is_on_one_backend_over_all_generations(start, fakes):
    changing = start(pools=both(fakes), storage="shared")
    usher = changing.usher
    with ExitStack() as sessions:
        for _ in range(4):
            imap = sessions.enter_context(log_in(usher, "ann"))
            assert imap.is_alive()
            changing.renew()
        (row,) = steer(usher, "users").rows
        assert row["sessions"] == 4


def test_workers_of_before_end_their_sessions_when_their_time_is_over(start):
    changing = start(worker_shutdown_timeout="1s")
    usher = changing.usher
    with log_in(usher, "ann") as ann, usher.connect("plain") as silent:
        changing.renew()
        for imap in (ann, silent):
            assert b"* BYE" in imap.rest()
            assert usher.wait_event("session_end", client=imap.local)["reason"] == "retired"
    usher.wait_events("worker_gone", 2)


@pytest.mark.parametrize("role", ["control", "lookup"])
def test_workers_of_before_outlive_what_they_are_joined_with(start, role):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann, usher.connect("plain") as early:
        changing.renew()
        usher.wait_events("worker_retired", 2)
        mark = usher.mark()
        os.kill(usher.pid(role), signal.SIGKILL)
        usher.wait_event("process_started", after=mark, role=role)
        assert ann.is_alive()
        assert early.login("bob", PASSWORD).status == "OK"
        wait_until(
            lambda: {row["user"] for row in changing.ask("sessions").rows} == {"ann", "bob"},
            20,
            "both are known",
        )


def test_a_worker_of_before_that_dies_is_not_replaced(start):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        changing.renew()
        usher.wait_events("worker_retired", 2)
        (row,) = [row for row in changing.workers(retired=True) if row["sessions"]]
        os.kill(row["pid"], signal.SIGKILL)
        assert ann.rest() == b""
        wait_until(lambda: steer(usher, "status").done["sessions"] == 0, 20, "it is forgotten")
        assert len(changing.workers()) == 2
    log_in(usher, "ann").close()


def test_stopping_ends_the_sessions_of_all_generations(start):
    changing = start()
    usher = changing.usher
    sessions = []
    for number in range(3):
        sessions.append(log_in(usher, f"user{number}"))
        changing.renew()
    usher.process.send_signal(signal.SIGTERM)
    for imap in sessions:
        with imap:
            assert b"* BYE" in imap.rest()
    usher.stop()
    assert {event["reason"] for event in usher.find("session_end")} == {"stopping"}
