"""Processes of usher are killed: what must go on goes on."""

from __future__ import annotations

import os
import signal
import time

import pytest
from conftest import LISTENERS, USERS
from peers.certs import Tls
from peers.crowd import Crowd
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import is_alive, wait_until
from peers.usher import Listener, open_state

FAKE_PLAIN, FAKE_TLS, REAL = 350, 100, 50


@pytest.fixture
def crowd(stack):
    return stack.enter_context(Crowd())


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def log_in(usher, user: str = "fresh", password: str = PASSWORD):
    with usher.connect("plain") as imap:
        return imap.login(user, password)


def hold(folder, user: str) -> None:
    with open_state(folder / "state") as state:
        state.execute("INSERT INTO hold (user, since) VALUES (?, 0)", (user,))


def test_death_of_control_loses_no_session(
    start_dovecot, start_usher, start_scripted, stack, folder, fake, crowd
):
    dovecot = start_dovecot("mail1", clients_per_process=100)
    pools = {"main": {"fake": fake}, "real": {"mail1": dovecot}}
    listeners = {**LISTENERS, "real": Listener(pool="real")}
    start_usher(pools=pools, listeners=listeners).stop()
    hold(folder, "held")
    usher = start_usher(pools=pools, listeners=listeners, hold_timeout="1s")

    def enter(count, listener, password, name, tls=Tls.OFF):
        port = usher.port(listener)
        crowd.enter(count, "127.0.0.1", port, user=name, password=password, tls=tls)

    enter(FAKE_PLAIN, "plain", PASSWORD, "u{}".format)
    enter(FAKE_TLS, "imaps", PASSWORD, "t{}".format, Tls.IMPLICIT)
    enter(REAL, "real", USERS["ann"], lambda _: "ann")
    everybody = FAKE_PLAIN + FAKE_TLS + REAL
    assert crowd.count_alive() == everybody
    assert log_in(usher, "held").code == "INUSE"

    kill(usher.pid("control"))
    began = time.monotonic()
    assert log_in(usher).status == "OK"
    assert time.monotonic() - began < 10
    recovered = usher.wait_event("control_recovered")
    assert int(recovered["sessions"]) >= everybody
    assert recovered["epoch"] == "2"
    assert crowd.count_alive() == everybody
    assert log_in(usher, "held").code == "INUSE"
    assert not usher.find("session_end", user="ann")


def test_logins_go_on_while_control_dies_again_and_again(start_usher, fake, crowd):
    usher = start_usher({"fake": fake})
    crowd.enter(50, "127.0.0.1", usher.port("plain"), user="u{}".format, password=PASSWORD)
    for epoch in range(2, 6):
        kill(usher.pid("control"))
        assert log_in(usher).status == "OK"
        usher.wait_event("control_begun", epoch=epoch)
    assert crowd.count_alive() == 50


def test_a_user_stays_where_his_sessions_are_when_control_dies(start_usher, stack):
    backends = {name: stack.enter_context(FakeBackend(name)) for name in ("one", "two", "three")}
    usher = start_usher(backends, storage="shared")
    with usher.connect("plain") as imap:
        at = imap.login("ann", PASSWORD).text
        kill(usher.pid("control"))
        with usher.connect("plain") as another:
            assert another.login("ann", PASSWORD).text == at
        assert imap.is_alive()


def test_death_of_a_worker_takes_only_its_own_sessions(start_usher, fake, crowd):
    usher = start_usher({"fake": fake})
    crowd.enter(100, "127.0.0.1", usher.port("plain"), user="u{}".format, password=PASSWORD)
    groups: dict[str, set[str]] = {}
    for event in usher.wait_events("login", 100):
        groups.setdefault(event["id"].partition(".")[0], set()).add(event["user"])
    other = usher.pid("worker", slot=1)
    kill(usher.pid("worker", slot=0))
    ended = usher.wait_event("process_ended", role="worker", slot=0)
    assert ended["signal"] == "9"
    usher.wait_events("process_started", 2, role="worker", slot=0)
    assert len(groups) == 2
    assert {member.user for member in crowd.alive()} in groups.values()
    assert is_alive(other)
    for _ in range(20):
        assert log_in(usher).status == "OK"


def test_death_of_lookup_is_not_noticed(start_usher, fake):
    usher = start_usher({"fake": fake})
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        kill(usher.pid("lookup"))
        assert log_in(usher).status == "OK"
        usher.wait_events("process_started", 2, role="lookup")
        assert imap.is_alive()
        assert log_in(usher).status == "OK"


def test_nothing_outlives_the_parent(start_usher, fake):
    usher = start_usher({"fake": fake})
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        assert len(usher.process_ids()) == 5
        kill(usher.process.pid)
        wait_until(lambda: not usher.process_ids(), 10, "usher's processes end")
        assert not imap.is_alive()
    usher.kill()


def test_a_stop_ends_live_sessions_politely(start_usher, fake):
    usher = start_usher({"fake": fake})
    with usher.connect("plain") as before_login, usher.connect("plain") as after_login:
        assert after_login.login("ann", PASSWORD).status == "OK"
        usher.stop()
        assert before_login.rest().startswith(b"* BYE ")
        farewell = after_login.rest()
        assert not farewell or farewell.startswith(b"* BYE ")
    ends = usher.find("session_end")
    assert {event["reason"] for event in ends} == {"stopping"}
    assert len(ends) == 2
