"""How sessions are ended by usher: a BYE where a line may stand, and no byte of ours anywhere else."""

from __future__ import annotations


import pytest
from conftest import USERS
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend


@pytest.fixture
def usher(start_usher, stack):
    return start_usher({"fake": stack.enter_context(FakeBackend())})


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_an_idle_session_is_told_that_usher_stops(tls, usher):
    with usher.connect("plain" if tls is Tls.OFF else "imaps", tls=tls) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        assert imap.command(b"NOOP").status == "OK"
        usher.stop()
        assert imap.rest().startswith(b"* BYE [UNAVAILABLE]")


def test_before_login_too(usher):
    with usher.connect("plain") as imap:
        usher.stop()
        assert imap.rest().startswith(b"* BYE")


def test_idle_for_too_long_is_said(start_usher, stack):
    fake = stack.enter_context(FakeBackend())
    usher = start_usher({"fake": fake}, idle_timeout="1s")
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        assert imap.rest().startswith(b"* BYE Idle")
    assert usher.wait_event("session_end")["reason"] == "idle_timeout"


def test_no_byte_of_ours_falls_into_a_message(start_dovecot, start_usher):
    dovecot = start_dovecot("mail1")
    usher = start_usher({"mail1": dovecot})
    message = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * 4 * 1024 * 256
    with usher.connect("plain", receive_buffer=65536) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        literal = b"APPEND INBOX {%d+}\r\n" % len(message)
        assert imap.command(literal + message).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
        imap.start(b"FETCH 1 BODY.PEEK[]")
        assert imap.line().startswith(b"* 1 FETCH")
        usher.stop()
        rest = imap.rest()
    # Cut off, but what came is the message's own.
    assert len(rest) < len(message)
    assert rest == message[: len(rest)]
    assert b"BYE" not in rest


def test_unauthenticate_ends_the_session(usher):
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        assert imap.command(b"NOOP").status == "OK"
        imap.start(b"UNAUTHENTICATE")
        assert imap.rest().startswith(b"* BYE UNAUTHENTICATE")
    assert usher.wait_event("session_end")["reason"] == "unauthenticate"
