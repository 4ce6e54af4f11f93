"""STARTTLS between client and usher, as somebody in the middle would abuse it.

What is said in clear must have no part in what is said inside TLS: not as commands (CVE-2011-0411 and those
after it), not as state, not as identity; and nothing may lead back from TLS to clear text. The kinds of
attack are those of "Why TLS is better without STARTTLS" (USENIX Security 2021).
"""

from __future__ import annotations

import pytest
from conftest import LISTENERS
from peers import scripted
from peers.certs import Tls
from peers.fakebackend import PASSWORD
from peers.hostile import (
    ALERT,
    HANDSHAKE,
    HANDSHAKE_FAILURE,
    PROTOCOL_VERSION,
    TlsByHand,
    client_hello,
    end_of,
    fatal_alert,
    hear_out,
    records,
    send_in_clear,
    throw,
)
from peers.rawimap import RawImap
from peers.usher import Backend, Listener
from test_hostile_clients import (
    BYE_MANY,
    GO_ON,
    HOLDS_NUL,
    NOOP_OK,
    NO_TAG,
    NOT_BASE64,
    WRONG,
    start_beside,
    talk,
)

BEGIN = b"a OK Begin TLS now\r\n"
PRIVACY = b"a NO [PRIVACYREQUIRED] Passwords are only taken with TLS; use STARTTLS first\r\n"
TLS_IS_ON = b"BAD TLS is on already"
BYE_TRIES = b"* BYE Too many refused logins\r\n"

BEFORE = b"CAPABILITY IMAP4rev1 SASL-IR ID STARTTLS LOGINDISABLED"
AFTER = b"CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN"

# "both" takes passwords in clear, too.
LISTENERS_HERE = {**LISTENERS, "both": Listener(tls=Tls.STARTTLS)}


@pytest.fixture
def beside(start_usher, stack):
    return start_beside(start_usher, stack, listeners=LISTENERS_HERE)


@pytest.fixture
def usher(beside):
    return beside.usher


def begin(usher, listener: str = "imap") -> RawImap:
    """A connection on which STARTTLS was answered, and no handshake has begun."""
    imap = usher.connect(listener)
    imap.send(b"a STARTTLS\r\n")
    assert imap.line() + b"\r\n" == BEGIN
    return imap


def was_tried(usher, user: str) -> bool:
    """Whether anybody was asked about this user's login."""
    return any(event.get("user") == user for event in usher.events)


# --- Commands that are put behind STARTTLS ---

INJECTED = {
    "command": b"b NOOP\r\n",
    "login": b"b LOGIN eve secret\r\n",
    "half a command": b"b LOGIN eve ",
    "an octet": b"b",
    "half a literal": b"b LOGIN eve {6+}\r\nsec",
    "a literal's end": b"secret\r\n",
    "empty line": b"\r\n",
    "line feed": b"\n",
    "NUL": b"\0",
    "STARTTLS": b"b STARTTLS\r\n",
    "LOGOUT": b"b LOGOUT\r\n",
    "ClientHello": records(client_hello()),
    "ten thousand": b"b NOOP\r\n" * 1250,
}


@pytest.mark.parametrize("injected", INJECTED.values(), ids=INJECTED)
def test_bytes_in_the_same_segment_end_the_session(usher, injected):
    """Also a ClientHello: a client must not send it before the OK (RFC 9051 section 6.2.1), and from
    bytes that lie here nobody can tell whose they are. There is no OK, so no TLS to be deceived in."""
    for command in (b"a STARTTLS\r\n", b"a starttls\r\n", b"a StartTLS\n"):
        told = talk(usher, b"b NOOP\r\n" + command + injected, "imap")
        assert told == (NOOP_OK, "client_injected"), command
    ends = usher.find("session_end", reason="client_injected")
    assert [end.level for end in ends] == ["warning"] * 3
    assert not was_tried(usher, "eve")


