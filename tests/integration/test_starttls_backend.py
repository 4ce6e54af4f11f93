"""The backend's leg of STARTTLS against somebody in the middle: nothing that was said in clear
counts within TLS, and nothing secret is ever said in clear.

The attacks are those on clients in "Why TLS is better without STARTTLS" (Poddebniak and others,
USENIX Security 2021): stripping, PREAUTH, injected responses, lies about capabilities.
"""

from __future__ import annotations

import base64
import socket
import ssl
import warnings

import pytest
from conftest import BACKEND_NAME
from front import PASSWORD, USER
from peers import scripted
from peers.certs import Authority, Certificate, Tls
from peers.scripted import (
    Connection,
    PeerClosed,
    after_starttls,
    context_of,
    leaving,
    saying,
    within_tls,
)

OFFER = b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR] hello\r\n"
EVIL = b"* CAPABILITY IMAP4rev1 AUTH=EVIL SASL-IR\r\n"
TOKEN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
# A record of TLS that holds a ClientHello.
HELLO_OF_TLS = b"\x16\x03\x01"
SECURED = [Tls.STARTTLS, Tls.IMPLICIT]


def assert_nothing_secret_in_clear(front) -> None:
    heard = bytes(front.server.in_clear)
    for secret in (PASSWORD.encode(), TOKEN, b"LOGIN", b"AUTHENTICATE", USER.encode() + b" "):
        assert secret not in heard.partition(HELLO_OF_TLS)[0]
    assert PASSWORD.encode() not in heard and TOKEN not in heard


def serving(connection: Connection) -> None:
    """TLS as it should be, and all that is behind it."""
    connection.start_tls()
    scripted.serve(connection, b"OK [CAPABILITY IMAP4rev1] in")


# --- no TLS: no login ---

