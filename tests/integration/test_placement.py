"""Two servers: who is shown where, and stays there."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack

import pytest
from later import wait_let_in
from peers.crowd import Crowd
from peers.fakebackend import PASSWORD, FakeBackend
from peers.scripted import answering
from peers.usher import Backend, Listener, open_state

MANY = [f"user{number}" for number in range(40)]


@pytest.fixture
def backends(stack):
    return {name: stack.enter_context(FakeBackend(name)) for name in ("mail1", "mail2")}


def where(usher, user: str) -> str:
    """The backend that a login of `user` leads to, by what it says itself."""
    with usher.connect("plain") as imap:
        answer = imap.login(user, PASSWORD)
        assert answer.status == "OK", answer
        return answer.text.rpartition(b" at ")[2].decode()


def test_users_are_spread_and_stay(backends, start_usher, folder):
    usher = start_usher(backends)
    first = {user: where(usher, user) for user in MANY}
    assert min(list(first.values()).count(name) for name in backends) > len(MANY) // 5
    assert {user: where(usher, user) for user in MANY} == first
    usher.stop()
    with open_state(folder / "state") as state:
        rows = state.execute("SELECT pool, user, backend FROM placement").fetchall()
    assert {(pool, user): backend for pool, user, backend in rows} == {
        ("main", user): backend for user, backend in first.items()
    }
    assert len(usher.find("placed")) == len(MANY)


def test_placement_outlives_a_restart_and_a_new_backend(backends, start_usher, stack):
    usher = start_usher(backends)
    first = {user: where(usher, user) for user in MANY}
    usher.stop()
    more = {**backends, "mail3": stack.enter_context(FakeBackend("mail3"))}
    usher = start_usher(more)
    assert {user: where(usher, user) for user in MANY} == first
    assert "mail3" in {where(usher, f"late{number}") for number in range(40)}


def test_refused_login_places_nobody(backends, start_usher, folder):
    usher = start_usher(backends)
    with usher.connect("plain") as imap:
        assert imap.login("stranger", "wrong").code == "AUTHENTICATIONFAILED"
    usher.stop()
    with open_state(folder / "state") as state:
        assert state.execute("SELECT * FROM placement").fetchall() == []


def test_own_storage_never_fails_over_to_an_empty_mailbox(backends, start_usher):
    usher = start_usher(backends, connect_timeout="1s")
    home = where(usher, "ann")
    backends[home].stop()
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).code == "UNAVAILABLE"
    failed = usher.wait_event("backend_failed")
    assert (failed["backend"], failed["stage"]) == (home, "connect")


def test_shared_storage_fails_over(backends, start_usher):
    usher = start_usher(backends, storage="shared", connect_timeout="1s")
    home = where(usher, "ann")
    backends[home].stop()
    wait_let_in(lambda: usher.connect("plain"), "ann")
    assert where(usher, "ann") == ({*backends} - {home}).pop()
    assert usher.wait_event("backend_failed")["backend"] == home


def test_shared_storage_keeps_sessions_of_a_user_together(backends, start_usher):
    usher = start_usher(backends, storage="shared")
    with ExitStack() as held:
        seen: dict[str, set[bytes]] = {}
        for _ in range(4):
            for user in MANY[:10]:
                imap = held.enter_context(usher.connect("plain"))
                seen.setdefault(user, set()).add(imap.login(user, PASSWORD).text)
    assert all(len(texts) == 1 for texts in seen.values())


@pytest.mark.parametrize("storage", ["own", "shared"])
def test_simultaneous_first_logins_of_a_user_stay_together(backends, start_usher, stack, storage):
    usher = start_usher(backends, storage=storage)
    crowd = stack.enter_context(Crowd())
    port = usher.port("plain")
    crowd.enter(200, "127.0.0.1", port, user=lambda n: f"user{n % 10}", password=PASSWORD)
    seen: dict[str, set[str]] = {}
    for event in usher.wait_events("login", 200):
        seen.setdefault(event["user"], set()).add(event["backend"])
    assert len(seen) == 10
    assert all(len(homes) == 1 for homes in seen.values())


def test_shared_storage_does_not_fail_over_while_a_session_lives(
    start_usher, start_scripted, backends
):
    """Two servers must not write one mailbox at a time."""
    deaf = start_scripted(answering(b"OK [CAPABILITY IMAP4rev1] at deaf"))
    pool = {"deaf": Backend(deaf.endpoint, weight=1000), "mail2": backends["mail2"]}
    usher = start_usher(pool, storage="shared", connect_timeout="1s")
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).text.endswith(b" at deaf")
        deaf.stop_listening()
        with usher.connect("plain") as second:
            assert second.login("ann", PASSWORD).code == "UNAVAILABLE"
        assert imap.is_alive()
    wait_let_in(lambda: usher.connect("plain"), "ann")
    assert where(usher, "ann") == "mail2"


def test_no_user_is_placed_on_weight_zero(backends, start_usher):
    weights = {
        name: Backend(backend.endpoint, weight=int(name == "mail2"))
        for name, backend in backends.items()
    }
    usher = start_usher(weights)
    assert {where(usher, user) for user in MANY} == {"mail2"}


def test_a_listener_leads_to_its_pool(backends, start_usher):
    usher = start_usher(
        pools={name: {name: backend} for name, backend in backends.items()},
        listeners={"plain": Listener(pool="mail2"), "other": Listener(pool="mail1")},
    )
    assert where(usher, "ann") == "mail2"
    with usher.connect("other") as imap:
        assert imap.login("ann", PASSWORD).text.endswith(b" at mail1")


def test_prepared_placements_pins_and_states_are_obeyed(backends, start_usher, folder):
    usher = start_usher(backends)
    home = where(usher, "ann")
    usher.stop()
    away = ({*backends} - {home}).pop()
    with open_state(folder / "state") as state:
        state.execute("UPDATE placement SET backend = ? WHERE user = 'ann'", (away,))
        insert(state, "placement", pool="main", user="bob", backend=away)
        insert(state, "pin", user="carol", backend=home)
    usher = start_usher(backends)
    assert [where(usher, user) for user in ("ann", "bob", "carol")] == [away, away, home]


def test_users_on_hold_wait_and_are_told(backends, start_usher, folder):
    start_usher(backends).stop()
    with open_state(folder / "state") as state:
        insert(state, "hold", user="ann")
    usher = start_usher(backends, hold_timeout="1s")
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).code == "INUSE"
    assert usher.wait_event("held")["user"] == "ann"
    assert where(usher, "bob") in backends


def insert(state: sqlite3.Connection, table: str, **values: str) -> None:
    names = ", ".join(values)
    marks = ", ".join("?" for _ in values)
    state.execute(
        f"INSERT INTO {table} ({names}, since) VALUES ({marks}, 0)", tuple(values.values())
    )
