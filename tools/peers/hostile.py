"""Clients that keep to no rule, and those beside them who must not notice.

TLS hellos of any make and cut, sockets that send octet by octet, TLS whose records a test carries
itself; and Bystanders, who watch that usher goes on serving.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .greeting import unverified_context
from .process import is_root, rss_kib, wait_until
from .rawimap import RawImap
from .usher import Event, Usher

# Record types and alerts of TLS (RFC 8446 sections 5.1 and 6).
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
RECORD_MOST = 16384
UNEXPECTED_MESSAGE, RECORD_OVERFLOW, HANDSHAKE_FAILURE = 10, 22, 40
DECODE_ERROR, PROTOCOL_VERSION = 50, 70

# AddressSanitizer puts freed memory aside, and frames of functions that have returned: bounds are exact without it.
QUARANTINE_KIB = 16 << 10


# --- TLS by hand ---


def record(body: bytes, kind: int = HANDSHAKE, version: int = 0x0301) -> bytes:
    return struct.pack("!BHH", kind, version, len(body)) + body


def records(message: bytes, size: int = RECORD_MOST) -> bytes:
    """A handshake message, `size` octets of it in each record."""
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def extension(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, len(body)) + body


def client_hello(version: int = 0x0303, padding: int = 0) -> bytes:
    """A ClientHello of TLS 1.2 or older that a server may answer; `padding` octets more (RFC 7685)."""
    suites = struct.pack("!4H", 0xC02B, 0xC02F, 0xC009, 0x002F)
    extensions = extension(10, struct.pack("!HHH", 4, 29, 23))
    extensions += extension(13, struct.pack("!HHHH", 6, 0x0403, 0x0804, 0x0401))
    extensions += extension(21, bytes(padding)) if padding else b""
    body = struct.pack("!H", version) + os.urandom(32) + b"\0"
    body += struct.pack("!H", len(suites)) + suites + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\1" + len(body).to_bytes(3, "big") + body


def ssl2_hello(version: int = 0x0002) -> bytes:
    """A hello as SSL 2 framed it."""
    suites, challenge = bytes.fromhex("010080 0700c0 00c02b"), os.urandom(16)
    body = struct.pack("!BHHHH", 1, version, len(suites), 0, len(challenge)) + suites + challenge
    return struct.pack("!H", 0x8000 | len(body)) + body


def with_tail(hello: bytes, tail: bytes) -> bytes:
    """A handshake message that is longer than what is in it."""
    return hello[:1] + (len(hello) - 4 + len(tail)).to_bytes(3, "big") + hello[4:] + tail


def fatal_alert(octets: bytes) -> int | None:
    """The description of the fatal alert that `octets` are, and nothing else; None for others."""
    is_one = len(octets) == 7 and octets[0] == ALERT and octets[3:6] == b"\0\2\2"
    return octets[6] if is_one else None


class OctetByOctet:
    """A socket that sends every octet in a segment of its own."""

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain

    def sendall(self, octets: bytes) -> None:
        for octet in octets:
            self.plain.sendall(bytes([octet]))

    def __getattr__(self, name: str):
        return getattr(self.plain, name)


class TlsByHand:
    """The client's side of TLS on a socket; for use in place of one.

    `carry` may change what the handshake sends on its way.
    """

    def __init__(self, plain, carry: Callable[[bytes], bytes] = bytes) -> None:
        self.plain = plain
        self.carry = carry
        self.arrived, self.to_go = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = unverified_context().wrap_bio(self.arrived, self.to_go)

    def hello(self) -> bytes:
        """The first that a handshake sends, records and all."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.to_go.read()

    def handshake(self, behind: bytes = b"") -> None:
        """`behind` goes inside TLS, in one segment with the last of the handshake."""
        self.plain.sendall(self.carry(self.hello()))
        while True:
            self._take()
            try:
                self.tls.do_handshake()
                if behind:
                    self.tls.write(behind)
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                if octets := self.to_go.read():
                    self.plain.sendall(self.carry(octets))

    def _take(self) -> None:
        octets = self.plain.recv(65536)
        if octets:
            self.arrived.write(octets)
        else:
            self.arrived.write_eof()

    def sendall(self, octets: bytes) -> None:
        self.tls.write(octets)
        self.plain.sendall(self.to_go.read())

    def recv(self, most: int) -> bytes:
        while True:
            try:
                return self.tls.read(most)
            except ssl.SSLWantReadError:
                self._take()
            except ssl.SSLError:
                return b""

    def __getattr__(self, name: str):
        return getattr(self.plain, name)


# --- Ways to send and to listen ---


def throw(imap: RawImap, octets: bytes) -> None:
    """Sends it and then half-closes; the server may have closed before."""
    with suppress(OSError):
        imap.send(octets)
        imap.end_writing()


