"""IMAP servers that misbehave in chosen ways.

A script is a function that is given each accepted connection, in a thread of its own. The scripts
at the end of this file are the usual kinds of trouble; tests write further ones.
"""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable

from .certs import Certificate
from .process import BACKEND_PORT, free_address, wait_until

CAPABILITIES = b"IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN"
GREETING = b"* OK [CAPABILITY " + CAPABILITIES + b"] scripted\r\n"
CLEAR_MOST = 1 << 20
LITERAL_AT_END = re.compile(rb"\{(\d+)(\+?)\}\r\n$")


class PeerClosed(Exception):
    """The peer ended the connection; ends the script, and is no error."""


class Connection:
    """The server's side of a connection, for scripts."""

    def __init__(self, plain: socket.socket, server: ScriptedServer) -> None:
        self.socket = plain
        self.server = server
        self.buffer = bytearray()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, octets: bytes) -> None:
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise PeerClosed from error

    def read(self) -> bytes:
        """Whatever is there, at least an octet."""
        if not self.buffer:
            self._receive()
        octets = bytes(self.buffer)
        self.buffer.clear()
        return octets

    def line(self) -> bytes:
        """The next line with its CRLF."""
        while (end := self.buffer.find(b"\n")) < 0:
            self._receive()
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        return line

    def octets(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self._receive()
        octets = bytes(self.buffer[:count])
        del self.buffer[:count]
        return octets

    def command(self) -> tuple[bytes, bytes, bytes]:
        """Tag, name in upper case, and the rest; asks for and appends literals."""
        line = self.line()
        while found := LITERAL_AT_END.search(line):
            if not found[2]:
                self.send(b"+ go on\r\n")
            line += self.octets(int(found[1])) + self.line()
        self.server.commands.append(line)
        tag, _, rest = line.rstrip(b"\r\n").partition(b" ")
        name, _, arguments = rest.partition(b" ")
        return tag, name.upper(), arguments

    def _receive(self) -> None:
        try:
            octets = self.socket.recv(65536)
        except OSError as error:
            raise PeerClosed from error
        if not octets:
            raise PeerClosed
        self.server.reads += 1
        self.buffer += octets
        if not isinstance(self.socket, ssl.SSLSocket) and len(self.server.in_clear) < CLEAR_MOST:
            self.server.in_clear += octets

    def start_tls(self) -> None:
        if not self.server.context:
            raise RuntimeError("this server was given no certificate")
        try:
            self.socket = self.server.context.wrap_socket(self.socket, server_side=True)
        except OSError as error:
            raise PeerClosed from error

    def until_closed(self) -> None:
        """Takes all that comes, says nothing, ends with the connection."""
        while True:
            self.read()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Connection], None]


