"""Clients that finish sending, or reset, in every state of a session: the stated reason, and nothing left."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import LISTENERS
from peers import scripted
from peers.certs import Tls
from peers.dnsserver import DnsServer
from peers.fakebackend import PASSWORD, FakeBackend
from peers.hostile import Bystanders, TlsByHand, end_of, hear_out
from peers.process import BACKEND_PORT, free_address, wait_until
from peers.rawimap import RawImap
from peers.usher import Backend, Listener, Usher, open_state
from test_hostile_clients import LOGGED_IN
from test_transfer import frugal_sanitizer

SYN_SENT = "02"
WAIT = "1s"
# Bystanders come from 127.0.0.1, and failed logins of others are not to slow them.
STRANGER = "127.0.0.77"
FAILED_LOGINS = 3

INUSE = b"a NO [INUSE] The mailbox is being worked on; please try again later\r\n"
UNAVAILABLE = b"a NO [UNAVAILABLE] No mail server can take the login now; please try again later\r\n"
GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN AUTH=LOGIN] Usher ready\r\n"

LOGIN = b"a LOGIN ann secret\r\n"
LISTENERS_OF_ENDS = {
    **LISTENERS,
    "proxied": Listener(proxy=True),
    **{pool: Listener(pool=pool) for pool in ("deaf", "mute", "nameless", "talker")},
}


class Talker:
    """A backend that answers its second command by half a literal, and keeps what else came."""

    def __init__(self) -> None:
        self.heard = b""
        self.may_go_on = threading.Event()

    def __call__(self, connection: scripted.Connection) -> None:
        connection.send(scripted.GREETING)
        tag, _, _ = connection.command()
        connection.send(tag + b" OK [CAPABILITY IMAP4rev1] in\r\n")
        connection.line()
        connection.send(b"* 1 FETCH (BODY[] {12}\r\nhalf a")
        try:
            while True:
                self.heard += connection.read()
        finally:
            if self.may_go_on.is_set():
                connection.send(b" word.)\r\n")


@contextmanager
def full_backlog(address: str):
    """Somebody listens there and never accepts, and no more connections fit into the queue."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, BACKEND_PORT))
        listener.listen(0)
        for _ in range(4):
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex((address, BACKEND_PORT))
        yield


def connections() -> list[list[str]]:
    """The kernel's table of IPv4: number, own end, other end, state, queues."""
    return [line.split()[:5] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]


def in_table(address: str, port: int) -> str:
    return socket.inet_aton(address)[::-1].hex().upper() + f":{port:04X}"


def count_connecting(address: str) -> int:
    """How many connections to this address wait for their first answer."""
    there = in_table(address, BACKEND_PORT)
    return sum(row[2] == there and row[3] == SYN_SENT for row in connections())


def has_been_read(imap: RawImap) -> bool:
    """Whether usher has taken all that this client has sent."""
    own, other = (in_table(*end) for end in (imap.socket.getsockname(), imap.socket.getpeername()))
    return [row[4].endswith(":00000000") for row in connections() if row[1:3] == [other, own]] == [True]


