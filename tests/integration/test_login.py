"""The dialogue before login, as clients see it, in front of a real server."""

from __future__ import annotations

import base64
import threading
from contextlib import ExitStack

import pytest
from conftest import LISTENER_OF_TLS, USERS
from later import wait_let_in
from peers.certs import Tls
from peers.process import wait_until
from peers.rawimap import RawImap
from peers.scripted import GREETING


@pytest.fixture
def usher(start_dovecot, start_usher):
    return start_usher({"mail1": start_dovecot("mail1")})


def connect(usher, tls: Tls = Tls.OFF):
    return usher.connect(LISTENER_OF_TLS[tls], tls=tls)


@pytest.mark.parametrize("tls", list(Tls))
def test_logs_in_by_every_way(usher, tls):
    ways = (
        lambda imap: imap.login("ann", USERS["ann"]),
        lambda imap: imap.authenticate_plain("ann", USERS["ann"]),
        lambda imap: imap.authenticate_plain("ann", USERS["ann"], initial=False),
        lambda imap: imap.command(b"LOGIN ann secret-ann"),
        lambda imap: imap.command(b"login {3+}\r\nann {10+}\r\nsecret-ann"),
    )
    for log_in in ways:
        with connect(usher, tls) as imap:
            assert log_in(imap).status == "OK"
            assert imap.command(b"SELECT INBOX").status == "OK"


def test_synchronising_literals_are_asked_for(usher):
    with connect(usher) as imap:
        imap.send(b"a LOGIN {3}\r\n")
        assert imap.line().startswith(b"+")
        imap.send(b"ann {10}\r\n")
        assert imap.line().startswith(b"+")
        imap.send(b"secret-ann\r\n")
        assert imap.finish(b"a").status == "OK"
        assert imap.is_alive()


def test_the_ok_tells_the_backends_capabilities(usher):
    with connect(usher) as imap:
        answer = imap.login("ann", USERS["ann"])
        assert answer.code == "CAPABILITY"
        told = set(answer.text.partition(b"]")[0].decode().split()[1:])
        assert told == imap.capabilities()
        assert {"IDLE", "NAMESPACE", "UIDPLUS"} <= told


def test_wrong_password_gets_the_backends_no_and_may_be_corrected(usher):
    with connect(usher) as imap:
        refused = imap.login("ann", "guess")
        assert (refused.status, refused.code) == ("NO", "AUTHENTICATIONFAILED")
        assert imap.authenticate_plain("ann", "guess").code == "AUTHENTICATIONFAILED"
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.is_alive()
    events = usher.wait_events("login_refused", 2, user="ann")
    assert [event["mech"] for event in events] == ["LOGIN", "PLAIN"]
    assert all(event["code"] == "AUTHENTICATIONFAILED" for event in events)
    assert not any("guess" in line or USERS["ann"] in line for line in usher.lines)


def test_another_user_may_be_tried_on_the_same_connection(usher):
    with connect(usher) as imap:
        assert imap.login("nobody-here", "x").code == "AUTHENTICATIONFAILED"
        assert imap.login("bob", USERS["bob"]).status == "OK"
    assert usher.wait_event("session_end")["user"] == "bob"


def test_tries_are_bounded(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, login_tries="2")
    with connect(usher) as imap:
        assert imap.login("ann", "one").status == "NO"
        tag = imap.start(b"LOGIN ann two")
        assert imap.finish(tag).status == "NO"
        assert imap.rest().startswith(b"* BYE ")
    assert usher.wait_event("session_end")["reason"] == "login_tries"


def test_commands_before_login(usher):
    with connect(usher) as imap:
        assert imap.greeting.startswith(b"* OK [CAPABILITY IMAP4rev1 ")
        assert imap.command(b"NOOP").status == "OK"
        capabilities = imap.capabilities()
        assert {"IMAP4rev1", "AUTH=PLAIN", "SASL-IR"} <= capabilities
        assert not capabilities & {"STARTTLS", "LOGINDISABLED"}
        answer = imap.command(b"LOGOUT")
        assert answer.status == "OK"
        assert answer.untagged[0].startswith(b"* BYE")
        assert imap.rest() == b""
    assert usher.wait_event("session_end")["reason"] == "client_logout"


