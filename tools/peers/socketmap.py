"""A server of Postfix's socketmap protocol (socketmap_table(5)) on loopback, which answers from a
table that may change while it runs, or misbehaves as a test tells it to."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from types import TracebackType

from .process import free_address

PORT = 10500


class SocketMap:
    """Answers from `answers`: what follows OK, by key; a key that is not in it is not found.

    Settings that may change at any time: `delay_s` before each answer; `says`, sent in place of
    every answer as it is (see netstring()). After hang() questions are read and not answered,
    until release(). `asked` counts keys, `connections` how often somebody has come. stop() closes
    the port and all connections; start() opens the same port again.
    """

    def __init__(self, answers: dict[str, str] | None = None, map_name: str = "users") -> None:
        self.answers = dict(answers or {})
        self.map_name = map_name
        self.delay_s = 0.0
        self.says: bytes | None = None
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self.address = free_address(PORT)
        self.port = PORT
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listening: socket.socket | None = None
        self.start()

    def __enter__(self) -> SocketMap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        self._stopping.clear()
        self._listening = socket.create_server((self.address, self.port))
        self._run(self._accept, self._listening)

    def stop(self) -> None:
        """Safe to call twice."""
        if self._listening is None:
            return
        self._stopping.set()
        self._may_answer.set()
        # accept() does not end when its socket is closed, but when it is shut down.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._listening = None
        self.close_connections()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def close_connections(self) -> None:
        with self._lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def hang(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def _run(self, what: object, *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, name="socketmap", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                if self._stopping.is_set():
                    connection.close()
                    return
                self._open.add(connection)
                self.connections += 1
            self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as incoming:
                while (question := read_netstring(incoming)) is not None:
                    reply = self._reply(question)
                    self._may_answer.wait()
                    if self._stopping.wait(self.delay_s):
                        return
                    connection.sendall(reply if self.says is None else self.says)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _reply(self, question: bytes) -> bytes:
        map_name, _, key = question.decode("utf-8", "surrogateescape").partition(" ")
        self.asked[key] += 1
        if map_name != self.map_name:
            return netstring("PERM no such map")
        if key not in self.answers:
            return netstring("NOTFOUND ")
        return netstring(f"OK {self.answers[key]}")


def netstring(text: str) -> bytes:
    octets = text.encode()
    return b"%d:%s," % (len(octets), octets)


def read_netstring(incoming) -> bytes | None:
    """The next one; None when there is no more, or what comes is none."""
    length = b""
    while (octet := incoming.read(1)) != b":":
        if not octet.isdigit():
            return None
        length += octet
    text = incoming.read(int(length))
    return text if incoming.read(1) == b"," else None