@dataclass
class House:
    """An usher with a backend of each kind, and who waits where."""

    usher: Usher
    mute: scripted.ScriptedServer
    talker: Talker
    deaf: str
    dns: DnsServer

    def come(self, listener: str, **options) -> RawImap:
        return self.usher.connect(listener, **options)

    def proxy(self) -> RawImap:
        return self.come("proxied", reads_greeting=False, hello=b"PROXY TCP4 192.0.2.9 198.51")

    def open(self) -> RawImap:
        """Control says nothing until go_on()."""
        os.kill(self.usher.pid("control"), signal.SIGSTOP)
        return self.come("plain", reads_greeting=False)

    def go_on(self) -> None:
        os.kill(self.usher.pid("control"), signal.SIGCONT)

    def greet(self) -> RawImap:
        imap = self.come("imaps", reads_greeting=False)
        imap.send(TlsByHand(imap.socket).hello()[:100])
        return imap

    def greet_again(self) -> RawImap:
        imap = self.come("imap")
        assert imap.command(b"STARTTLS").status == "OK"
        return imap

    def auth(self) -> RawImap:
        return self.come("plain")

    def auth_tls(self) -> RawImap:
        return self.come("imaps", tls=Tls.IMPLICIT)

    def line(self) -> RawImap:
        imap = self.come("plain")
        imap.send(b"a LOGIN ann sec")
        return imap

    def literal(self) -> RawImap:
        imap = self.come("plain")
        imap.send(b"a LOGIN ann {6}\r\n")
        assert imap.line() == b"+ Go on"
        imap.send(b"sec")
        return imap

    def sasl(self) -> RawImap:
        imap = self.come("plain")
        imap.send(b"a AUTHENTICATE PLAIN\r\n")
        assert imap.line() == b"+ "
        imap.send(b"AGFu")
        return imap

    def admit_held(self) -> RawImap:
        imap = self.come("plain")
        before = self.usher.mark()
        imap.send(b"a LOGIN held secret\r\n")
        assert self.usher.wait_event("held", after=before)["waiting"] == "1"
        return imap

    def admit_delayed(self) -> RawImap:
        """The next login after some that have failed is made to wait a second."""
        with self.come("plain", source=STRANGER) as imap:
            for _ in range(FAILED_LOGINS):
                assert imap.login("eve", "guess").status == "NO"
        imap = self.come("plain", source=STRANGER)
        imap.send(b"a LOGIN carol secret\r\n")
        wait_until(lambda: has_been_read(imap), 10, "the login is read")
        return imap

    def admit_resolved(self) -> RawImap:
        imap = self.come("nameless")
        before = self.dns.queries.total()
        imap.send(LOGIN)
        wait_until(lambda: self.dns.queries.total() > before, 10, "the name is asked for")
        return imap

    def dial(self) -> RawImap:
        imap = self.come("deaf")
        before = count_connecting(self.deaf)
        imap.send(LOGIN)
        wait_until(lambda: count_connecting(self.deaf) > before, 10, "the backend is dialled")
        return imap

    def upstream(self) -> RawImap:
        imap = self.come("mute")
        imap.send(LOGIN)
        self.mute.wait_connected(1)
        return imap

    def relay(self) -> RawImap:
        imap = self.come("plain")
        assert imap.login("ann", PASSWORD).status == "OK"
        return imap

    def relay_tls(self) -> RawImap:
        imap = self.come("imaps", tls=Tls.IMPLICIT)
        assert imap.login("ann", PASSWORD).status == "OK"
        return imap

    def relay_literals(self) -> RawImap:
        """Half a literal has gone either way."""
        imap = self.come("talker")
        assert imap.login("ann", PASSWORD).status == "OK"
        imap.send(b"f FETCH 1 BODY[]\r\n")
        assert imap.line() + imap.octets(6) == b"* 1 FETCH (BODY[] {12}half a"
        imap.send(b"g APPEND INBOX {12+}\r\nhalf a")
        wait_until(lambda: self.talker.heard.endswith(b"half a"), 10, "the backend has its half")
        return imap

    def closing(self) -> RawImap:
        imap = self.come("plain")
        assert imap.command(b"LOGOUT").status == "OK"
        assert imap.rest() == b""
        return imap


@pytest.fixture
def start_house(start_usher, start_scripted, stack, folder) -> Callable[..., House]:
    """Starts a house for somebody who goes to a place in it."""

    def start(place: Callable[[House], RawImap], **settings) -> House:
        fake = stack.enter_context(FakeBackend())
        mute = start_scripted(scripted.silent)
        talker = Talker()
        deaf = free_address()
        stack.enter_context(full_backlog(deaf))
        dns = stack.enter_context(DnsServer())
        dns.is_silent = True
        pools = {
            "main": {"fake": fake},
            "mute": {"mute": mute},
            "talker": {"talker": start_scripted(talker)},
            "deaf": {"deaf": Backend(f"{deaf}:{BACKEND_PORT}")},
            "nameless": {"nameless": Backend(f"nameless.test:{BACKEND_PORT}")},
        }
        wanted = {
            "pools": pools,
            "listeners": LISTENERS_OF_ENDS,
            "trusted_networks": ["127.0.0.0/8"],
            "nameservers": [dns.endpoint],
            "workers": "1",
            "hold_timeout": WAIT,
            "connect_timeout": WAIT,
            "backend_login_timeout": WAIT,
            "login_tries": f"{FAILED_LOGINS + 1}",
            "penalty_exempt": ["127.0.0.1"],
            "env": frugal_sanitizer(),
            **settings,
        }
        if place is House.admit_held:
            start_usher(**wanted).stop()
            with open_state(folder / "state") as state:
                state.execute("INSERT INTO hold (user, since) VALUES ('held', 0)")
        usher = start_usher(**wanted)
        stack.enter_context(Bystanders(usher, password=PASSWORD))
        return House(usher, mute, talker, deaf, dns)

    return start