STRIPPED = {
    "not_offered": (saying(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x\r\n"), "is not offered"),
    "not_offered_nor_plain": (saying(b"* OK [CAPABILITY IMAP4] hello\r\n"), "is not offered"),
    "not_told_and_unknown": (
        after_starttls(leaving, greeting=b"* OK x\r\n", answer=b"<tag> BAD x\r\n"),
        "refuses STARTTLS: x",
    ),
    "no": (
        after_starttls(leaving, answer=b"<tag> NO [UNAVAILABLE] no TLS today\r\n"),
        "refuses STARTTLS: [UNAVAILABLE]",
    ),
    "bad": (after_starttls(leaving, answer=b"<tag> BAD no TLS\r\n"), "refuses STARTTLS: no TLS"),
    "bye": (after_starttls(leaving, answer=b"* BYE no TLS\r\n"), "says BYE: no TLS"),
    "bye_before_ok": (after_starttls(serving, answer=b"* BYE x\r\n<tag> OK go\r\n"), "says BYE: x"),
    "continuation": (after_starttls(leaving, answer=b"+ go on\r\n"), "asks to go on"),
    "preauth": (after_starttls(leaving, answer=b"* PREAUTH in\r\n"), "PREAUTH after the greeting"),
    "foreign_tag": (after_starttls(leaving, answer=b"A1 OK go\r\n"), "what was not asked: A1 OK"),
    "closes": (after_starttls(lambda connection: None, answer=b""), "closed the connection"),
    "leaves": (after_starttls(leaving, answer=b"* OK"), "closed the connection within a line"),
    "resets": (after_starttls(Connection.reset, answer=b""), "reset"),
}


def test_without_tls_there_is_no_login(start_front):
    rows = {name: (script, "starttls", words) for name, (script, words) in STRIPPED.items()}
    front = start_front(scripted.silent, tls=Tls.STARTTLS)
    front.assert_each_unavailable(rows)
    assert_nothing_secret_in_clear(front)


@pytest.mark.parametrize("more", [b"", b" STARTTLS", b" STARTTLS AUTH=PLAIN", b" AUTH=PLAIN"])
def test_preauth_in_clear_ends_it(start_front, more):
    """TLS cannot begin any more then (RFC 9051 section 7.1.4)."""
    greeting = b"* PREAUTH [CAPABILITY IMAP4rev1" + more + b"] welcome, ann\r\n"
    front = start_front(saying(greeting), tls=Tls.STARTTLS)
    front.assert_unavailable("greeting", "PREAUTH")
    assert not front.server.in_clear


# --- words in clear behind the answer to STARTTLS ---

SUFFIXES = {
    "capabilities": EVIL,
    "answers": EVIL + b"U2 OK done\r\nU3 OK in\r\n",
    "login_is_good": b"U2 OK [CAPABILITY IMAP4rev1] in\r\n",
    "login_is_bad": b"U2 NO [AUTHENTICATIONFAILED] wrong\r\n",
    "alert": b"* OK [ALERT] call 555\r\n",
    "bye": b"* BYE out\r\n",
    "preauth": b"* PREAUTH in\r\n",
    "half_a_line": b"* OK [CAPABILITY ",
    "literal": b"* X {1000}\r\n",
    "empty_line": b"\r\n",
    "nul": b"\0",
    "record_of_tls": b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
}


def test_words_in_clear_behind_the_answer_end_it(start_front):
    """In the same segment, where only a look at what is left of it can find them."""
    rows = {
        name: (after_starttls(serving, answer=b"<tag> OK go\r\n" + suffix), "starttls", "in clear")
        for name, suffix in SUFFIXES.items()
    }
    front = start_front(scripted.silent, tls=Tls.STARTTLS)
    front.assert_each_unavailable(rows)
    assert_nothing_secret_in_clear(front)


def test_words_in_clear_in_place_of_the_handshake_end_it(start_front):
    """A server that says OK and goes on without TLS, also where it waits for the hello before."""

    def going_on(suffix: bytes, waits: bool) -> scripted.Script:
        def script(connection: Connection) -> None:
            if waits:
                connection.read()
            connection.send(suffix)
            connection.until_closed()

        return after_starttls(script)

    # Less than the head of a record of TLS might still become one.
    suffixes = {name: said for name, said in SUFFIXES.items() if b"\n" in said and len(said) > 4}
    rows = {
        f"{name}, {'behind the hello' if waits else 'at once'}": (
            going_on(suffix, waits),
            "tls" if waits else "starttls|tls",
            "does not look like TLS" if waits else "",
        )
        for name, suffix in suffixes.items()
        for waits in (False, True)
    }
    front = start_front(scripted.silent, tls=Tls.STARTTLS)
    front.assert_each_unavailable(rows)
    assert_nothing_secret_in_clear(front)


# --- words in clear before it ---


def ways(front) -> list[bytes]:
    """How usher has logged in: the commands without tags and credentials."""
    names = [line.split(b" ")[1].strip() for line in front.server.commands]
    return [name for name in names if name in (b"LOGIN", b"AUTHENTICATE")]


PREFIXES = {
    "none": b"",
    "alert": b"* OK [ALERT] call 555\r\n* NO [ALERT] call 555\r\n",
    "data": b'* LIST () "/" evil\r\n* 99 EXISTS\r\n* 1 FETCH (BODY[] {4}\r\nevil)\r\n',
    "capabilities": b"* OK [CAPABILITY IMAP4rev1 AUTH=EVIL LOGINDISABLED] x\r\n" + EVIL,
    "in_the_answer": b"",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_words_in_clear_before_tls_are_forgotten(start_front, prefix):
    """The client hears none of them, and the capabilities that count are those told in TLS."""
    code = b"[CAPABILITY LOGINDISABLED AUTH=EVIL] " if prefix == "in_the_answer" else b""
    answer = PREFIXES[prefix] + b"<tag> OK " + code + b"go\r\n"
    front = start_front(after_starttls(serving, greeting=OFFER, answer=answer), tls=Tls.STARTTLS)
    with front.watched(), front.usher.connect("plain") as imap:
        answer = imap.login(USER, PASSWORD)
        assert (answer.status, answer.untagged) == ("OK", [])
        assert answer.text == b"[CAPABILITY IMAP4rev1] in"
        assert imap.is_alive()
    assert front.usher.find("login", backend="mail1")[0]["backend_tls"].startswith("TLSv1")
    assert_nothing_secret_in_clear(front)


# What is told in clear and within TLS, and how usher logs in then; "" not at all.
LIES = {
    "plain_in_clear_only": (b"AUTH=PLAIN SASL-IR LITERAL+ ID", b"", b"LOGIN"),
    "plain_in_tls_only": (b"", b"AUTH=PLAIN SASL-IR", b"AUTHENTICATE"),
    "disabled_in_clear_only": (b"LOGINDISABLED", b"", b"LOGIN"),
    "disabled_in_tls_only": (b"AUTH=PLAIN", b"LOGINDISABLED", b""),
    "starttls_in_tls_too": (b"", b"STARTTLS AUTH=PLAIN", b"AUTHENTICATE"),
}


@pytest.mark.parametrize("in_clear, in_tls, way", LIES.values(), ids=LIES)
def test_capabilities_told_in_clear_do_not_count(start_front, in_clear, in_tls, way):
    def secured(connection: Connection) -> None:
        connection.start_tls()
        while True:
            tag, name, arguments = connection.command()
            told = b""
            if name == b"CAPABILITY":
                told = b"* CAPABILITY IMAP4rev1 " + in_tls + b"\r\n"
            elif name == b"AUTHENTICATE" and b" " not in arguments:
                connection.send(b"+ \r\n")
                connection.line()
            connection.send(told + tag + b" OK done\r\n")

    greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS " + in_clear + b"] hello\r\n"
    front = start_front(after_starttls(secured, greeting=greeting), tls=Tls.STARTTLS)
    with front.watched():
        assert front.log_in().code == ("UNAVAILABLE" if not way else "CAPABILITY")
    assert ways(front) == ([way] if way else [])
    names = [line.split(b" ")[1].strip() for line in front.server.commands]
    assert names[:2] == [b"STARTTLS", b"CAPABILITY"]
    assert_nothing_secret_in_clear(front)


def test_an_answer_before_the_question_gains_nothing(start_front):
    """OK to STARTTLS in one segment with the greeting: what follows is TLS all the same."""

    def hasty(connection: Connection) -> None:
        connection.send(OFFER + b"U1 OK go\r\n")
        # The hello may lie right behind it.
        question = b"U1 STARTTLS\r\n"
        assert connection.socket.recv(len(question), socket.MSG_WAITALL) == question
        serving(connection)

    front = start_front(hasty, tls=Tls.STARTTLS)
    with front.watched():
        assert front.log_in().status == "OK"
    assert_nothing_secret_in_clear(front)


# --- within TLS ---


def test_a_greeting_within_tls_is_no_harm(start_front):
    """Some servers greet again (RFC 9051 does not know it); a greeting of another kind ends it."""

    def greeting_again(connection: Connection) -> None:
        connection.start_tls()
        connection.send(OFFER)
        scripted.serve(connection, b"OK [CAPABILITY IMAP4rev1] in")

    front = start_front(after_starttls(greeting_again), tls=Tls.STARTTLS)
    with front.watched():
        answer = front.log_in()
        assert (answer.status, answer.untagged) == ("OK", [])


@pytest.mark.parametrize("tls", SECURED)
def test_trouble_within_tls(start_front, tls):
    greeting = b"" if tls is Tls.STARTTLS else b"* OK hello\r\n"
    troubles = {
        "preauth": (b"* PREAUTH in\r\n", Connection.until_closed, "PREAUTH"),
        "bye": (b"* BYE out\r\n", Connection.until_closed, "BYE: out"),
        "closes": (b"", lambda connection: None, "closed the connection"),
        "closes_tls": (b"", lambda connection: connection.socket.unwrap(), "closed the connection"),
        "resets": (b"", Connection.reset, ""),
        "in_clear_again": (b"", in_clear_again, ""),
        "forged": (b"", forging, ""),
    }

    def trouble(octets: bytes, ending: scripted.Ending) -> scripted.Script:
        def script(connection: Connection) -> None:
            connection.send(greeting + octets)
            connection.command()
            ending(connection)

        return in_handshake(within_tls(script), tls)

    rows = {
        name: (trouble(octets, ending), "capability", words)
        for name, (octets, ending, words) in troubles.items()
    }
    front = start_front(scripted.silent, tls=tls)
    front.assert_each_unavailable(rows)
    assert_nothing_secret_in_clear(front)


def in_clear_again(connection: Connection) -> None:
    """Somebody in the middle answers in clear, as if there were no TLS."""
    plain = socket.socket(fileno=connection.socket.detach())
    plain.sendall(EVIL + b"U2 OK done\r\n")
    connection.socket = plain
    connection.until_closed()


def forging(connection: Connection) -> None:
    """A record that nobody has sealed."""
    plain = socket.socket(fileno=connection.socket.detach())
    plain.sendall(b"\x17\x03\x03\x00\x40" + b"x" * 64)
    connection.socket = plain
    connection.until_closed()


# --- handshakes that fail: no login, and no second try in clear ---


def in_handshake(script: scripted.Script, tls: Tls) -> scripted.Script:
    return after_starttls(script) if tls is Tls.STARTTLS else script


def hello_and(ending: scripted.Ending) -> scripted.Script:
    def script(connection: Connection) -> None:
        connection.read()
        ending(connection)

    return script


BROKEN_HANDSHAKES = {
    "closes": (lambda connection: None, ""),
    "closes_behind_the_hello": (hello_and(lambda connection: None), ""),
    "leaves_behind_the_hello": (hello_and(leaving), ""),
    "resets_behind_the_hello": (hello_and(Connection.reset), "reset"),
    "alert": (hello_and(saying(b"\x15\x03\x01\x00\x02\x02\x28")), "TLS"),
    "clear": (hello_and(saying(b"* OK hello\r\n")), "does not look like TLS"),
    "http": (hello_and(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "does not look like TLS"),
    "half_a_hello": (hello_and(saying(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76", leaving)), ""),
}


@pytest.mark.parametrize("tls", SECURED)
def test_a_handshake_that_breaks_ends_it(start_front, tls):
    rows = {
        name: (in_handshake(script, tls), "tls", words)
        for name, (script, words) in BROKEN_HANDSHAKES.items()
    }
    front = start_front(scripted.silent, tls=tls)
    front.assert_each_unavailable(rows)
    assert front.server.connections == len(rows)
    assert_nothing_secret_in_clear(front)


@pytest.mark.parametrize("tls", SECURED)
def test_a_handshake_without_an_answer_is_not_waited_for(start_front, tls):
    front = start_front(in_handshake(scripted.silent, tls), tls=tls)
    front.assert_unavailable("tls", "no answer within backend_login_timeout")
    assert_nothing_secret_in_clear(front)


def old_tls(certificate) -> ssl.SSLContext:
    """A server of TLS 1.0 and no more."""
    context = context_of(certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize("tls", SECURED)
@pytest.mark.parametrize("fault", ["self_signed", "expired", "other_name", "other_key", "old_tls"])
def test_a_server_that_is_not_the_right_one_is_told_nothing(
    start_front, folder, authority, backend_certificate, tls, fault
):
    words, options = "certificate", {}
    if fault == "old_tls":
        context, words = old_tls(backend_certificate), "TLS"
    elif fault == "self_signed":
        own = Authority(folder / "own", "own")
        context = context_of(Certificate(own.certificate, folder / "own/own.key"))
        words = "self-signed"
    elif fault == "expired":
        context = context_of(authority.issue("late", BACKEND_NAME, expired=True))
        words = "expired"
    elif fault == "other_name":
        context = context_of(authority.issue("other", "mail2.example.org"))
        words = "mismatch"
    else:
        context, words = None, "not in tls_pin"
        options = {"tls_pin": (base64.b64encode(bytes(32)).decode(),)}

    def script(connection: Connection) -> None:
        connection.start_tls()
        with pytest.raises(PeerClosed):
            heard.append(connection.read())

    heard: list[bytes] = []
    front = start_front(in_handshake(script, tls), tls=tls, context=context, **options)
    front.assert_unavailable("tls", words)
    assert heard == []
    assert front.server.connections == 1
    assert_nothing_secret_in_clear(front)


# --- one side speaks TLS, the other does not ---


def test_a_port_of_tls_spoken_to_in_clear(start_front, backend_certificate):
    """It waits for a hello, as usher waits for a greeting."""
    front = start_front(within_tls(scripted.silent), context=context_of(backend_certificate))
    front.assert_unavailable("greeting", "no answer within backend_login_timeout")