@pytest.mark.parametrize("injected", INJECTED.values(), ids=INJECTED)
def test_bytes_in_a_later_segment_break_the_handshake(usher, injected):
    """They arrive where TLS is expected, before the client's own ClientHello."""
    with begin(usher) as imap:
        hello = TlsByHand(imap.socket).hello()
        if injected == INJECTED["ClientHello"]:
            hello = b"b LOGIN eve secret\r\n"
        throw(imap, injected + hello)
        heard = hear_out(imap)
    # A hello of somebody else is answered, but then the client's own cannot follow it.
    is_hello = injected == INJECTED["ClientHello"]
    assert heard[0] == HANDSHAKE if is_hello else heard == b"" or fatal_alert(heard) is not None
    assert end_of(usher, imap)["reason"] == "client_tls"
    assert not was_tried(usher, "eve")


def test_text_behind_a_proxys_header_is_no_exception(start_usher, stack):
    listeners = {**LISTENERS, "proxied": Listener(tls=Tls.STARTTLS, proxy=True)}
    usher = start_beside(
        start_usher, stack, listeners=listeners, trusted_networks=["127.0.0.0/8"]
    ).usher
    with usher.connect("proxied", hello=b"PROXY UNKNOWN\r\na STARTTLS\r\nb NOOP\r\n") as imap:
        assert imap.rest() == b""
    assert end_of(usher, imap)["reason"] == "client_injected"


def test_text_in_clear_inside_the_tls_that_has_begun_ends_it(usher):
    with usher.connect("imap", tls=Tls.STARTTLS) as imap:
        assert imap.command(b"NOOP").status == "OK"
        send_in_clear(imap, b"b LOGIN eve secret\r\n")
        with pytest.raises(OSError):
            imap.line()
    assert end_of(usher, imap)["reason"] == "client_tls"
    assert not was_tried(usher, "eve")


# --- Commands that are put before STARTTLS, to swallow it or to last beyond it ---


@pytest.mark.parametrize(
    "before, told",
    [
        # A literal that takes the client's STARTTLS for its own: it is no command then, and gets no OK.
        (b"b LOGIN eve {12+}\r\n", b"b" + PRIVACY[1:]),
        (b'b ID ("x" {12+}\r\n', b""),
        (b"b NOOP {12+}\r\n", b"b BAD NOOP takes no arguments\r\n"),
        (b"b LOGIN eve {12}\r\n", b"b" + PRIVACY[1:] + BEGIN),
        (b"b AUTHENTICATE PLAIN\r\n", b"b" + PRIVACY[1:] + BEGIN),
        (b"b AUTHENTICATE PLAIN AGV2ZQBzZWNyZXQ=\r\n", b"b" + PRIVACY[1:] + BEGIN),
        (b"b LOGIN eve secret\r\n", b"b" + PRIVACY[1:] + BEGIN),
        (b"b NO", b"b BAD Unknown command\r\n"),
    ],
    ids=["LOGIN+", "ID+", "NOOP+", "LOGIN", "AUTHENTICATE", "PLAIN", "whole LOGIN", "half"],
)
def test_what_is_put_before_starttls_takes_no_login_along(usher, before, told):
    with usher.connect("imap") as imap:
        imap.send(before + b"a STARTTLS\r\n")
        if told.endswith(BEGIN):
            assert imap.octets(len(told)) == told
            imap.start_tls_now()
            imap.send(b"\r\n")
            # No literal, response or tag from before is waited for or told.
            assert imap.line() + b"\r\n" == NO_TAG
            assert imap.login("ann", PASSWORD).status == "OK"
        else:
            throw(imap, b"\r\n")
            heard = hear_out(imap)
            assert heard.startswith(told) and b"Begin TLS" not in heard
    assert not was_tried(usher, "eve")


def test_starttls_in_the_middle_of_authenticate_is_no_command(usher):
    """Where passwords are taken in clear, the dialogue of AUTHENTICATE may be open."""
    told, reason = talk(usher, b"a AUTHENTICATE PLAIN\r\nb STARTTLS\r\n", "both")
    assert (told, reason) == (b"+ \r\n" + NOT_BASE64, "client_closed")
    told, reason = talk(usher, b"a LOGIN ann {12}\r\nb STARTTLS\r\n\r\n", "both")
    assert (told, reason) == (GO_ON + HOLDS_NUL, "client_closed")


