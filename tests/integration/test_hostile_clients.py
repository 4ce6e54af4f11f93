"""Clients that break IMAP's rules before login: each gets the stated answer, and nobody else notices.

The rows are whole dialogues. What is sent ends with a half-close, so that what comes back is complete.
"""

from __future__ import annotations

import base64
import random

import pytest
from conftest import LISTENER_OF_TLS
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.hostile import (
    Bystanders,
    OctetByOctet,
    TlsByHand,
    client_hello,
    end_of,
    hear_out,
    pour,
    records,
)
from test_transfer import frugal_sanitizer

MAX_LINE, MAX_LITERAL, MAX_COMMANDS = 8192, 4096, 100

NO_TAG = b"* BAD A command begins with a tag\r\n"
NO_NAME = b"a BAD A tag, one space and a command are expected\r\n"
NOOP_OK = b"b OK Nothing done\r\n"
NOOP_BAD = b"a BAD NOOP takes no arguments\r\n"
LATER = b"a BAD Please log in first\r\n"
LOGIN_BAD = b"a BAD LOGIN takes a user name and a password; quote what has special characters\r\n"
ID_BAD = b"a BAD ID takes NIL or a list of at most 30 pairs of strings, of 30 bytes and 1024 bytes\r\n"
MECH_BAD = b"a BAD AUTHENTICATE takes a mechanism and at most one initial response\r\n"
NOT_BASE64 = b"a BAD This is not base 64\r\n"
MESSAGE_BAD = b"a BAD This message is not what the mechanism asks for\r\n"
CANCELLED = b"a BAD Cancelled\r\n"
NAME_LONG = b"a NO [AUTHENTICATIONFAILED] The user name is too long\r\n"
NAME_EMPTY = b"a NO [AUTHENTICATIONFAILED] The user name is empty\r\n"
HOLDS_NUL = b"a NO [AUTHENTICATIONFAILED] The user name or password holds NUL, CR or LF\r\n"
WRONG = b"a NO [AUTHENTICATIONFAILED] wrong password\r\n"
TOOBIG = b"a BAD [TOOBIG] The literal is too large\r\n"
GO_ON, ASK = b"+ Go on\r\n", b"+ \r\n"
LOGGED_IN = b" OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] at fake\r\n"

BYE_TOOBIG = b"* BYE [TOOBIG] The literal is too large\r\n"
BYE_LONG = b"* BYE The line is too long\r\n"
BYE_MANY = b"* BYE Too many bad or needless commands\r\n"
BYE_WEB = b"* BYE This is an IMAP server, not a web server\r\n"


def start_beside(start_usher, stack, **settings) -> Bystanders:
    """An usher with one worker in front of a backend that takes PASSWORD, and bystanders there."""
    fake = stack.enter_context(FakeBackend())
    wanted = {"workers": "1", "max_sessions_per_address": "0", "env": frugal_sanitizer(), **settings}
    return stack.enter_context(Bystanders(start_usher({"fake": fake}, **wanted), password=PASSWORD))


@pytest.fixture
def beside(start_usher, stack):
    return start_beside(start_usher, stack)


def talk(usher, sent: bytes, listener: str = "plain") -> tuple[bytes, str]:
    """What a client that sends this and no more is told behind the greeting, and why it ends."""
    with usher.connect(listener) as imap:
        imap.send(sent)
        imap.end_writing()
        told = hear_out(imap)
    return told, end_of(usher, imap)["reason"]


def check(usher, rows) -> None:
    """Rows are (sent, told) or, where usher itself ends the session, (sent, told, reason)."""
    for sent, told, *reason in rows:
        expected = (told, *(reason or ["client_closed"]))
        assert talk(usher, sent) == expected, sent[:200]


def plain(user: bytes = b"ann", password: bytes = PASSWORD.encode(), authzid: bytes = b"") -> bytes:
    return base64.b64encode(authzid + b"\0" + user + b"\0" + password)


# --- Line, literals, bytes ---


