"""Backends that go down and come back, as users and operators see it."""

from __future__ import annotations

import os
import signal

import pytest
from ctl import ask
from peers.fakebackend import PASSWORD
from peers.rawimap import RawImap
from peers.usher import Backend, Listener, Usher
from watched import Watched

CHECKS = {
    "check": "greeting",
    "check_interval": "300ms",
    "check_fast_interval": "100ms",
    "check_timeout": "5s",  # what is shut refuses at once
    "check_fall": "2",
    "slow_start": "0s",
}
USERS = [f"user{number}" for number in range(30)]


@pytest.fixture
def world(stack) -> Watched:
    return stack.enter_context(Watched(("mail1", "mail2", "mail3")))


def start(start_usher, world: Watched, storage: str, *, backups: tuple[str, ...] = (), **pool) -> Usher:
    return start_usher(
        {name: Backend(end.endpoint, backup=name in backups) for name, end in world.backends.items()},
        storage=storage,
        listeners={"imap": Listener()},
        pool_settings={"main": {**CHECKS, **pool}},
        kick_grace="1s",
        user_expire="1s",
    )


def enter(usher: Usher, user: str) -> RawImap:
    imap = usher.connect(timeout=30)
    answer = imap.login(user, PASSWORD)
    assert answer.status == "OK", answer
    return imap


def home(usher: Usher, user: str) -> str:
    return ask(usher, "route", user).done["chosen"]


def wait_health(usher: Usher, backend: str, state: str, after: int = 0) -> None:
    usher.wait_event("backend_health", after=after, timeout=30, backend=backend, state=state)


def test_with_shared_storage_all_users_come_again_elsewhere_and_return(start_usher, world, stack):
    usher = start(start_usher, world, "shared", return_rate="100")
    sessions = {user: stack.enter_context(enter(usher, user)) for user in USERS}
    homes = {user: home(usher, user) for user in USERS}
    assert set(homes.values()) == set(world.backends)

    mark = usher.mark()
    world.shut("mail1")
    wait_health(usher, "mail1", "down", mark)
    for user in USERS:
        if homes[user] == "mail1":
            assert sessions[user].rest().startswith(b"* BYE")
            sessions[user] = stack.enter_context(enter(usher, user))
            assert home(usher, user) != "mail1"
        else:
            assert sessions[user].is_alive()
    ends = usher.wait_events("session_end", list(homes.values()).count("mail1"), after=mark)
    assert {(event["backend"], event["reason"]) for event in ends} == {("mail1", "backend_down")}

    mark = usher.mark()
    world.reopen("mail1")
    wait_health(usher, "mail1", "up", mark)
    away = [user for user in USERS if homes[user] == "mail1"]
    assert int(usher.wait_event("returning", after=mark)["users"]) == len(away)
    usher.wait_events("moved", len(away), after=mark)
    for user in away:
        assert sessions[user].rest().startswith(b"* BYE")
        stack.enter_context(enter(usher, user))
        # Nothing that lasts has come of it.
        route = ask(usher, "route", user).done
        assert (route["chosen"], route["pin"]) == ("mail1", None)
    assert all(sessions[user].is_alive() for user in USERS if homes[user] != "mail1")
    assert world.overlaps == []


def test_with_own_storage_users_wait_for_their_backend(start_usher, world, stack):
    usher = start(start_usher, world, "own", unavailable_text="The mail server is being repaired.")
    sessions = {user: stack.enter_context(enter(usher, user)) for user in USERS}
    homes = {user: home(usher, user) for user in USERS}
    mark = usher.mark()
    world.shut("mail1")
    wait_health(usher, "mail1", "down", mark)
    # Who is in goes on.
    assert all(imap.is_alive() for imap in sessions.values())
    for user in USERS:
        with usher.connect() as imap:
            answer = imap.login(user, PASSWORD)
            if homes[user] == "mail1":
                assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
                assert answer.text == b"[UNAVAILABLE] The mail server is being repaired."
            else:
                assert answer.status == "OK"
    mark = usher.mark()
    world.reopen("mail1")
    wait_health(usher, "mail1", "up", mark)
    for user in USERS:
        with enter(usher, user):
            assert home(usher, user) == homes[user]
    assert not usher.find("session_end", reason="backend_down")


def test_a_backup_serves_only_while_nobody_else_can(start_usher, world, stack):
    usher = start(start_usher, world, "shared", backups=("mail3",), return_rate="100")
    for user in USERS:
        with enter(usher, user):
            pass
    assert world.logins["mail3"] == 0
    mark = usher.mark()
    world.shut("mail1")
    world.shut("mail2")
    wait_health(usher, "mail1", "down", mark)
    wait_health(usher, "mail2", "down", mark)
    sessions = [stack.enter_context(enter(usher, user)) for user in USERS]
    assert world.logins["mail3"] == len(USERS)
    mark = usher.mark()
    world.reopen("mail2")
    wait_health(usher, "mail2", "up", mark)
    usher.wait_events("moved", len(USERS), after=mark)
    assert all(imap.rest().startswith(b"* BYE") for imap in sessions)
    assert all(home(usher, user) == "mail2" for user in USERS)
    assert world.overlaps == []


def test_the_operators_word_is_kept_apart(start_usher, world):
    usher = start(start_usher, world, "shared")
    assert ask(usher, "backend", "drain", "mail1").status == 0
    mark = usher.mark()
    world.shut("mail1")
    wait_health(usher, "mail1", "down", mark)
    row = ask(usher, "backends").row(backend="mail1")
    assert (row["state"], row["health"]) == ("drain", "down")
    mark = usher.mark()
    world.reopen("mail1")
    wait_health(usher, "mail1", "up", mark)
    row = ask(usher, "backends").row(backend="mail1")
    assert (row["state"], row["health"]) == ("drain", "up")


def test_one_users_failures_bring_nothing_down(start_usher, world):
    """A mailbox that breaks its server's process, tried again and again from one place."""
    usher = start(start_usher, world, "own", passive_fall="3")
    with enter(usher, "broken"):
        pass
    ill = home(usher, "broken")
    world.break_for("broken")
    for _ in range(10):
        with usher.connect() as imap:
            assert imap.login("broken", PASSWORD).code == "UNAVAILABLE"
    assert not usher.find("backend_health", state="down")
    for user in USERS:
        with enter(usher, user):
            pass
    assert world.logins[ill] > 1


def test_health_is_found_again_after_control_dies(start_usher, world):
    usher = start(start_usher, world, "shared")
    mark = usher.mark()
    world.shut("mail2")
    wait_health(usher, "mail2", "down", mark)
    mark = usher.mark()
    os.kill(usher.pid("control"), signal.SIGKILL)
    wait_health(usher, "mail2", "down", mark)
    for user in USERS:
        with enter(usher, user):
            pass
    assert world.logins["mail2"] == 0
