"""The log: whole lines, one a session, whatever peers call themselves."""

from __future__ import annotations

import base64
import unicodedata

import pytest
from conftest import LISTENER_OF_TLS, USERS
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.scripted import answering
from peers.usher import parse_line


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def test_one_line_a_session_tells_who_where_and_how_much(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    for number, (user, tls) in enumerate(zip(("ann", "bob", "carol"), Tls), start=1):
        with usher.connect(LISTENER_OF_TLS[tls], tls=tls) as imap:
            imap.login(user, USERS[user])
            for _ in range(number * 10):
                imap.command(b"NOOP")
        end = usher.wait_event("session_end", user=user)
        login = usher.find("login", user=user)[0]
        assert end["id"] == login["id"]
        assert end["reason"] == "client_closed"
        assert (end["pool"], end["backend"]) == ("main", "mail1")
        assert end["listener"] == LISTENER_OF_TLS[tls]
        assert end["client"].startswith("127.0.0.1:")
        assert ("tls" in end.fields) == (tls is not Tls.OFF)
    assert len(usher.find("session_end")) == 3


def test_bytes_are_counted_each_way(start_usher, fake):
    usher = start_usher({"fake": fake})
    ends = []
    for count in (0, 100):
        mark = usher.mark()
        with usher.connect("plain") as imap:
            imap.login("ann", PASSWORD)
            for _ in range(count):
                imap.send(b"x NOOP\r\n")
                assert imap.line() == b"x OK done"
        usher.wait_events("session_end", len(ends) + 1)
        ends.append(usher.find("session_end", mark)[0])
    # The answer to the login counts as sent to the client, so it takes two sessions to tell.
    assert [int(end["in"]) for end in ends] == [0, 100 * len("x NOOP\r\n")]
    assert int(ends[1]["out"]) - int(ends[0]["out"]) == 100 * len("x OK done\r\n")


def test_each_end_has_its_reason(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    with usher.connect("plain") as imap:
        imap.login("ann", USERS["ann"])
        imap.command(b"LOGOUT")
        imap.rest()
    assert usher.wait_event("session_end", user="ann")["reason"] == "backend_closed"
    with usher.connect("plain") as imap:
        imap.login("bob", USERS["bob"])
        imap.reset()
    assert usher.wait_event("session_end", user="bob")["reason"] == "client_reset"
    with usher.connect("plain"):
        pass
    assert usher.wait_events("session_end", 3)[2]["reason"] == "client_closed"


HOSTILE = [
    "a\x1b[31mb",
    'quote" backslash\\ equals=',
    "tab\there",
    "2026-01-01T00:00:00.000Z info login user=eve",
    "utf8 é ☕ 𝕏",
    "delete\x7fnext\x85line separator\u2028",
    "x" * 500,
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
def test_hostile_names_neither_break_nor_forge_a_line(start_usher, fake, name, password):
    usher = start_usher({"fake": fake}, username_case="keep")
    with usher.connect("plain") as imap:
        token = base64.b64encode(f"\0{name}\0{password}".encode())
        status = imap.command(b"AUTHENTICATE PLAIN " + token).status
        assert status == ("OK" if password == PASSWORD else "NO")
    usher.wait_event("session_end")
    event = usher.find("login" if status == "OK" else "login_refused")[0]
    assert event["user"] == name
    usher.stop()
    assert all(parse_line(line) for line in usher.lines)
    assert not any(unicodedata.category(letter) == "Cc" for letter in "".join(usher.lines))


def test_octets_that_are_no_text_are_written_as_escapes(start_usher, fake):
    usher = start_usher({"fake": fake})
    with usher.connect("plain") as imap:
        token = base64.b64encode(b"\0\xff\xfe\xc3(\0" + PASSWORD.encode())
        assert imap.command(b"AUTHENTICATE PLAIN " + token).status == "OK"
    usher.wait_event("login")
    line = next(line for line in usher.lines if " login " in line)
    assert r'user="\xff\xfe\xc3("' in line


def test_a_backends_words_are_escaped_too(start_usher, start_scripted):
    text = b'NO [AUTHENTICATIONFAILED] no\x1b[2J "such" user'
    usher = start_usher({"mail1": start_scripted(answering(text))})
    with usher.connect("plain") as imap:
        assert imap.login("ann", "x").status == "NO"
    event = usher.wait_event("login_refused")
    assert event["code"] == "AUTHENTICATIONFAILED"
    assert event["text"].endswith('no\x1b[2J "such" user')


def test_passwords_are_never_logged_not_even_for_debugging(start_dovecot, start_usher):
    usher = start_usher({"mail1": start_dovecot("mail1")}, log_level="debug")
    tokens = [base64.b64encode(f"\0ann\0{word}".encode()) for word in (USERS["ann"], "gu3ss")]
    with usher.connect("plain") as imap:
        imap.login("ann", "gu3ss")
        imap.command(b"AUTHENTICATE PLAIN " + tokens[1])
        imap.command(b"LOGIN ann gu3ss and more")
    with usher.connect("plain") as imap:
        assert imap.authenticate_plain("ann", USERS["ann"]).status == "OK"
    usher.wait_events("session_end", 2)
    log = "\n".join(usher.lines)
    for secret in (USERS["ann"], "gu3ss", *(token.decode() for token in tokens)):
        assert secret not in log


def test_events_below_the_level_are_left_out(start_usher, fake):
    usher = start_usher({"fake": fake}, log_level="notice")
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    usher.stop()
    assert {event.level for event in usher.events} == {"notice"}


def test_a_reader_that_stops_does_not_stall_usher(start_usher, fake):
    """Lines wait then, and every one that is missing afterwards has been counted."""
    count = 1500
    # Each octet of the name makes four of the log: more in all than one process may keep waiting.
    token = base64.b64encode(b"\0" + b"\x01" * 400 + b"\0" + PASSWORD.encode())
    usher = start_usher({"fake": fake}, workers="1")
    usher.pause_reading()
    for _ in range(count):
        with usher.connect("plain") as imap:
            assert imap.command(b"AUTHENTICATE PLAIN " + token).status == "OK"
    usher.resume_reading()

    def dropped() -> int:
        return sum(int(event["lines"]) for event in usher.find("log_dropped"))

    def told() -> int:
        return sum(len(usher.find(name)) for name in ("placed", "login", "session_end"))

    wait_until(lambda: told() + dropped() >= 2 * count + 1, 15, "all lines are told or counted")
    usher.stop()
    assert told() + dropped() == 2 * count + 1
    assert dropped() == int(usher.find("stopped")[0]["log_dropped"])


def test_a_reader_that_goes_away_does_not_end_usher(start_usher, fake):
    usher = start_usher({"fake": fake})
    usher.close_log()
    for _ in range(10):
        with usher.connect("plain") as imap:
            assert imap.login("ann", PASSWORD).status == "OK"
            assert imap.is_alive()
    assert not usher.has_ended()
