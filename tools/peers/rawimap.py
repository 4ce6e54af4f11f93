"""An IMAP client for tests that decides itself when which byte goes out.

It follows lines and literals of the answers and nothing else. Every wait has a deadline.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

from .certs import Tls
from .greeting import unverified_context

BUFFER_MOST = 128 << 20
LITERAL_AT_END = re.compile(rb"\{(\d+)\}$")


@dataclass
class Answer:
    """The answer to one command; `untagged` are whole responses, literals included."""

    status: str
    text: bytes
    untagged: list[bytes] = field(default_factory=list)

    @property
    def code(self) -> str:
        """The response code's name, "" without one."""
        found = re.match(rb"\[([A-Z-]+)", self.text)
        return found[1].decode() if found else ""


class Closed(ConnectionError):
    """The server closed the connection where more was expected."""


class RawImap:
    """One connection. Reads the greeting, unless told not to.

    `timeout` is for each wait as a whole: a server that dribbles cannot stretch it. `source` is the
    address to connect from; `hello` goes before everything, as a PROXY header does. `local` is this
    end's address as usher's log writes it; other connections had it before, of which the first
    `since` events there may tell.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        tls: Tls = Tls.OFF,
        context: ssl.SSLContext | None = None,
        timeout: float = 20,
        reads_greeting: bool = True,
        receive_buffer: int | None = None,
        source: str = "",
        hello: bytes = b"",
        since: int = 0,
    ) -> None:
        self.context = context or unverified_context()
        self.host = address
        self.socket: socket.socket = socket.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM
        )
        self.timeout = timeout
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((address, port))
        self.since = since
        host, own_port = self.socket.getsockname()[:2]
        self.local = f"[{host}]:{own_port}" if ":" in host else f"{host}:{own_port}"
        self.socket.sendall(hello)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.serial = 0
        self.greeting = b""
        if tls is Tls.IMPLICIT:
            self.start_tls_now()
        if reads_greeting:
            self.greeting = self.line()
        if tls is Tls.STARTTLS:
            self.starttls()

    def __enter__(self) -> RawImap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def _receive(self, end: float) -> None:
        """Reads something, until `end` on the monotonic clock."""
        self.socket.settimeout(max(0.001, end - time.monotonic()))
        if len(self.buffer) > BUFFER_MOST:
            raise ConnectionError(f"no end of a response in {BUFFER_MOST} octets")
        octets = self.socket.recv(65536)
        if not octets:
            raise Closed(f"closed by the server; before that: {bytes(self.buffer[-200:])!r}")
        self.buffer += octets

    def line(self) -> bytes:
        """The next line without its CRLF."""
        searched, end = 0, time.monotonic() + self.timeout
        while (length := self.buffer.find(b"\r\n", searched)) < 0:
            searched = max(0, len(self.buffer) - 1)
            self._receive(end)
        line = bytes(self.buffer[:length])
        del self.buffer[: length + 2]
        return line

    def octets(self, count: int) -> bytes:
        """Exactly so many."""
        end = time.monotonic() + self.timeout
        while len(self.buffer) < count:
            self._receive(end)
        octets = bytes(self.buffer[:count])
        del self.buffer[:count]
        return octets

    def response(self) -> bytes:
        """A whole response: a line and, where it ends in a literal, that and what follows."""
        parts = [self.line()]
        while found := LITERAL_AT_END.search(parts[-1]):
            parts += [b"\r\n", self.octets(int(found[1])), self.line()]
        return b"".join(parts)

    def next_tag(self) -> bytes:
        self.serial += 1
        return b"t%d" % self.serial

    def start(self, command: bytes) -> bytes:
        """Sends a command and returns its tag."""
        tag = self.next_tag()
        self.send(tag + b" " + command + b"\r\n")
        return tag

    def finish(self, tag: bytes) -> Answer:
        """Reads up to the tagged response."""
        untagged = []
        while True:
            response = self.response()
            if response.startswith(tag + b" "):
                status, _, text = response[len(tag) + 1 :].partition(b" ")
                return Answer(status.decode(), text, untagged)
            untagged.append(response)

    def command(self, command: bytes) -> Answer:
        return self.finish(self.start(command))

    def login(self, user: str, password: str) -> Answer:
        return self.command(f'LOGIN "{user}" "{password}"'.encode())

    def authenticate_plain(self, user: str, password: str, initial: bool = True) -> Answer:
        """With the initial response of RFC 4959, or without and after the server's "+"."""
        token = base64.b64encode(f"\0{user}\0{password}".encode())
        if initial:
            return self.command(b"AUTHENTICATE PLAIN " + token)
        tag = self.start(b"AUTHENTICATE PLAIN")
        continuation = self.line()
        if not continuation.startswith(b"+"):
            raise ConnectionError(f"no continuation: {continuation!r}")
        self.send(token + b"\r\n")
        return self.finish(tag)

    def capabilities(self) -> set[str]:
        untagged = self.command(b"CAPABILITY").untagged
        return set(untagged[0].decode().split()[2:])

    def starttls(self) -> None:
        answer = self.command(b"STARTTLS")
        if answer.status != "OK":
            raise ConnectionError(f"STARTTLS: {answer.status} {answer.text!r}")
        self.start_tls_now()

    def start_tls_now(self) -> None:
        self.socket = self.context.wrap_socket(self.socket, server_hostname=self.host)

    def is_alive(self) -> bool:
        """Whether a NOOP is answered with OK."""
        try:
            return self.command(b"NOOP").status == "OK"
        except (OSError, ssl.SSLError):
            return False

    def rest(self) -> bytes:
        """What comes until the server closes."""
        end = time.monotonic() + self.timeout
        try:
            while True:
                self._receive(end)
        except Closed:
            pass
        octets = bytes(self.buffer)
        self.buffer.clear()
        return octets

    def end_writing(self) -> None:
        """Half-close: nothing more will be sent, answers are still read. For plain connections."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Closes with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
