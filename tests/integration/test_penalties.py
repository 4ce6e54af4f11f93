"""Failed logins and limits as clients meet them: who waits, who is refused, who is not."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

import pytest
from later import wait_let_in
from peers.fakebackend import PASSWORD, FakeBackend
from peers.rawimap import Answer
from peers.usher import Listener

LISTENERS = {"imap": Listener()}
GUESSER, OTHER = "127.0.1.1", "127.0.1.2"


@pytest.fixture
def start(start_usher, stack):
    """An usher that counts failed logins from this machine too, and refuses after four."""

    def started(**settings):
        usual = {"penalty_exempt": [], "penalty_delay": "50ms", "penalty_refuse_address": "4"}
        fake = stack.enter_context(FakeBackend())
        return start_usher({"fake": fake}, listeners=LISTENERS, **{**usual, **settings})

    return started


def log_in(usher, source: str, user: str, password: str = PASSWORD) -> Answer:
    with usher.connect(source=source) as imap:
        return imap.login(user, password)


def fail(usher, times: int, source: str = GUESSER) -> None:
    before = len(usher.find("auth_failed"))
    for number in range(times):
        assert log_in(usher, source, f"guess{number}", "wrong").code == "AUTHENTICATIONFAILED"
    usher.wait_events("auth_failed", before + times)


def test_an_address_that_fails_often_is_refused_though_the_password_is_right(start):
    usher = start()
    fail(usher, 4)
    answer = log_in(usher, GUESSER, "ann")
    assert (answer.status, answer.code) == ("NO", "LIMIT")
    assert usher.wait_event("auth_failed", user="ann")["address"] == GUESSER
    assert log_in(usher, OTHER, "ann").status == "OK"


def test_who_has_logged_in_from_there_is_let_in(start):
    usher = start()
    assert log_in(usher, GUESSER, "ann").status == "OK"
    fail(usher, 4)
    assert log_in(usher, GUESSER, "bob").code == "LIMIT"
    assert log_in(usher, GUESSER, "ann").status == "OK"


def test_a_login_waits_before_the_backend_is_asked(start):
    usher = start(penalty_delay="1s")
    fail(usher, 3)
    begun = time.monotonic()
    assert log_in(usher, GUESSER, "ann").status == "OK"
    assert time.monotonic() - begun >= 1


def test_a_killed_control_forgets_nothing_of_it(start):
    usher = start()
    assert log_in(usher, GUESSER, "ann").status == "OK"
    fail(usher, 4)
    os.kill(usher.pid("control"), signal.SIGKILL)
    usher.wait_event("control_recovered")
    assert log_in(usher, GUESSER, "bob").code == "LIMIT"
    assert log_in(usher, GUESSER, "ann").status == "OK"


def test_sessions_of_a_user_have_a_limit_that_a_replaced_control_keeps(start):
    usher = start(max_sessions_per_user="2")
    with ExitStack() as sessions:
        for source in (GUESSER, OTHER):
            imap = sessions.enter_context(usher.connect(source=source))
            assert imap.login("ann", PASSWORD).status == "OK"
        assert log_in(usher, OTHER, "ann").code == "LIMIT"
        os.kill(usher.pid("control"), signal.SIGKILL)
        usher.wait_event("control_recovered")
        assert log_in(usher, OTHER, "ann").code == "LIMIT"
        assert log_in(usher, OTHER, "bob").status == "OK"
    wait_let_in(lambda: usher.connect(source=OTHER), "ann")