def send_in_clear(imap: RawImap, octets: bytes) -> None:
    """Past the TLS that is on."""
    with socket.socket(fileno=os.dup(imap.socket.fileno())) as bare:
        bare.sendall(octets)


def pour(imap: RawImap, piece: bytes, most: int = 64 << 20) -> int:
    """Sends `piece` over and over until the server answers, closes, or takes no more.

    Returns how many octets went; an AssertionError after `most`.
    """
    sent = 0
    imap.socket.settimeout(imap.timeout)
    while not select.select([imap.socket], [], [], 0)[0]:
        try:
            sent += imap.socket.send(piece)
        except OSError:
            break
        assert sent < most, f"{sent} octets were taken and nothing said"
    return sent


def hear_out(imap: RawImap) -> bytes:
    """All that the server says to its end, which may be a reset."""
    try:
        return imap.rest()
    except TimeoutError:
        raise
    except OSError:
        heard = bytes(imap.buffer)
        imap.buffer.clear()
        return heard


def dribble(imap: RawImap, octet: bytes, seconds: float) -> bytes:
    """Sends an octet every 20 ms until the server closes; what it said. TimeoutError after `seconds`."""
    heard, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if not select.select([imap.socket], [], [], 0.02)[0]:
            try:
                imap.socket.send(octet)
            except OSError:
                return heard
            continue
        try:
            octets = imap.socket.recv(65536)
        except OSError:
            octets = b""
        if not octets:
            return heard
        heard += octets
    raise TimeoutError(f"an octet at a time was taken for {seconds} s")


def end_of(usher: Usher, imap: RawImap, timeout: float = 15) -> Event:
    """The line that tells of this client's end."""
    return usher.wait_event("session_end", timeout, after=imap.since, client=imap.local)


# --- Those beside ---


class Bystanders:
    """Users of an usher that others treat badly: a session that idles, one that works, and whoever
    logs in meanwhile.

    On the way out, unless something has gone wrong before: all of them were served in good time,
    every process is the one that it was, no descriptor stays behind, and each session that came has
    ended for a reason. Stops usher to count them.
    """

    SLOWEST_S = 5.0

    def __init__(
        self, usher: Usher, *, user: str = "ann", password: str = "secret", listener: str = "plain"
    ) -> None:
        self.usher = usher
        self.user, self.password, self.listener = user, password, listener
        self.error: Exception | None = None
        self.slowest = 0.0
        self.rounds = 0
        self._is_over = threading.Event()

    def __enter__(self) -> Bystanders:
        self.idle, self.busy = self._come(), self._come()
        self.process_ids = self.usher.process_ids()
        self.worker = self.usher.pid("worker")
        self.memory = rss_kib(self.worker)
        self.descriptors = count_descriptors(self.worker)
        self._thread = threading.Thread(target=self._work, name="bystanders", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        try:
            if not kind:
                self._check()
        finally:
            self.idle.close()
            self.busy.close()
        if not kind:
            self.usher.stop()
            self._count()

    def grown_kib(self) -> int:
        """By how much the worker is larger than it was; not what a sanitizer keeps of freed memory."""
        is_sanitized = b"__asan_init" in self.usher.binary.read_bytes()
        return rss_kib(self.worker) - self.memory - (QUARANTINE_KIB if is_sanitized else 0)

    def _come(self) -> RawImap:
        imap = self.usher.connect(self.listener)
        answer = imap.login(self.user, self.password)
        if answer.status != "OK":
            raise ConnectionError(f"a good login was answered {answer}")
        return imap

    def _work(self) -> None:
        try:
            while self.rounds == 0 or not self._is_over.wait(0.01):
                begun = time.monotonic()
                if not self.busy.is_alive():
                    raise ConnectionError("the working session is gone")
                if self.rounds % 10 == 0:
                    self._come().close()
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.rounds += 1
        except Exception as error:
            self.error = error

    def _check(self) -> None:
        assert self.error is None, f"after {self.rounds} rounds: {self.error!r}"
        assert self.slowest < self.SLOWEST_S, f"somebody waited {self.slowest:.1f} s"
        assert self.idle.is_alive()
        self._come().close()
        assert self.usher.process_ids() == self.process_ids
        assert not self.usher.find("process_ended")
        wait_until(
            lambda: count_descriptors(self.worker) == self.descriptors,
            10,
            f"descriptors are {self.descriptors} again",
        )

    def _count(self) -> None:
        totals = self.usher.find("stopped")[0]
        ends = self.usher.find("session_end")
        assert totals["log_dropped"] == "0"
        assert len(ends) == int(totals["sessions"])
        assert len({end["id"] for end in ends}) == len(ends)
        assert not [end for end in ends if end["reason"] in ("internal", "limit")]


def count_descriptors(pid: int) -> int:
    """How many a process has open. Only root may look into usher's; others are told 0."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir())) if is_root() else 0