def test_starttls_after_a_login_is_the_backends(usher):
    """A session that somebody has logged in does not become another's by TLS (session fixation)."""
    sent = b"b LOGIN eve secret\r\na STARTTLS\r\nc LOGIN ann secret\r\n"
    with usher.connect("both") as imap:
        imap.send(sent)
        assert imap.finish(b"b").status == "OK"
        assert imap.finish(b"a").status == "BAD"
        assert imap.is_alive()
    assert end_of(usher, imap).get("tls") == ""


def test_starttls_behind_a_refused_login_begins_anew(usher):
    with usher.connect("both") as imap:
        imap.send(b"b LOGIN eve guess\r\na STARTTLS\r\n")
        assert imap.octets(len(WRONG + BEGIN)) == b"b" + WRONG[1:] + BEGIN
        imap.start_tls_now()
        assert imap.login("ann", PASSWORD).status == "OK"
    end = end_of(usher, imap)
    assert end["user"] == "ann" and end["tls"].startswith("TLS")


# --- What is known before and after ---


def test_capabilities_are_told_anew(usher):
    with usher.connect("imap") as imap:
        assert imap.greeting == b"* OK [" + BEFORE + b"] Usher ready"
        assert imap.command(b"CAPABILITY").untagged == [b"* " + BEFORE]
        imap.starttls()
        assert imap.command(b"CAPABILITY").untagged == [b"* " + AFTER]
        # Nothing is said by itself: a second greeting would be taken for an answer.
        assert imap.buffer == b""


def test_commands_right_behind_the_handshake_are_served(usher):
    """Inside TLS a client need not wait."""
    with begin(usher) as imap:
        imap.socket = TlsByHand(imap.socket)
        imap.socket.handshake(behind=b"b NOOP\r\nc LOGIN ann secret\r\nd NOOP\r\n")
        for tag in (b"b", b"c", b"d"):
            assert imap.finish(tag).status == "OK"


@pytest.mark.parametrize("listener", ["imap", "both"])
def test_starttls_is_done_once(usher, listener):
    with usher.connect(listener, tls=Tls.STARTTLS) as imap:
        for _ in range(2):
            answer = imap.command(b"STARTTLS")
            assert answer.status + " " + answer.text.decode() == TLS_IS_ON.decode()
        assert imap.login("ann", PASSWORD).status == "OK"


def test_starttls_where_it_is_not_offered(usher):
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        assert imap.command(b"STARTTLS").text == b"TLS is on already"
        assert imap.is_alive()
    with usher.connect("plain") as imap:
        assert imap.command(b"STARTTLS").text == b"STARTTLS is not offered here"
        assert imap.is_alive()


def test_starttls_takes_no_arguments(usher):
    with usher.connect("imap") as imap:
        for words in (b" ", b" now", b" {0+}\r\n", b" {3}", b' ""', b"\0", b"\r"):
            imap.send(b"a STARTTLS" + words + b"\r\n")
            assert imap.line() == b"a BAD STARTTLS takes no arguments", words
        imap.starttls()
        assert imap.login("ann", PASSWORD).status == "OK"


def test_passwords_are_not_taken_before(usher):
    """Not even asked for: what a client would send as literal or response must not leave it."""
    for sent in (
        b"a LOGIN ann secret\r\n",
        b"a LOGIN {3}\r\n",
        b"a LOGIN ann {6}\r\n",
        b"a LOGIN {3+}\r\nann {6}\r\n",
        b"a LOGIN {3+}\r\nann {6+}\r\nsecret\r\n",
        b"a AUTHENTICATE PLAIN\r\n",
        b"a AUTHENTICATE LOGIN\r\n",
        b"a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\n",
    ):
        assert talk(usher, sent + b"b NOOP\r\n", "imap") == (PRIVACY + NOOP_OK, "client_closed"), sent