# Where the client is, why the session ends when it has finished sending, and what it is told then.
FINISHED = [
    (House.proxy, "client_proxy", b""),
    (House.open, "client_closed", GREETING),
    (House.greet, "client_tls", b""),
    (House.greet_again, "client_tls", b""),
    (House.auth, "client_closed", b""),
    (House.auth_tls, "client_closed", None),
    (House.line, "client_closed", b""),
    (House.literal, "client_closed", b""),
    (House.sasl, "client_closed", b""),
    (House.admit_held, "client_closed", INUSE),
    (House.admit_delayed, "client_closed", b"a" + LOGGED_IN),
    (House.admit_resolved, "client_closed", UNAVAILABLE),
    (House.dial, "client_closed", UNAVAILABLE),
    (House.upstream, "client_closed", UNAVAILABLE),
    (House.relay, "client_closed", b""),
    (House.relay_tls, "client_closed", None),
    (House.relay_literals, "client_closed", b" word.)\r\n"),
    (House.closing, "client_logout", b""),
]

# The same for a reset.
RESET = [
    (place, reason if reason in ("client_tls", "client_logout") else "client_reset")
    for place, reason, _ in FINISHED
]


def names(rows) -> list[str]:
    return [row[0].__name__ for row in rows]


@pytest.mark.parametrize("place, reason, told", FINISHED, ids=names(FINISHED))
def test_a_client_that_has_finished_sending(start_house, place, reason, told):
    """What it asked for before is still answered, also when the answer takes its time."""
    house = start_house(place)
    house.talker.may_go_on.set()
    with place(house) as imap:
        imap.end_writing()
        house.go_on()
        heard = hear_out(imap)
    assert told is None or heard == told
    assert end_of(house.usher, imap)["reason"] == reason
    house.mute.wait_connected(0)


@pytest.mark.parametrize("place, reason", RESET, ids=names(RESET))
def test_a_client_that_resets(start_house, place, reason):
    """Noticed at once: nobody waits for a backend or the end of a hold."""
    house = start_house(place, hold_timeout="1m", connect_timeout="1m", backend_login_timeout="1m")
    imap = place(house)
    imap.reset()
    house.go_on()
    assert end_of(house.usher, imap, 5)["reason"] == reason
    assert not house.usher.find("login_failed")
    assert not house.usher.find("backend_failed")
    assert not house.usher.find("login", user="carol")
    house.mute.wait_connected(0)
    if place is House.admit_held:
        # Control has forgotten it: the next one waits alone, as the assertion there says.
        place(house).reset()


def test_a_name_that_is_never_found_is_not_waited_for(start_house):
    house = start_house(House.admit_resolved)
    with house.admit_resolved() as imap:
        assert imap.line() + b"\r\n" == UNAVAILABLE
        assert imap.command(b"NOOP").status == "OK"


def test_a_client_that_does_not_hang_up_is_not_waited_for(start_house):
    """After LOGOUT it keeps its end open, and the session goes all the same after close_timeout."""
    house = start_house(House.closing, close_timeout="300ms")
    with house.closing() as imap:

        def is_gone() -> bool:
            try:
                imap.send(b"x")
            except OSError:
                return True
            return False

        wait_until(is_gone, 20, "the connection is gone")
    assert end_of(house.usher, imap)["reason"] == "client_logout"


def test_a_client_that_goes_on_pouring_is_cut_off(start_house):
    """After the last word all is read away, and none of it kept, until close_timeout."""
    house = start_house(House.closing, close_timeout="300ms")
    with house.come("plain") as imap:
        imap.send(b"x" * 9000)
        assert imap.line() == b"* BYE The line is too long"
        with pytest.raises(OSError):
            while True:
                imap.send(bytes(65536))
    assert end_of(house.usher, imap)["reason"] == "client_protocol"
