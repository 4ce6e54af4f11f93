"""How usher logs in at backends that know more or less of IMAP: the credentials arrive unharmed."""

from __future__ import annotations

import base64
import re

import pytest
from peers import scripted

PASSWORDS = [
    "simple",
    'quo"te',
    "back\\slash",
    "two words",
    "{5}",
    "%*(]",
    "ünïcödé ☕",
    "",
    "x" * 200,
]


class Keeper:
    """A backend of chosen capabilities that keeps the credentials that it is given."""

    def __init__(self, capabilities: str, in_greeting: bool = True) -> None:
        self.capabilities = capabilities.encode()
        self.in_greeting = in_greeting
        self.given: list[tuple[str, bytes, bytes]] = []

    def __call__(self, connection: scripted.Connection) -> None:
        code = b"[CAPABILITY %b] " % self.capabilities if self.in_greeting else b""
        connection.send(b"* OK %bkeeper\r\n" % code)
        while True:
            tag, name, arguments = connection.command()
            if name == b"CAPABILITY":
                connection.send(b"* CAPABILITY " + self.capabilities + b"\r\n")
            elif name == b"AUTHENTICATE":
                self.authenticate(connection, arguments)
            elif name == b"LOGIN":
                user, password = strings(arguments)
                self.given.append(("LOGIN", user, password))
            connection.send(tag + b" OK done\r\n")

    def authenticate(self, connection: scripted.Connection, arguments: bytes) -> None:
        mechanism, _, initial = arguments.partition(b" ")
        assert mechanism == b"PLAIN"
        way = "PLAIN with initial response"
        if not initial:
            way = "PLAIN"
            connection.send(b"+ \r\n")
            initial = connection.line().strip()
        _, user, password = base64.b64decode(initial, validate=True).split(b"\0")
        self.given.append((way, user, password))


STRING = re.compile(rb'"((?:[^"\\\r\n]|\\["\\])*)"|\{(\d+)\+?\}\r\n|([^\s"(){%*\\]+)')


def strings(arguments: bytes) -> list[bytes]:
    """Atoms, quoted strings and literals, by the grammar of RFC 9051."""
    found, at = [], 0
    while at < len(arguments):
        match = STRING.match(arguments, at)
        assert match, arguments[at:]
        at = match.end()
        if match[2]:
            length = int(match[2])
            found.append(arguments[at : at + length])
            at += length
        elif match[3]:
            found.append(match[3])
        else:
            found.append(re.sub(rb"\\(.)", rb"\1", match[1]))
        at += 1  # the space behind it
    return found


def log_in(usher, user: str, password: str):
    token = base64.b64encode(f"\0{user}\0{password}".encode())
    with usher.connect("plain") as imap:
        return imap.command(b"AUTHENTICATE PLAIN " + token)


@pytest.mark.parametrize("in_greeting", [True, False])
@pytest.mark.parametrize(
    "capabilities, way",
    [
        ("IMAP4rev1", "LOGIN"),
        ("IMAP4rev1 LITERAL+", "LOGIN"),
        ("IMAP4rev1 AUTH=PLAIN", "PLAIN"),
        ("IMAP4rev1 AUTH=PLAIN SASL-IR", "PLAIN with initial response"),
        ("IMAP4rev1 LOGINDISABLED AUTH=PLAIN", "PLAIN"),
    ],
)
def test_credentials_arrive_by_the_way_that_the_backend_offers(
    start_scripted, start_usher, capabilities, way, in_greeting
):
    keeper = Keeper(capabilities, in_greeting)
    usher = start_usher({"mail1": start_scripted(keeper)})
    for password in PASSWORDS:
        assert log_in(usher, "ann", password).status == "OK", password
    ways = {given[0] for given in keeper.given}
    assert [given[2].decode() for given in keeper.given] == PASSWORDS
    assert {given[1] for given in keeper.given} == {b"ann"}
    assert ways == {way}


@pytest.mark.parametrize("user", ['a"b', "a\\b", "a b", "ann@example.org", "{3}", "ä☕", "(x)"])
def test_user_names_arrive_as_they_are(start_scripted, start_usher, user):
    keeper = Keeper("IMAP4rev1")
    usher = start_usher({"mail1": start_scripted(keeper)})
    assert log_in(usher, user, "secret").status == "OK"
    assert keeper.given == [("LOGIN", user.encode(), b"secret")]


def test_a_backend_that_takes_no_password_is_unavailable(start_scripted, start_usher):
    keeper = Keeper("IMAP4rev1 LOGINDISABLED")
    usher = start_usher({"mail1": start_scripted(keeper)})
    assert log_in(usher, "ann", "secret").code == "UNAVAILABLE"
    assert not keeper.given


@pytest.mark.parametrize("name", ["", "x" * 513])
def test_names_that_cannot_be_are_refused_at_the_door(start_scripted, start_usher, name):
    keeper = Keeper("IMAP4rev1")
    server = start_scripted(keeper)
    usher = start_usher({"mail1": server})
    assert log_in(usher, name, "secret").status in ("NO", "BAD")
    assert server.connections == 0


def test_a_client_that_breaks_off_ends_the_attempt(start_scripted, start_usher):
    server = start_scripted(scripted.silent_after_greeting)
    usher = start_usher({"mail1": server})
    imap = usher.connect("plain")
    imap.start(b"LOGIN ann secret-ann")
    server.wait_connected(1)
    imap.reset()
    server.wait_connected(0)
    assert usher.wait_event("session_end")["reason"] == "client_reset"