def test_passwords_are_refused_before_tls_where_not_allowed(usher):
    with usher.connect("imap") as imap:
        before = imap.capabilities()
        assert {"STARTTLS", "LOGINDISABLED"} <= before
        assert "AUTH=PLAIN" not in before
        assert imap.login("ann", USERS["ann"]).code == "PRIVACYREQUIRED"
        assert imap.authenticate_plain("ann", USERS["ann"]).code == "PRIVACYREQUIRED"
        imap.starttls()
        after = imap.capabilities()
        assert "AUTH=PLAIN" in after
        assert not after & {"STARTTLS", "LOGINDISABLED"}
        assert imap.command(b"STARTTLS").status == "BAD"
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert not usher.find("login_refused")


def test_a_literal_password_is_not_asked_for_before_tls(usher):
    with usher.connect("imap") as imap:
        assert imap.command(b"LOGIN ann {10}").status in ("NO", "BAD")


def test_text_injected_behind_starttls_ends_the_session(usher):
    with usher.connect("imap") as imap:
        imap.send(b"a STARTTLS\r\nb LOGIN eve secret-eve\r\n")
        assert b"b " not in imap.rest()
    assert usher.wait_event("session_end")["reason"] == "client_injected"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"a",
        b" LOGIN ann secret-ann",
        b"a  NOOP",
        b"a FROBNICATE",
        b"a SELECT INBOX",
        b"a LOGIN ann",
        b"a LOGIN ann secret-ann and more",
        b'a LOGIN "ann secret-ann',
        b"a LOGIN ann secret\x00ann",
        b"a AUTHENTICATE PLAIN !!!!",
        b"a AUTHENTICATE",
        b"a NOOP now",
        b"+ NOOP",
        b"* OK [CAPABILITY IMAP4rev1] usher is yours",
        b"\xff\xfe\x00",
    ],
)
def test_nonsense_gets_bad_and_the_connection_goes_on(usher, line):
    with connect(usher) as imap:
        imap.send(line + b"\r\n")
        tag = b"a" if line.startswith(b"a") else b"*"
        assert imap.line().startswith(tag + b" BAD ")
        assert imap.login("ann", USERS["ann"]).status == "OK"


def test_authenticate_may_be_cancelled(usher):
    with connect(usher) as imap:
        tag = imap.start(b"AUTHENTICATE PLAIN")
        assert imap.line().startswith(b"+")
        imap.send(b"*\r\n")
        assert imap.finish(tag).status == "BAD"
        assert imap.authenticate_plain("ann", USERS["ann"]).status == "OK"


def test_unknown_mechanism_gets_no(usher):
    with connect(usher) as imap:
        assert imap.command(b"AUTHENTICATE KERBEROS_V4").status == "NO"


def test_commands_sent_behind_the_login_reach_the_backend_in_order(usher):
    with connect(usher) as imap:
        imap.send(b"a LOGIN ann secret-ann\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\n")
        for tag in (b"a", b"b", b"c", b"d"):
            assert imap.finish(tag).status == "OK"
        assert imap.rest() == b""
    assert usher.wait_event("session_end")["reason"] == "backend_closed"


def test_commands_behind_a_refused_login_are_still_answered(usher):
    with connect(usher) as imap:
        imap.send(b"a LOGIN ann wrong\r\nb SELECT INBOX\r\nc LOGIN ann secret-ann\r\nd NOOP\r\n")
        assert imap.finish(b"a").status == "NO"
        assert imap.finish(b"b").status == "BAD"
        assert imap.finish(b"c").status == "OK"
        assert imap.finish(b"d").status == "OK"


def test_more_than_login_pipeline_waits_and_reaches_the_backend(start_usher, start_scripted):
    commands = b"".join(b"p%d NOOP\r\n" % number for number in range(20_000))
    may_answer = threading.Event()

    def slow_login(connection):
        connection.send(GREETING)
        tag, _, _ = connection.command()
        assert may_answer.wait(10)
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        assert connection.octets(len(commands)) == commands
        connection.send(b"* OK all has come\r\n")
        connection.until_closed()

    usher = start_usher({"mail1": start_scripted(slow_login)}, login_pipeline="1k")
    with connect(usher) as imap:
        tag = imap.start(b"LOGIN ann secret-ann")
        sender = threading.Thread(target=imap.send, args=(commands,))
        sender.start()
        may_answer.set()
        assert imap.finish(tag).status == "OK"
        assert imap.line() == b"* OK all has come"
        sender.join()