class ScriptedServer:
    """Listens on an address of its own and runs `script` for each connection.

    `connections` counts them, `commands` has the lines that Connection.command() read, `in_clear`
    the first MiB of what came without TLS. `reads` counts how often all that had come was used up:
    what a client says in one go is read in one.
    """

    def __init__(
        self,
        script: Script,
        *,
        address: str | None = None,
        port: int = BACKEND_PORT,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.script = script
        self.context = context
        self.address = address or free_address(port)
        self.port = port
        self.connections = 0
        self.reads = 0
        self.commands: list[bytes] = []
        self.in_clear = bytearray()
        self.errors: list[Exception] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.listener = socket.create_server((self.address, port), backlog=128)
        self.acceptor = threading.Thread(target=self._accept, name="scripted", daemon=True)
        self.acceptor.start()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def stop(self) -> None:
        """Closes everything; raises what went wrong in a script."""
        self.stop_listening()
        for connected in list(self._open):
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def stop_listening(self) -> None:
        """Takes no new connections; those that are open go on."""
        if self.acceptor.is_alive():
            self.listener.shutdown(socket.SHUT_RDWR)
            self.acceptor.join()
        self.listener.close()

    def open_connections(self) -> int:
        return len(self._open)

    def wait_connected(self, count: int, seconds: float = 10) -> None:
        """Waits until so many connections are open."""
        wait_until(lambda: self.open_connections() == count, seconds, f"{count} connections are open")

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connected)
            thread = threading.Thread(target=self._run, args=(connected,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, connected: socket.socket) -> None:
        connection = Connection(connected, self)
        try:
            self.script(connection)
        except PeerClosed:
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self._open.discard(connected)
            connection.socket.close()


def silent(connection: Connection) -> None:
    connection.until_closed()


def closing(connection: Connection) -> None:
    """Closes at once."""


def resetting(connection: Connection) -> None:
    connection.reset()


def rubbish(connection: Connection) -> None:
    connection.send(b"\x00\xff\x16\x03\x01 250-not.imap ESMTP\r\n{99999999999999999999}\r\n" * 20)
    connection.until_closed()


def endless_greeting(connection: Connection) -> None:
    connection.send(b"* OK ")
    while True:
        connection.send(b"hello " * 1000)


def endless_untagged(connection: Connection) -> None:
    """Greets, and then never comes to the tagged answer."""
    connection.send(b"* OK scripted\r\n")
    connection.command()
    while True:
        connection.send(b"* OK still thinking\r\n" * 1000)


def slow_greeting(connection: Connection) -> None:
    """An octet at a time, and never the end."""
    connection.send(b"* OK ")
    while True:
        connection.send(b".")
        time.sleep(0.1)


def bye(connection: Connection) -> None:
    connection.send(b"* BYE Too many connections\r\n")


def preauth(connection: Connection) -> None:
    """A server that takes everybody for somebody: what follows would be another's mail."""
    connection.send(b"* PREAUTH [CAPABILITY IMAP4rev1] welcome, postmaster\r\n")
    connection.until_closed()


def silent_after_greeting(connection: Connection) -> None:
    connection.send(GREETING)
    connection.until_closed()


def closing_at_login(connection: Connection) -> None:
    connection.send(GREETING)
    connection.command()


def untagged_bye_at_login(connection: Connection) -> None:
    connection.send(GREETING)
    connection.command()
    connection.send(b"* BYE Going down\r\n")


def bad_at_login(connection: Connection) -> None:
    connection.send(GREETING)
    tag, _, _ = connection.command()
    connection.send(tag + b" BAD Never heard of it\r\n")
    connection.until_closed()


def answering(login: bytes = b"OK Logged in", greeting: bytes = GREETING) -> Script:
    """A server that plays by the rules and answers LOGIN and AUTHENTICATE with `login`."""

    def script(connection: Connection) -> None:
        connection.send(greeting)
        serve(connection, login)

    return script


def serve(connection: Connection, login: bytes = b"OK Logged in") -> None:
    """Answers commands until LOGOUT."""
    while True:
        tag, name, arguments = connection.command()
        if name == b"CAPABILITY":
            connection.send(b"* CAPABILITY " + CAPABILITIES + b"\r\n" + tag + b" OK done\r\n")
        elif name == b"LOGIN":
            connection.send(tag + b" " + login + b"\r\n")
        elif name == b"AUTHENTICATE":
            if b" " not in arguments:
                connection.send(b"+ \r\n")
                connection.line()
            connection.send(tag + b" " + login + b"\r\n")
        elif name == b"NOOP":
            connection.send(tag + b" OK done\r\n")
        elif name == b"LOGOUT":
            connection.send(b"* BYE see you\r\n" + tag + b" OK done\r\n")
            return
        else:
            connection.send(tag + b" BAD unknown\r\n")


def refusing_starttls(connection: Connection) -> None:
    """Offers STARTTLS and then refuses it; must never see a password."""
    connection.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] scripted\r\n")
    while True:
        tag, name, _ = connection.command()
        if name == b"CAPABILITY":
            connection.send(b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n" + tag + b" OK x\r\n")
        else:
            connection.send(tag + b" NO [UNAVAILABLE] no TLS today\r\n")


def injecting_starttls(connection: Connection) -> None:
    """Sends more in clear behind its OK to STARTTLS, as somebody in the middle would."""
    connection.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] scripted\r\n")
    while True:
        tag, name, _ = connection.command()
        if name == b"STARTTLS":
            connection.send(tag + b" OK go\r\n* CAPABILITY IMAP4rev1 AUTH=INJECTED\r\n")
            connection.start_tls()
            serve(connection)
            return
        connection.send(b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n" + tag + b" OK done\r\n")


def context_of(certificate: Certificate) -> ssl.SSLContext:
    """TLS for a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


def within_tls(script: Script) -> Script:
    """The same, in TLS from the first octet on."""

    def secured(connection: Connection) -> None:
        connection.start_tls()
        script(connection)

    return secured


Ending = Callable[[Connection], None]


def leaving(connection: Connection) -> None:
    """Ends the connection as a server that has said all: it sends its FIN and waits for ours."""
    connection.socket.shutdown(socket.SHUT_WR)
    connection.until_closed()


def saying(octets: bytes, ending: Ending = Connection.until_closed) -> Script:
    """Says this in place of a greeting."""

    def script(connection: Connection) -> None:
        connection.send(octets)
        ending(connection)

    return script


def at_login(
    octets: bytes, ending: Ending = Connection.until_closed, greeting: bytes = GREETING
) -> Script:
    """Greets, and says this to the login; <tag> in it is the login's."""

    def script(connection: Connection) -> None:
        connection.send(greeting)
        tag, _, _ = connection.command()
        connection.send(octets.replace(b"<tag>", tag))
        ending(connection)

    return script


def ending_at(
    command: bytes,
    ending: Ending,
    greeting: bytes = GREETING,
    capabilities: bytes = CAPABILITIES,
) -> Script:
    """Plays by the rules until a command comes, which it answers by an end of the connection."""
    answers = {b"CAPABILITY": b"* CAPABILITY " + capabilities + b"\r\n", b"ID": b"* ID NIL\r\n"}

    def script(connection: Connection) -> None:
        connection.send(greeting)
        while True:
            tag, name, _ = connection.command()
            if name == command:
                ending(connection)
                return
            connection.send(answers.get(name, b"") + tag + b" OK done\r\n")
            if name == b"STARTTLS":
                connection.start_tls()

    return script


def after_starttls(
    script: Script,
    *,
    greeting: bytes = b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] scripted\r\n",
    answer: bytes = b"<tag> OK go\r\n",
) -> Script:
    """Answers STARTTLS with `answer`, and whatever was said so far in clear; `script` goes on
    without a greeting, in TLS if it calls start_tls()."""

    def server(connection: Connection) -> None:
        connection.send(greeting)
        tag, name, _ = connection.command()
        if name != b"STARTTLS":
            raise AssertionError(f"{name!r} comes before STARTTLS")
        connection.send(answer.replace(b"<tag>", tag))
        script(connection)

    return server
