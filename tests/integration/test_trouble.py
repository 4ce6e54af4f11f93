"""Backends that are down or misbehave: the client hears UNAVAILABLE, in bounded time."""

from __future__ import annotations

import time

import pytest
from conftest import USERS
from peers import scripted
from peers.process import BACKEND_PORT, free_address
from peers.usher import Backend

LOGIN_TIMEOUT_S = 2
# A busy machine's delays, and still less than usher's own patience.
SLACK_S = 10

# What the backend does, and at which stage usher gives up; None where it may be either of two.
TROUBLES = [
    (scripted.closing, "greeting"),
    (scripted.resetting, None),
    (scripted.silent, "greeting"),
    (scripted.slow_greeting, "greeting"),
    (scripted.endless_greeting, "greeting"),
    (scripted.rubbish, "greeting"),
    (scripted.bye, "greeting"),
    (scripted.preauth, "greeting"),
    (scripted.silent_after_greeting, "login"),
    (scripted.closing_at_login, "login"),
    (scripted.untagged_bye_at_login, "login"),
    (scripted.endless_untagged, None),
    (scripted.bad_at_login, "login"),
]


def start_in_front(start_usher, backend):
    return start_usher({"mail1": backend}, backend_login_timeout=f"{LOGIN_TIMEOUT_S}s")


def assert_unavailable(usher, stage: str | None) -> None:
    with usher.connect("plain") as imap:
        began = time.monotonic()
        answer = imap.login("ann", USERS["ann"])
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert time.monotonic() - began < LOGIN_TIMEOUT_S + SLACK_S
        assert imap.command(b"NOOP").status == "OK"
    failed = usher.wait_event("backend_failed")
    assert failed["backend"] == "mail1"
    assert stage is None or failed["stage"] == stage, failed
    assert usher.wait_event("login_failed")["user"] == "ann"
    assert not usher.find("login_refused")


@pytest.mark.parametrize("script, stage", TROUBLES, ids=[script.__name__ for script, _ in TROUBLES])
def test_misbehaving_backend_is_unavailable(start_scripted, start_usher, script, stage):
    assert_unavailable(start_in_front(start_usher, start_scripted(script)), stage)


def test_backend_that_is_down_is_unavailable(start_usher):
    backend = Backend(f"{free_address()}:{BACKEND_PORT}")
    assert_unavailable(start_in_front(start_usher, backend), "connect")


def test_backend_that_comes_back_is_used_again(start_usher, start_dovecot):
    address = free_address()
    usher = start_in_front(start_usher, Backend(f"{address}:{BACKEND_PORT}"))
    assert_unavailable(usher, "connect")
    start_dovecot("mail1", address=address)
    deadline = time.monotonic() + 15
    status = ""
    while status != "OK" and time.monotonic() < deadline:
        with usher.connect("plain") as imap:
            status = imap.login("ann", USERS["ann"]).status
    assert status == "OK"


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INUSE", "LIMIT", "EXPIRED", "CONTACTADMIN"])
def test_the_backends_own_refusal_is_passed_on(start_scripted, start_usher, code):
    refusing = scripted.answering(f"NO [{code}] in its own words".encode())
    usher = start_usher({"mail1": start_scripted(refusing)})
    with usher.connect("plain") as imap:
        answer = imap.login("ann", USERS["ann"])
        assert (answer.status, answer.code) == ("NO", code)
        assert answer.text.endswith(b"in its own words")


def test_refusal_cannot_smuggle_lines(start_scripted, start_usher):
    def smuggling(connection):
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" NO [ALERT] one\rtwo\x00three\r\n")
        connection.until_closed()

    usher = start_usher({"mail1": start_scripted(smuggling)})
    with usher.connect("plain") as imap:
        answer = imap.login("ann", USERS["ann"])
        assert answer.status == "NO"
        assert not set(b"\r\n\0") & set(answer.text)


def test_a_backend_that_ends_the_session_ends_it_for_the_client(start_scripted, start_usher):
    def parting(connection):
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n* BYE and out\r\n")

    usher = start_usher({"mail1": start_scripted(parting)})
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.rest() == b"* BYE and out\r\n"
    assert usher.wait_event("session_end")["reason"] == "backend_closed"


def test_untagged_responses_to_the_login_reach_the_client(start_scripted, start_usher):
    def alerting(connection):
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(b"* OK [ALERT] Your quota is nearly used up\r\n" + tag + b" OK in\r\n")
        scripted.serve(connection)

    usher = start_usher({"mail1": start_scripted(alerting)})
    with usher.connect("plain") as imap:
        answer = imap.login("ann", USERS["ann"])
        assert answer.status == "OK"
        assert b"* OK [ALERT] Your quota is nearly used up" in answer.untagged
        assert imap.is_alive()
