"""Backends that break off, lie, flood and fall silent: the client hears UNAVAILABLE or what is due
to it, and nobody else notices."""

from __future__ import annotations

import threading
import time

import pytest
from front import BACKEND_LOGIN_TIMEOUT_S, PASSWORD, USER
from peers import scripted
from peers.certs import Tls
from peers.scripted import (
    GREETING,
    Connection,
    PeerClosed,
    at_login,
    ending_at,
    leaving,
    saying,
    within_tls,
)
from peers.usher import Backend
from test_transfer import Flood, wait_until_still

HELLO = b"* OK hello\r\n"
HELLO_LOGIN = b"* OK [CAPABILITY IMAP4rev1] hello\r\n"
KIB = b"x" * 1023 + b" "
ALERT_OF_TLS = b"\x15\x03\x01\x00\x02\x02\x46"

# --- greetings ---

GREETINGS = {
    "preauth": (b"* PREAUTH hello, postmaster\r\n", "PREAUTH: somebody is logged in already"),
    "bye": (b"* BYE [UNAVAILABLE] come back later\r\n", "greets with BYE: [UNAVAILABLE] come back"),
    "no": (b"* NO not you\r\n", "is not IMAP: * NO not you"),
    "bad": (b"* BAD not you\r\n", "is not IMAP: * BAD not you"),
    "tagged": (b"U1 OK hello\r\n", "is not IMAP: U1 OK hello"),
    "continuation": (b"+ OK hello\r\n", "is not IMAP: + OK hello"),
    "data": (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", "is not IMAP: * CAPABILITY"),
    "empty": (b"\r\n", "is not IMAP"),
    "bare_lf": (b"* OK hello\n", "is not IMAP: * OK hello"),
    "bare_cr": (b"* OK hel\rlo\r\n", "is not IMAP: * OK hel\rlo"),
    "nul": (b"* OK hel\0lo\r\n", "is not IMAP: * OK hel"),
    "endless": (b"* OK " + KIB * 64, "the greeting has no end: * OK x"),
    "endless_without_words": (b"\0" * (64 << 10), "the greeting has no end"),
    "binary": (bytes(range(0x17, 0x100)) * 300, "the greeting has no end"),
    "tls_alert": (ALERT_OF_TLS, "is not IMAP but TLS"),
    "tls_hello": (b"\x16\x03\x03\x00\x7a\x02", "is not IMAP but TLS"),
    "http": (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "is not IMAP but HTTP"),
    "smtp": (b"220-mx.example.org ESMTP\r\n220 hello\r\n", "is not IMAP but SMTP"),
    "pop3": (b"+OK POP3 ready <1@mx.example.org>\r\n", "is not IMAP but POP3"),
    "ssh": (b"SSH-2.0-OpenSSH_9.2p1\r\n", "is not IMAP but SSH"),
}


SECOND_GREETINGS = {
    # Braces mean nothing at the end of the first.
    "in_no_literal": (b"* OK {100}\r\n* BYE going down\r\n", "the server says BYE: going down"),
    "bye": (b"* BYE going down\r\n", "the server says BYE: going down"),
    "preauth": (b"* PREAUTH hello, postmaster\r\n", "PREAUTH after the greeting"),
    "continuation": (b"+ hello\r\n", "asks to go on where there is nothing"),
    "tagged": (b"A7 OK hello\r\n", "answers what was not asked: A7 OK hello"),
}


def test_what_is_no_greeting_is_told_in_the_log_only(start_front):
    rows = {
        name: (saying(octets), "greeting", words) for name, (octets, words) in GREETINGS.items()
    }
    start_front(scripted.silent).assert_each_unavailable(rows)


def test_a_second_greeting_of_another_kind_is_none(start_front):
    rows = {
        name: (saying(HELLO + octets), "capability", words)
        for name, (octets, words) in SECOND_GREETINGS.items()
    }
    start_front(scripted.silent).assert_each_unavailable(rows)


def test_a_greeting_said_twice_is_no_harm_and_not_passed_on(start_front):
    front = start_front(scripted.answering(b"OK [CAPABILITY IMAP4rev1] in", HELLO + HELLO))
    with front.watched():
        answer = front.log_in()
        assert (answer.status, answer.untagged) == ("OK", [])


def test_a_backend_in_implicit_tls_may_not_be_logged_in_either(start_front):
    front = start_front(within_tls(scripted.preauth), tls=Tls.IMPLICIT)
    front.assert_unavailable("greeting", "PREAUTH")


def test_a_greeting_that_comes_too_late_is_not_waited_for_nor_used_later(start_front):
    """Its connection is gone when the client tries again."""
    has_been_late = False

    def late(connection: Connection) -> None:
        nonlocal has_been_late
        if not has_been_late:
            has_been_late = True
            with pytest.raises(PeerClosed):
                connection.read()
            connection.send(GREETING)
            return
        connection.send(GREETING)
        scripted.serve(connection)

    front = start_front(late)
    with front.watched(), front.usher.connect("plain") as imap:
        began = time.monotonic()
        assert imap.login(USER, PASSWORD).code == "UNAVAILABLE"
        assert time.monotonic() - began < BACKEND_LOGIN_TIMEOUT_S + 10
        assert imap.login(USER, PASSWORD).status == "OK"
        assert imap.is_alive()
    assert front.failure()["stage"] == "greeting"
    assert front.failure()["detail"].startswith("no answer within backend_login_timeout")
    assert front.server.connections == 2


def test_a_dialogue_without_haste_is_over_at_the_timeout_all_the_same(start_front):
    """Each line comes in time, and the answer to the login never does."""

    def dawdling(connection: Connection) -> None:
        connection.send(GREETING)
        connection.command()
        while True:
            connection.send(b"* OK a moment, please\r\n")
            time.sleep(BACKEND_LOGIN_TIMEOUT_S / 20)

    start_front(dawdling).assert_unavailable("login", "no answer within backend_login_timeout")


# --- ends of the connection, at each stage ---

# What the backend answers by an end: its greeting and capabilities, and the command.
STAGES = {
    "capability": (HELLO, b"IMAP4rev1", b"CAPABILITY"),
    # Without SASL-IR the login waits for ID's answer.
    "id": (HELLO, b"IMAP4rev1 ID AUTH=PLAIN", b"ID"),
    "login": (HELLO_LOGIN, b"", b"LOGIN"),
    "after_login": (HELLO_LOGIN, b"", b"CAPABILITY"),
}
ENDINGS = {
    "closes": lambda connection: None,
    "leaves": leaving,
    "resets": Connection.reset,
}


# A greeting cut off, and half an answer to the login.
HALVES = {
    "greeting": (saying, b"* OK hel", "connect|greeting"),
    "line": (at_login, b"* OK [ALERT] hel", "login"),
    "literal": (at_login, b'* LIST () "/" {4000}\r\n' + KIB, "login"),
    "answer": (at_login, b"<tag> OK [CAPABILITY IMAP4rev1] in\r", "login"),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_connection_ends_in_place_of_an_answer(start_front, ending):
    rows = {
        stage: (ending_at(command, ending, greeting, capabilities), stage, "")
        for stage, (greeting, capabilities, command) in STAGES.items()
    }
    start_front(scripted.silent, forward_id=True).assert_each_unavailable(rows)


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_connection_ends_in_the_midst_of_something(start_front, ending):
    rows = {name: (way(half, ending), stage, "") for name, (way, half, stage) in HALVES.items()}
    start_front(scripted.silent).assert_each_unavailable(rows)


@pytest.mark.parametrize("proxy, words", [("off", "write proxy = v2"), ("v2", "write proxy = off")])
def test_the_connection_ends_in_place_of_a_greeting(start_front, proxy, words):
    """The log says what that is often about."""

    def behind_header(ending: scripted.Ending) -> scripted.Script:
        def script(connection: Connection) -> None:
            if proxy != "off":
                connection.read()
            ending(connection)

        return script

    # A reset may come before usher knows that it is connected.
    rows = {
        name: (behind_header(ending), "connect|greeting", "" if name == "resets" else words)
        for name, ending in ENDINGS.items()
    }
    start_front(scripted.silent, proxy=proxy).assert_each_unavailable(rows)


# --- answers to the login ---

NO_ANSWERS = {
    "foreign_tag": (b"A1 OK in\r\n", "answers what was not asked: A1 OK in"),
    "longer_tag": (b"<tag>1 OK in\r\n", "answers what was not asked"),
    "older_tag": (b"U0 OK in\r\n", "answers what was not asked"),
    "clients_tag": (b"t1 OK in\r\n", "answers what was not asked: t1 OK in"),
    "tagged_bye": (b"<tag> BYE out\r\n", "this is not IMAP"),
    "tagged_data": (b"<tag> CAPABILITY IMAP4rev1\r\n", "this is not IMAP"),
    "bye": (b"* BYE out\r\n", "the server says BYE: out"),
    "bye_and_then_ok": (b"* BYE out\r\n<tag> OK in\r\n", "the server says BYE: out"),
    "bye_and_then_no": (
        b"* BYE out\r\n<tag> NO [AUTHENTICATIONFAILED] no\r\n",
        "the server says BYE: out",
    ),
    "bad": (b"<tag> BAD what?\r\n", "does not understand the login: what?"),
    "preauth": (b"* PREAUTH in\r\n", "PREAUTH after the greeting"),
    "continuation": (b"+ go on\r\n", "asks to go on where there is nothing"),
    "bare_lf": (b"<tag> OK in\n", "a line ends without CR"),
    "bare_lf_before": (b"* OK x\n<tag> OK in\r\n", "a line ends without CR"),
    "bare_cr": (b"<tag> NO x\r* BYE y\r\n", "this is not IMAP"),
    "nul": (b"<tag> OK i\0n\r\n", "this is not IMAP"),
    "nul_in_literal": (b"* X {3}\r\na\0b\r\n<tag> OK in\r\n", "this is not IMAP"),
    "empty_line": (b"\r\n<tag> OK in\r\n", "this is not IMAP"),
    "no_words": (b"<tag>\r\n", "this is not IMAP"),
    "endless_line": (b"<tag> OK " + KIB * 64, "a line is too long"),
    "endless_untagged": (b"* OK thinking\r\n" * 4000, "too many untagged responses"),
    "large_literal": (b"* X {1048576}\r\n", "a literal is too large"),
    "huge_literal": (b"* X {18446744073709551616}\r\n", "a literal is too large"),
    "many_literals": (
        b"* X" + (b" {4000}\r\n" + b"y" * 4000) * 5 + b"\r\n",
        "a literal is too large",
    ),
    "echo": (b"<tag> BAD LOGIN ann secret-ann\r\n", "words that hold the password"),
}

def test_what_is_no_answer_to_the_login_is_told_in_the_log_only(start_front):
    rows = {
        name: (at_login(octets), "login", words) for name, (octets, words) in NO_ANSWERS.items()
    }
    start_front(scripted.silent).assert_each_unavailable(rows)


def test_a_continuation_is_not_given_the_password_in_place_of_the_name(start_front):
    """AUTHENTICATE LOGIN asks twice; a third question gets nothing."""
    heard = []

    def curious(connection: Connection) -> None:
        connection.send(b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=LOGIN] hello\r\n")
        connection.command()
        for _ in range(3):
            connection.send(b"+ \r\n")
            heard.append(connection.line())

    start_front(curious).assert_unavailable("login", "asks to go on")
    assert heard == [b"YW5u\r\n", b"c2VjcmV0LWFubg==\r\n"]


def test_hundreds_of_mebibytes_before_the_answer_are_not_taken(start_front):
    sent = 0

    def flooding(connection: Connection) -> None:
        nonlocal sent
        connection.send(GREETING)
        connection.command()
        while sent < 200 << 20:
            connection.send(b"* OK thinking\r\n" * 10_000)
            sent += 150_000

    start_front(flooding).assert_unavailable("login", "too many untagged responses")
    assert sent < 32 << 20


def test_a_backend_that_reads_nothing_is_left_at_the_timeout(start_front):
    def deaf(connection: Connection) -> None:
        connection.send(HELLO_LOGIN)
        assert may_end.wait(20)

    may_end = threading.Event()
    front = start_front(deaf)
    try:
        answer = front.log_in()
        assert (answer.status, answer.code) == ("NO", "UNAVAILABLE")
        assert front.failure()["stage"] == "login"
    finally:
        may_end.set()


def test_a_dialogue_octet_by_octet_is_as_good(start_front):
    def slowly(connection: Connection) -> None:
        send = connection.send
        connection.send = lambda octets: [send(bytes([octet])) for octet in octets]
        connection.send(HELLO)
        scripted.serve(connection)

    front = start_front(slowly)
    with front.watched(), front.usher.connect("plain") as imap:
        answer = imap.login(USER, PASSWORD)
        told = answer.text.partition(b"]")[0]
        assert (answer.status, told) == ("OK", b"[CAPABILITY " + scripted.CAPABILITIES)
        assert imap.is_alive()


@pytest.mark.parametrize("kib, status", [(15, "OK"), (17, "NO")])
def test_capabilities_of_many_kibibytes(start_front, kib, status):
    capabilities = b"IMAP4rev1 " + b" ".join(b"X%01021d" % number for number in range(kib))
    front = start_front(at_login(b"<tag> OK [CAPABILITY " + capabilities + b"] in\r\n"))
    with front.watched():
        answer = front.log_in()
    assert answer.status == status
    assert (capabilities in answer.text) is (status == "OK")


# --- what of a backend's words may reach the client ---

# What a backend says to the login, and all that the client hears of it, under its own tag.
HEARD = {
    "plain": (b"<tag> OK [CAPABILITY IMAP4rev1] in\r\n", b"<tag> OK [CAPABILITY IMAP4rev1] in\r\n"),
    "no_words": (
        b"* CAPABILITY IMAP4rev1\r\n<tag> OK\r\n",
        b"<tag> OK [CAPABILITY IMAP4rev1] Logged in\r\n",
    ),
    "another_code": (
        b"* CAPABILITY IMAP4rev1\r\n<tag> OK [ALERT] full\r\n",
        b"* CAPABILITY IMAP4rev1\r\n<tag> OK [ALERT] full\r\n",
    ),
    "eight_bit": (
        b"<tag> OK [CAPABILITY IMAP4rev1] \xff\xfe\x01 gr\xc3\xbc\xc3\x9f\r\n",
        b"<tag> OK [CAPABILITY IMAP4rev1] \xff\xfe\x01 gr\xc3\xbc\xc3\x9f\r\n",
    ),
    "braces_at_the_end": (
        b"<tag> OK [CAPABILITY IMAP4rev1] in {5}\r\n",
        b"<tag> OK [CAPABILITY IMAP4rev1] in {5}\r\n",
    ),
    "untagged": (
        b"* OK [ALERT] full\r\n* NO disk\r\n* BAD disk\r\n* 3 EXISTS\r\n"
        b"<tag> OK [CAPABILITY IMAP4rev1] in\r\n",
        b"* OK [ALERT] full\r\n* NO disk\r\n* BAD disk\r\n* 3 EXISTS\r\n"
        b"<tag> OK [CAPABILITY IMAP4rev1] in\r\n",
    ),
    "untagged_with_literal": (
        b"* X {12}\r\nt1 NO no\r\n\r\n y\r\n<tag> OK [CAPABILITY IMAP4rev1] in\r\n",
        b"* X {12}\r\nt1 NO no\r\n\r\n y\r\n<tag> OK [CAPABILITY IMAP4rev1] in\r\n",
    ),
    "untagged_of_the_clients_tag": (
        b"* t1 OK in\r\n<tag> NO no\r\n",
        b"* t1 OK in\r\n<tag> NO no\r\n",
    ),
    "refusal": (b"<tag> NO [EXPIRED] no\r\n", b"<tag> NO [EXPIRED] no\r\n"),
    "refusal_without_words": (
        b"<tag> NO\r\n",
        b"<tag> NO The mail server has refused the login\r\n",
    ),
    "refusal_with_half_a_code": (b"<tag> NO [EXPIRED no\r\n", b"<tag> NO [EXPIRED no\r\n"),
    "referral": (
        b"<tag> NO [REFERRAL imap://mail9.example.org/] not here\r\n",
        b"<tag> NO [REFERRAL imap://mail9.example.org/] not here\r\n",
    ),
    # What a client may do at the door is not the backend's to say.
    "refusal_after_capabilities": (
        b"* CAPABILITY IMAP4rev1 EVIL\r\n* OK [CAPABILITY EVIL] x\r\n<tag> NO no\r\n",
        b"<tag> NO no\r\n",
    ),
    "refusal_with_capabilities": (
        b"* NO [CAPABILITY EVIL] x\r\n<tag> NO [CAPABILITY IMAP4rev1 EVIL] no\r\n",
        b"<tag> NO no\r\n",
    ),
}


def test_of_an_answer_to_the_login_the_client_hears_just_this(start_front):
    front = start_front(scripted.silent)
    with front.watched():
        for said, heard in HEARD.values():
            check_heard(front, said, heard)


def check_heard(front, said: bytes, heard: bytes) -> None:
    def script(connection: Connection) -> None:
        connection.send(HELLO_LOGIN)
        tag, _, _ = connection.command()
        connection.send(said.replace(b"<tag>", tag))
        connection.command()
        connection.send(b"x OK over\r\n")
        connection.until_closed()

    front.server.script = script
    mark = front.usher.mark()
    is_in = b"<tag> OK" in said
    with front.usher.connect("plain") as imap:
        imap.send(b"t1 LOGIN ann secret-ann\r\nx NOOP\r\n")
        heard = heard.replace(b"<tag>", b"t1")
        assert imap.octets(len(heard)) == heard
        assert imap.line() == (b"x OK over" if is_in else b"x OK Nothing done")
    verdict = "login" if is_in else "login_refused"
    assert front.usher.wait_event(verdict, after=mark, user=USER, backend="mail1")


# --- after login ---

LOGGED_IN = b"<tag> OK [CAPABILITY IMAP4rev1] in\r\n"
ENDS_OF_SESSIONS = {
    "closes": (b"", lambda connection: None, b"", "backend_closed"),
    "leaves": (b"* BYE out\r\n", leaving, b"", "backend_closed"),
    "resets": (b"* 1 EXISTS\r\n", Connection.reset, b"* BYE [UNAVAILABLE]", "backend_reset"),
    "closes_in_a_line": (b"* LIST () ", lambda connection: None, b"", "backend_closed"),
    "resets_in_a_line": (b"* LIST () ", Connection.reset, b"", "backend_reset"),
    "closes_in_a_message": (
        b"* 1 FETCH (BODY[] {100000}\r\nSubject: x\r\n",
        lambda connection: None,
        b"",
        "backend_closed",
    ),
    "resets_in_a_message": (
        b"* 1 FETCH (BODY[] {100000}\r\nSubject: x\r\n",
        Connection.reset,
        b"",
        "backend_reset",
    ),
    "resets_in_rubbish": (b"\xff\0\r\r\n\n", Connection.reset, b"", "backend_reset"),
}


@pytest.mark.parametrize(
    "said, ending, bye, reason", ENDS_OF_SESSIONS.values(), ids=ENDS_OF_SESSIONS
)
def test_a_session_ends_with_the_backends_last_byte(start_front, said, ending, bye, reason):
    """Usher says goodbye where a line may stand, and nowhere else."""

    def script(connection: Connection) -> None:
        connection.command()
        connection.send(said)
        has_heard.wait(10)
        ending(connection)

    has_heard = threading.Event()
    front = start_front(at_login(LOGGED_IN, script))
    with front.watched(), front.usher.connect("plain") as imap:
        assert imap.login(USER, PASSWORD).status == "OK"
        imap.start(b"NOOP")
        assert imap.octets(len(said)) == said
        has_heard.set()
        rest = imap.rest()
        assert rest.startswith(bye) and bool(rest) is bool(bye)
    assert front.usher.wait_event("session_end", user=USER, backend="mail1")["reason"] == reason


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_a_flood_for_a_client_that_does_not_read_is_held_back(start_front, tls):
    flood = Flood()
    front = start_front(flood if tls is Tls.OFF else within_tls(flood), tls=tls)
    with front.watched() as others:
        with front.usher.connect("plain", receive_buffer=65536, timeout=60) as imap:
            assert imap.login(USER, PASSWORD).status == "OK"
            wait_until_still(lambda: flood.sent)
            assert others.rounds > 0
            stuck_at = flood.sent
            while flood.sent < stuck_at + (50 << 20):
                imap.line()
            imap.reset()
    assert front.usher.find("session_end", user=USER, backend="mail1", reason="client_reset")


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.IMPLICIT])
def test_a_backend_that_takes_nothing_holds_back_its_client_alone(start_front, tls):
    """Until it goes: what it said before is still heard."""

    def deaf(connection: Connection) -> None:
        connection.send(b"* 1 EXISTS\r\n")
        assert may_end.wait(60)
        connection.reset()

    may_end = threading.Event()
    script = at_login(LOGGED_IN, deaf)
    front = start_front(script if tls is Tls.OFF else within_tls(script), tls=tls)
    sent, piece = 0, b"x" * 65536
    with front.watched() as others, front.usher.connect("plain") as imap:
        assert imap.login(USER, PASSWORD).status == "OK"
        imap.send(b"a APPEND INBOX {1000000000}\r\n")
        imap.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            while sent < 200 << 20:
                sent += imap.socket.send(piece)
        assert 0 < sent < 32 << 20
        assert others.rounds > 0
        may_end.set()
        imap.socket.settimeout(20)
        assert imap.line() == b"* 1 EXISTS"
    assert front.usher.wait_event("session_end", user=USER, backend="mail1")