def test_an_id_from_before_is_forgotten(start_usher, start_scripted, stack):
    """Who stands in the middle must not tell the backend who the client is."""
    backend = start_scripted(answering_id)
    usher = start_usher(
        {"mail1": Backend(backend.endpoint, forward_id=True)},
        trusted_networks=["127.0.0.0/8"],
        workers="1",
    )
    thief = b'ID ("name" "thief" "x-originating-ip" "192.0.2.66" "x-session-id" "forged")'
    with usher.connect("imap") as imap:
        assert imap.command(thief).status == "OK"
        imap.starttls()
        assert imap.login("ann", PASSWORD).status == "OK"
    assert usher.wait_event("login")["client"] == imap.local
    with usher.connect("imap") as imap:
        assert imap.command(thief).status == "OK"
        imap.starttls()
        assert imap.command(b'ID ("name" "owner")').status == "OK"
        assert imap.login("bob", PASSWORD).status == "OK"
    told = [line for line in backend.commands if b" ID " in line]
    assert len(told) == 2
    assert not any(word in line for line in told for word in (b"thief", b"192.0.2.66", b"forged"))
    assert b"owner" not in told[0] and b"owner" in told[1]


def answering_id(connection: scripted.Connection) -> None:
    connection.send(scripted.GREETING.replace(b"SASL-IR", b"SASL-IR ID"))
    while True:
        tag, name, _ = connection.command()
        connection.send((b"* ID NIL\r\n" if name == b"ID" else b"") + tag + b" OK done\r\n")


def test_tries_and_needless_commands_are_counted_on(start_usher, stack):
    usher = start_beside(
        start_usher, stack, listeners=LISTENERS_HERE, login_tries="2", max_login_commands="5"
    ).usher
    with usher.connect("both") as imap:
        assert imap.login("ann", "guess").status == "NO"
        imap.starttls()
        tag = imap.start(b"LOGIN ann guess")
        assert imap.finish(tag).status == "NO"
        assert hear_out(imap) == BYE_TRIES
    assert end_of(usher, imap)["reason"] == "login_tries"
    with usher.connect("imap") as imap:
        for _ in range(3):
            assert imap.command(b"NOOP").status == "OK"
        imap.starttls()
        for _ in range(2):
            imap.finish(imap.start(b"NOOP"))
        assert hear_out(imap) == BYE_MANY
    assert end_of(usher, imap)["reason"] == "client_protocol"


# --- No way back to clear text ---


@pytest.mark.parametrize(
    "sent, alert",
    [
        (b"", None),
        (b"b NOOP\r\n", PROTOCOL_VERSION),
        (b"\x16\x03\x01\x02\x00\x01", None),
        (records(client_hello(0x0301)), PROTOCOL_VERSION),
        (records(client_hello(0x0300)), HANDSHAKE_FAILURE),
        (b"\x15\x03\x01\x00\x02\x02\x28", None),
    ],
    ids=["nothing", "text", "half a hello", "TLS 1.0", "SSL 3", "alert"],
)
def test_a_handshake_that_fails_ends_the_session(usher, sent, alert):
    with begin(usher) as imap:
        throw(imap, sent)
        heard = hear_out(imap)
    assert heard == b"" or fatal_alert(heard) is not None
    assert alert is None or heard == b"" or fatal_alert(heard) == alert
    end = end_of(usher, imap)
    assert end["reason"] == "client_tls" and end["detail"]


def test_commands_after_a_failed_handshake_are_not_read(usher):
    with begin(usher) as imap:
        throw(imap, records(client_hello(0x0301)) + b"b LOGIN eve secret\r\nc NOOP\r\n")
        heard = hear_out(imap)
    assert heard[:1] in (b"", bytes([ALERT])) and b"c OK" not in heard
    assert end_of(usher, imap)["reason"] == "client_tls"
    assert not was_tried(usher, "eve")
