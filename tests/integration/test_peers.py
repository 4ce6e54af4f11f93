"""The same hour of mail at each real server, by each way to it: Dovecot, Cyrus and Courier."""

from __future__ import annotations

import pytest
from conftest import USERS
from peers.certs import Tls
from peers.process import free_address
from peers.usher import Backend

SERVERS = ["dovecot", "cyrus", pytest.param("courier", marks=pytest.mark.root)]
# What looks like the end of an answer is in it.
MESSAGE = (
    b"From: eve@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n"
    b"t1 OK done\r\n* BYE not yet\r\n)\r\n{5}\r\n" + "Größe ☕\r\n".encode() * 4000
)


@pytest.fixture(params=SERVERS)
def start_server(request):
    """Starts one real server after the other; each takes the options that all have."""
    start = request.getfixturevalue(f"start_{request.param}")
    return (lambda **options: start("mail1", **options)) if request.param == "dovecot" else start


@pytest.fixture(params=list(Tls))
def tls(request) -> Tls:
    """How usher speaks to the backend."""
    return request.param


@pytest.fixture
def usher(tls, start_server, start_usher, authority):
    """In front of such a server, which takes passwords within TLS only and is verified."""
    address = free_address()
    if tls is Tls.OFF:
        return start_usher({"mail1": start_server(address=address)})
    made = authority.issue(address, address)
    server = start_server(address=address, tls=tls, certificate=made, tls_first=True)
    backend = Backend(server.endpoint, tls=tls, tls_ca=authority.certificate)
    return start_usher({"mail1": backend})


def test_a_mailbox_is_worked_with(usher, tls):
    with usher.connect("plain") as stranger, usher.connect("plain") as imap:
        # Courier takes five seconds over it.
        guess = stranger.start(b"LOGIN ann guess")
        assert imap.login("ann", USERS["ann"]).status == "OK"
        work_with_inbox(imap)
        with usher.connect("plain") as another:
            assert another.authenticate_plain("ann", USERS["ann"]).status == "OK"
            idle_until_mail_comes(imap, another)
        assert imap.command(b"LOGOUT").status == "OK"
        assert imap.rest() == b""
        assert stranger.finish(guess).status == "NO"
    assert_logged(usher, tls)


def append(imap, flags: bytes) -> None:
    """With a literal that waits for the server's "+"."""
    tag = imap.start(b"APPEND INBOX %b {%d}" % (flags, len(MESSAGE)))
    assert imap.line().startswith(b"+")
    imap.send(MESSAGE + b"\r\n")
    assert imap.finish(tag).status == "OK"


def work_with_inbox(imap) -> None:
    assert imap.command(b"SELECT INBOX").status == "OK"
    append(imap, b"(\\Flagged)")
    # Courier knows the message by its number only when it has told of it.
    assert imap.command(b"NOOP").status == "OK"
    fetched = imap.command(b"FETCH 1 (FLAGS BODY.PEEK[])")
    assert fetched.status == "OK"
    (told,) = fetched.untagged
    assert b"{%d}\r\n" % len(MESSAGE) + MESSAGE in told
    assert b"\\Flagged" in told


def idle_until_mail_comes(imap, another) -> None:
    assert "IDLE" in imap.capabilities()
    tag = imap.start(b"IDLE")
    while not imap.line().startswith(b"+"):
        pass
    append(another, b"()")
    while imap.line() != b"* 2 EXISTS":
        pass
    imap.send(b"DONE\r\n")
    assert imap.finish(tag).status == "OK"


def assert_logged(usher, tls: Tls) -> None:
    logins = usher.wait_events("login", 2)
    assert [event["mech"] for event in logins] == ["LOGIN", "PLAIN"]
    secured = tls is not Tls.OFF
    assert all(event.get("backend_tls").startswith("TLS") is secured for event in logins)
    assert usher.wait_event("login_refused")["backend"] == "mail1"
    assert usher.wait_event("session_end", reason="backend_closed")
    assert not usher.find("backend_failed")