# --- shared storage: the next one serves ---

FAILING = {
    "closes": scripted.closing,
    "resets": scripted.resetting,
    "says_nothing": scripted.silent,
    "greets_with_bye": scripted.bye,
    "is_logged_in_already": scripted.preauth,
    "speaks_tls": saying(ALERT_OF_TLS),
    "floods": at_login(b"* OK thinking\r\n" * 4000),
    "says_bye": at_login(b"* BYE out\r\n"),
    "says_bad": at_login(b"<tag> BAD what?\r\n"),
    "leaves_at_login": at_login(b"", leaving),
    "leaves_after_login": ending_at(b"CAPABILITY", leaving, HELLO_LOGIN),
}


@pytest.mark.parametrize("script", FAILING.values(), ids=FAILING)
def test_on_shared_storage_another_backend_serves(start_scripted, start_usher, script):
    hostile, good = start_scripted(script), start_scripted(scripted.answering(greeting=HELLO))
    usher = start_usher(
        {"hostile": Backend(hostile.endpoint, weight=1000), "good": Backend(good.endpoint)},
        storage="shared",
        backend_login_timeout=f"{BACKEND_LOGIN_TIMEOUT_S}s",
    )
    with usher.connect("plain") as imap:
        assert imap.login(USER, PASSWORD).status == "OK"
        assert imap.is_alive()
        login = usher.wait_event("login")
        assert (login["backend"], login["attempts"]) == ("good", "2")
    assert usher.find("backend_failed")[0]["backend"] == "hostile"


def test_a_refusal_is_final_on_shared_storage_too(start_scripted, start_usher):
    """A wrong password is not carried from one backend to the next."""
    refusing = start_scripted(scripted.answering(b"NO [AUTHENTICATIONFAILED] wrong"))
    good = start_scripted(scripted.answering())
    usher = start_usher(
        {"refusing": Backend(refusing.endpoint, weight=1000), "good": Backend(good.endpoint)},
        storage="shared",
    )
    with usher.connect("plain") as imap:
        assert imap.login(USER, PASSWORD).code == "AUTHENTICATIONFAILED"
    assert (refusing.connections, good.connections) == (1, 0)