def test_literals_of_impossible_sizes(beside):
    rows = [
        (b"a LOGIN ann {99999999999}\r\nb NOOP\r\n", TOOBIG + NOOP_OK),
        (b"a LOGIN ann {18446744073709551616}\r\nb NOOP\r\n", TOOBIG + NOOP_OK),
        (b"a LOGIN ann {4294967296}\r\nb NOOP\r\n", TOOBIG + NOOP_OK),
        (b"a LOGIN ann {%d}\r\nb NOOP\r\n" % (MAX_LITERAL + 1), TOOBIG + NOOP_OK),
        (b"a LOGIN ann {%s}\r\nb NOOP\r\n" % (b"9" * 5000), TOOBIG + NOOP_OK),
        # Their bytes are under way, whatever is answered, so there is no going on.
        (b"a LOGIN ann {4294967296+}\r\nb NOOP\r\n", TOOBIG + BYE_TOOBIG, "client_protocol"),
        (b"a LOGIN ann {18446744073709551616+}\r\n", TOOBIG + BYE_TOOBIG, "client_protocol"),
        (b"a LOGIN ann {%d+}\r\n" % (MAX_LITERAL + 1), TOOBIG + BYE_TOOBIG, "client_protocol"),
        # The sum of two counts, too.
        (b"a LOGIN {4000+}\r\n" + b"x" * 4000 + b" {4000}\r\nb NOOP\r\n", TOOBIG + NOOP_OK),
    ]
    rows += [
        (b"a LOGIN ann " + braces + b"\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK)
        for braces in (b"{-1}", b"{}", b"{+}", b"{1+2}", b"{1-}", b"{ 1}", b"{1 }", b"{0x1}", b"{1+}}")
    ]
    check(beside.usher, rows)


def test_empty_literals_again_and_again(beside):
    zeros = b"{0+}\r\n "
    rows = [
        (b"a LOGIN ann {0}\r\n\r\n", GO_ON + WRONG),
        (b"a LOGIN {0+}\r\n {0+}\r\n\r\n", NAME_EMPTY),
        (b"a LOGIN {0}\r\n {0}\r\n\r\n", 2 * GO_ON + NAME_EMPTY),
        (b"a ID (" + 60 * zeros + b")\r\n", ID_BAD),
        (b"a ID (" + 1000 * zeros + b")\r\n", ID_BAD),
        (b"a ID (" + 2000 * zeros + b")\r\n", BYE_LONG, "client_protocol"),
        (b"a LOGIN " + 1000 * zeros + b"\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK),
    ]
    check(beside.usher, rows)


def test_literals_where_none_belong(beside):
    rows = [
        (b"a NOOP {5}\r\nb NOOP\r\n", NOOP_BAD + NOOP_OK),
        (b"a NOOP {8+}\r\nc NOOP\r\n\r\nb NOOP\r\n", NOOP_BAD + NOOP_OK),
        (b"a CAPABILITY {3}\r\n", b"a BAD CAPABILITY takes no arguments\r\n"),
        (b"a LOGOUT {3}\r\nb NOOP\r\n", b"a BAD LOGOUT takes no arguments\r\n" + NOOP_OK),
        (b"a AUTHENTICATE PLAIN {4}\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a AUTHENTICATE PLAIN {4+}\r\nAAAA\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a AUTHENTICATE {5+}\r\nPLAIN\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a SELECT {5}\r\nb NOOP\r\n", LATER + NOOP_OK),
        (b"a SELECT {5+}\r\nINBOX\r\nb NOOP\r\n", LATER + NOOP_OK),
        (b"a APPEND INBOX ~{4+}\r\n\0\r\n\0\r\nb NOOP\r\n", LATER + NOOP_OK),
        (b"a {4+}\r\nNOOP\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (b"{1+}\r\na NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"a LOGIN ann ~{6+}\r\nsecret\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK),
        (b"a LOGIN ann{6+}\r\nsecret x\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK),
    ]
    check(beside.usher, rows)


def test_bytes_that_no_command_holds(beside):
    rows = [
        (b"a NOOP\0\r\nb NOOP\r\n", NOOP_BAD + NOOP_OK),
        (b"\0a NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"a\0 NOOP\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (b"a LOGIN ann se\0cret\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK),
        (b'a LOGIN ann "se\0cret"\r\nb NOOP\r\n', LOGIN_BAD + NOOP_OK),
        (b"a LOGIN {3+}\r\na\0n secret\r\nb NOOP\r\n", HOLDS_NUL + NOOP_OK),
        (b"a NOOP\rb NOOP\r\nb NOOP\r\n", NOOP_BAD + NOOP_OK),
        (b"a NOOP\r\r\nb NOOP\r\n", NOOP_BAD + NOOP_OK),
        (b"\r\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"b NOOP\nb NOOP\n", 2 * NOOP_OK),
        (b"\n\n\nb NOOP\n", 3 * NO_TAG + NOOP_OK),
        (b"\xe4 NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"\xff\xfe\r\n\0b NOOP\r\nb NOOP\r\n", 2 * NO_TAG + NOOP_OK),
        (b"a N\xc3\x96P\r\nb NOOP\r\n", b"a BAD Unknown command\r\n" + NOOP_OK),
        (bytes(range(256)) * 64 + b"\nb NOOP\r\n", 65 * NO_TAG + NOOP_OK),
    ]
    check(beside.usher, rows)


def test_tags_that_are_none(beside):
    longest = b"t" * 128
    rows = [
        (b" NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"+ NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"* NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b'"a" NOOP\r\nb NOOP\r\n', NO_TAG + NOOP_OK),
        (b"(a) NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"a\tNOOP\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (b"a\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (b"a  NOOP\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (longest + b" NOOP\r\n", longest + b" OK Nothing done\r\n"),
        (longest + b"t NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"t" * 8000 + b" NOOP\r\nb NOOP\r\n", NO_TAG + NOOP_OK),
        (b"t" * 9000 + b" NOOP\r\nb NOOP\r\n", BYE_LONG, "client_protocol"),
    ]
    check(beside.usher, rows)


def test_nesting_and_quotes_without_end(beside):
    quotes = b'\\"' * 3000
    rows = [
        (b"a " + b"(" * 8000 + b"\r\nb NOOP\r\n", NO_NAME + NOOP_OK),
        (b"a ID " + b"(" * 8000 + b"\r\nb NOOP\r\n", ID_BAD + NOOP_OK),
        (b"a ID " + b"(" * 4000 + b")" * 4000 + b"\r\nb NOOP\r\n", ID_BAD + NOOP_OK),
        (b"a SEARCH " + b"(" * 8000 + b"\r\nb NOOP\r\n", LATER + NOOP_OK),
        (b"a " + b"(" * 10_000 + b"\r\n", BYE_LONG, "client_protocol"),
        (b"a ID " + b"(" * 10_000 + b"\r\n", BYE_LONG, "client_protocol"),
        (b'a LOGIN "' + quotes + b'" x\r\nb NOOP\r\n', NAME_LONG + NOOP_OK),
        (b'a LOGIN "' + quotes + b"\r\nb NOOP\r\n", LOGIN_BAD + NOOP_OK),
        (b'a LOGIN "ann" "secret\r\nb NOOP\r\n', LOGIN_BAD + NOOP_OK),
        (b'a LOGIN "ann" "secret\\"\r\nb NOOP\r\n', LOGIN_BAD + NOOP_OK),
        (b'a LOGIN "ann" "secret\\', b""),
        (b'a LOGIN "ann" "\\s"\r\nb NOOP\r\n', LOGIN_BAD + NOOP_OK),
        (b'a ID ("x" "y\r\nb NOOP\r\n', ID_BAD + NOOP_OK),
        # Latin-1 within quotes is what older mail programs send: for the backend to judge.
        (b'a LOGIN "ann" "gr\xfc\xdfe"\r\n', WRONG),
    ]
    check(beside.usher, rows)


def test_needless_commands_are_counted(beside):
    """max_login_commands: those that are bad, and those that lead nowhere."""
    rows = [
        (b"\r\n" * 5000, MAX_COMMANDS * NO_TAG + BYE_MANY, "client_protocol"),
        (b"b NOOP\r\n" * 5000, MAX_COMMANDS * NOOP_OK + BYE_MANY, "client_protocol"),
        (b"a FETCH 1 (FLAGS)\r\n" * 500, MAX_COMMANDS * LATER + BYE_MANY, "client_protocol"),
        (b"a LOGIN ann {9999}\r\n" * 500, MAX_COMMANDS * TOOBIG + BYE_MANY, "client_protocol"),
    ]
    check(beside.usher, rows)


def test_max_login_commands_may_be_set(start_usher, stack):
    usher = start_beside(start_usher, stack, max_login_commands="5").usher
    check(
        usher,
        [
            (b"b NOOP\r\n" * 4 + b"a LOGIN ann wrong\r\n", 4 * NOOP_OK + WRONG),
            (b"b NOOP\r\n" * 9, 5 * NOOP_OK + BYE_MANY, "client_protocol"),
        ],
    )


@pytest.mark.parametrize(
    "begin, told",
    [
        (b"", BYE_LONG),
        (b"a LOGIN ", BYE_LONG),
        (b'a LOGIN "', BYE_LONG),
        (b"a AUTHENTICATE PLAIN\r\n", ASK + BYE_LONG),
        (b"a AUTHENTICATE LOGIN\r\nYW5u\r\n", b"+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n" + BYE_LONG),
        (b"a LOGIN ann {%d+}\r\n" % MAX_LITERAL, BYE_LONG),
        (b"a LOGIN ann {99999+}\r\n", TOOBIG + BYE_TOOBIG),
    ],
    ids=["line", "argument", "quotes", "PLAIN", "LOGIN", "literal", "large literal"],
)
def test_what_never_ends_is_cut_off(beside, begin, told):
    with beside.usher.connect("plain") as imap:
        imap.send(begin)
        heard = b"".join(imap.line() + b"\r\n" for _ in range(begin.count(b"\r\n")) if b"AUTH" in begin)
        pour(imap, b"AAAA" * 4096)
        assert heard + hear_out(imap) == told
    assert end_of(beside.usher, imap)["reason"] == "client_protocol"
    assert beside.grown_kib() < 2048


# --- SASL ---


def test_base64_that_is_none(beside):
    token = plain()
    rows = [
        (b"a AUTHENTICATE PLAIN " + token[:-1] + b"\r\nb NOOP\r\n", NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN " + token + b"=\r\nb NOOP\r\n", NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN ====\r\nb NOOP\r\n", NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN AA=A\r\nb NOOP\r\n", NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN A-_A\r\nb NOOP\r\n", NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN \xc3\xa4\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a AUTHENTICATE PLAIN QUJD REVG\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\n\xc3\xa4\xff\r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\nQUJD REVG\r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\n" + token + b" \r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\n\0\r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\n{4+}\r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (b"a AUTHENTICATE PLAIN " + b"AAAA" * 2000 + b"\r\nb NOOP\r\n", MESSAGE_BAD + NOOP_OK),
        (b"a AUTHENTICATE PLAIN " + b"AAAA" * 2500 + b"\r\n", BYE_LONG, "client_protocol"),
        (b"a AUTHENTICATE PLAIN\r\n" + b"AAAA" * 2500 + b"\r\n", ASK + BYE_LONG, "client_protocol"),
    ]
    check(beside.usher, rows)


def test_sasl_out_of_step(beside):
    token = plain()
    rows = [
        (b"a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n", ASK + CANCELLED + NOOP_OK),
        (b"a AUTHENTICATE PLAIN *\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        (b"a AUTHENTICATE PLAIN\r\nb NOOP\r\nb NOOP\r\n", ASK + NOT_BASE64 + NOOP_OK),
        (
            b"a AUTHENTICATE PLAIN\r\nb LOGIN ann secret\r\nb NOOP\r\n",
            ASK + NOT_BASE64 + NOOP_OK,
        ),
        (
            b"a AUTHENTICATE PLAIN\r\n*\r\n" + token + b"\r\nb NOOP\r\n",
            ASK + CANCELLED + token + NO_NAME[1:] + NOOP_OK,
        ),
        (
            b"a AUTHENTICATE PLAIN\r\nb AUTHENTICATE PLAIN\r\n" + token + b"\r\n",
            ASK + NOT_BASE64 + token + NO_NAME[1:],
        ),
        (
            b"c AUTHENTICATE KERBEROS_V4\r\na AUTHENTICATE EXTERNAL =\r\n",
            b"c NO This mechanism is not offered\r\na NO This mechanism is not offered\r\n",
        ),
        (b"a AUTHENTICATE " + b"X" * 8000 + b"\r\n", b"a NO This mechanism is not offered\r\n"),
        (b"a AUTHENTICATE\r\nb NOOP\r\n", MECH_BAD + NOOP_OK),
        # Both are judged in their order; the second by the backend, who has let the first in.
        (
            b"a AUTHENTICATE PLAIN " + token + b"\r\nb LOGIN ann secret\r\n",
            b"a" + LOGGED_IN + b"b" + LOGGED_IN,
        ),
        (
            b"a AUTHENTICATE PLAIN " + plain(password=b"guess") + b"\r\nb LOGIN ann secret\r\n",
            WRONG + b"b" + LOGGED_IN,
        ),
        (
            b"a AUTHENTICATE PLAIN\r\n" + token + b"\r\nb AUTHENTICATE PLAIN " + token + b"\r\n",
            ASK + b"a" + LOGGED_IN + b"b" + LOGGED_IN,
        ),
    ]
    check(beside.usher, rows)


def test_identities_that_are_none(beside):
    def authenticate(message: bytes) -> bytes:
        return b"a AUTHENTICATE PLAIN " + base64.b64encode(message) + b"\r\nb NOOP\r\n"

    rows = [
        (authenticate(message), MESSAGE_BAD + NOOP_OK)
        for message in (b"\0", b"\0\0", b"ann", b"ann\0secret", b"\0ann\0secret\0", b"\0\0\0\0", b"\0\0x")
    ]
    rows += [
        (authenticate(b"\0an\nn\0secret"), HOLDS_NUL + NOOP_OK),
        (authenticate(b"\0ann\0sec\rret"), HOLDS_NUL + NOOP_OK),
        (authenticate(b"x\r\ny\0ann\0secret"), HOLDS_NUL + NOOP_OK),
        (authenticate(b"z" * 4000 + b"\0ann\0secret"), NAME_LONG + NOOP_OK),
        (authenticate(b"z" * 10_000 + b"\0ann\0secret"), BYE_LONG, "client_protocol"),
        (authenticate(b"\0" + b"u" * 513 + b"\0secret"), NAME_LONG + NOOP_OK),
        (b"a LOGIN " + b"u" * 513 + b" secret\r\nb NOOP\r\n", NAME_LONG + NOOP_OK),
        # The longest that there is, and the password may have what the literal's bound leaves.
        (b"a LOGIN " + b"u" * 512 + b" secret\r\n", b"a" + LOGGED_IN),
        (b"a LOGIN ann {4096+}\r\n" + b"p" * 4096 + b"\r\n", WRONG),
    ]
    check(beside.usher, rows)


# --- Who speaks something else ---


def test_other_protocols_on_the_port_in_clear(beside):
    request = b"POST / HTTP/1.1\r\nHost: mail\r\nContent-Length: 40\r\n\r\nb LOGIN ann secret\r\nb NOOP\r\n"
    hello = records(client_hello())
    rows = [
        (request, BYE_WEB, "client_protocol"),
        (b"GET /autodiscover HTTP/1.0\n\nb LOGIN ann secret\n", BYE_WEB, "client_protocol"),
        (b"b NOOP\r\nGET / HTTP/1.1\r\nb NOOP\r\n", NOOP_OK + BYE_WEB, "client_protocol"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BYE_WEB, "client_protocol"),
        # It could read no words of ours.
        (hello, b"", "client_protocol"),
        (b"b NOOP\r\n" + hello, NOOP_OK, "client_protocol"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"SSH-2.0-OpenSSH_9.2p1" + NO_NAME[1:]),
        (b"EHLO mail.example.org\r\n", b"EHLO BAD Unknown command\r\n"),
        (b"USER ann\r\nPASS secret\r\n", b"USER BAD Unknown command\r\nPASS BAD Unknown command\r\n"),
        (b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 143\r\n", b"PROXY BAD Unknown command\r\n"),
    ]
    check(beside.usher, rows)


def test_noise_on_the_port_in_clear(beside):
    for seed in range(10):
        noise = b"\n" + random.Random(seed).randbytes(48 << 10)
        told, reason = talk(beside.usher, noise)
        assert reason == "client_protocol", seed
        assert told.endswith((BYE_MANY, BYE_LONG, BYE_TOOBIG, b"tag\r\n")), seed
    assert beside.grown_kib() < 2048


# --- An octet at a time ---


@pytest.mark.parametrize("tls", list(Tls))
def test_octet_by_octet_to_the_end(beside, tls):
    """Every command, and every handshake, in segments of one octet."""
    ways = (
        lambda imap: imap.command(b'LOGIN "ann" {6+}\r\nsecret'),
        lambda imap: imap.authenticate_plain("ann", PASSWORD),
        lambda imap: imap.authenticate_plain("ann", PASSWORD, initial=False),
    )
    for log_in in ways:
        with beside.usher.connect(LISTENER_OF_TLS[tls], reads_greeting=False) as imap:
            imap.socket = OctetByOctet(imap.socket)
            if tls is Tls.STARTTLS:
                assert imap.line().startswith(b"* OK")
                assert imap.command(b"STARTTLS").status == "OK"
            if tls is not Tls.OFF:
                imap.socket = TlsByHand(imap.socket)
                imap.socket.handshake()
            if tls is not Tls.STARTTLS:
                assert imap.line().startswith(b"* OK")
            assert imap.command(b'ID ("name" {3+}\r\nodd)').status == "OK"
            assert log_in(imap).status == "OK"
            assert imap.command(b"NOOP").status == "OK"