@pytest.mark.parametrize(
    "octets",
    [b"a" * 100_000, b"a LOGIN {1000000}\r\n", b"a LOGIN {99999999999999999999}\r\n"],
    ids=["line", "literal", "number"],
)
def test_what_is_too_long_is_not_taken(usher, octets):
    with connect(usher) as imap:
        imap.send(octets)
        first = imap.line()
        assert first.startswith((b"* BYE ", b"a BAD ", b"* BAD ")), first


def test_eight_bit_passwords_reach_the_backend(start_dovecot, start_usher):
    users = {"ann": "schlüssel ☕"}
    usher = start_usher({"mail1": start_dovecot("mail1", users=users)})
    with connect(usher) as imap:
        token = base64.b64encode("\0ann\0schlüssel ☕".encode())
        assert imap.command(b"AUTHENTICATE PLAIN " + token).status == "OK"


def test_silent_client_is_sent_away(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, login_timeout="1s")
    with connect(usher) as imap:
        assert imap.rest().startswith(b"* BYE ")
    assert usher.wait_event("session_end")["reason"] == "login_timeout"


def test_silent_session_is_ended_after_the_idle_timeout(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, idle_timeout="1s")
    with connect(usher) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        imap.rest()
    assert usher.wait_event("session_end")["reason"] == "idle_timeout"


def test_sessions_are_limited(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, max_sessions="2")
    with connect(usher) as first, connect(usher) as second:
        assert first.login("ann", USERS["ann"]).status == "OK"
        assert second.login("ann", USERS["ann"]).status == "OK"
        with usher.connect("plain") as third:
            assert third.greeting.startswith(b"* BYE [UNAVAILABLE]")
        assert first.is_alive() and second.is_alive()
    wait_let_in(lambda: connect(usher), "ann", USERS["ann"])


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.0\r\n\r\n", b"a NOOP\r\n", b"\x16\x03\x01\x00"])
def test_what_is_no_tls_at_a_tls_port_is_sent_away(start_dovecot, start_usher, octets):
    usher = start_usher({"mail1": start_dovecot("mail1")}, login_timeout="2s")
    with usher.connect("imaps", reads_greeting=False) as imap:
        imap.send(octets)
        imap.rest()
    assert usher.wait_event("session_end")["reason"] in ("client_tls", "login_timeout")
    # Others have as little time; on a busy machine it may take them more than one try.
    wait_let_in(lambda: connect(usher, Tls.IMPLICIT), "ann", USERS["ann"])


def test_a_handshake_that_never_comes_is_not_waited_for(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, login_timeout="1s")
    with usher.connect("imap") as imap:
        assert imap.command(b"STARTTLS").status == "OK"
        assert imap.rest() == b""
    assert usher.wait_event("session_end")["reason"] == "login_timeout"


def test_a_shortage_of_descriptors_passes(start_dovecot, start_usher):
    """Whoever finds no room waits or is sent away; who is in stays, and others may come later."""
    limit = ("prlimit", "--nofile=140:140")
    usher = start_usher({"mail1": start_dovecot("mail1")}, workers="1", prefix=limit)
    assert usher.find("descriptors_few")

    def come(held: ExitStack) -> RawImap | None:
        imap = held.enter_context(usher.connect("plain", reads_greeting=False, timeout=4))
        try:
            is_in = imap.line().startswith(b"* OK") and imap.login("ann", USERS["ann"]).status == "OK"
        except OSError:
            return None
        return imap if is_in else None

    with ExitStack() as held:
        inside = []
        while imap := come(held):
            inside.append(imap)
        assert 4 <= len(inside) < 40
        assert all(imap.is_alive() for imap in inside)

    def is_served() -> bool:
        with ExitStack() as visit:
            return come(visit) is not None

    wait_until(is_served, 15, "a login after the shortage")


def test_literal_plus_is_promised_once_every_backend_is_known_to_keep_it(
    start_dovecot, start_usher
):
    usher = start_usher({"mail1": start_dovecot("mail1")}, workers="1")
    with usher.connect("plain") as imap:
        assert b"LITERAL+" not in imap.greeting
        assert imap.login("ann", USERS["ann"]).status == "OK"
    with usher.connect("plain") as imap:
        assert b"LITERAL+" in imap.greeting
