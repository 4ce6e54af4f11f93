"""A relay between a client and a server that is as far away, as torn and as slow as a test wants it.

    python3 -m peers.relay TARGET:PORT LISTEN:PORT DELAY_MS      as a program, from tools/
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from .process import BACKEND_PORT, free_address

READ_AT_ONCE = 256 << 10
QUEUED_MOST = 64 << 20
PIECE_S = 0.02  # what a slow connection passes on at once


@dataclass
class Trouble:
    """What befalls one connection, counted in bytes of its client ("up") and of the server ("down").
    A cut ends it, both ways, once so many bytes have gone through; a stall leaves it open, and passes
    on no more. None: never."""

    cut_up: int | None = None
    cut_down: int | None = None
    stall_up: int | None = None
    stall_down: int | None = None
    is_refused: bool = False


@dataclass
class Way:
    """One direction of a connection."""

    is_up: bool
    reader: socket.socket
    writer: socket.socket
    cut: int | None
    stall: int | None
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued: int = 0
    free_at: float = 0.0  # when what was read before has gone at the relay's rate
    passed: int = 0
    has_ended: bool = False  # the reader has; what waits is still passed on
    is_shut: bool = False


class Relay:
    """Listens at `address` and `port` and passes all on to a server, `delay_ms` later in each
    direction, whatever the amount; with `rate` at most so many bytes a second of each connection and
    direction, of which it holds `queued` bytes that nobody takes. `troubles` are for the next
    connections, one each, in the order of their coming; those behind are sound. `connections` counts
    them, `most` is how many there were at a time, `up` and `down` are the bytes of all that have gone
    through."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        delay_ms: float = 0,
        rate: float = 0,
        queued: int = QUEUED_MOST,
        address: str | None = None,
        port: int = BACKEND_PORT,
        troubles: list[Trouble] | None = None,
    ) -> None:
        self.target = target
        self.delay_s = delay_ms / 1000
        self.rate = rate
        self.at_once = max(1, int(rate * PIECE_S)) if rate else READ_AT_ONCE
        self.queued = queued
        self.address = address or free_address(port)
        self.port = port
        self.troubles = deque(troubles or ())
        self.connections = self.most = 0
        self.up = self.down = 0
        self.listener = socket.create_server((self.address, port), backlog=128)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.ways: dict[int, tuple[Way, Way]] = {}  # by descriptor: what it reads, what it writes
        self.awake, self.alarm = socket.socketpair()
        self.poll.register(self.awake, select.EPOLLIN)
        self.is_ending = False
        self.thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self.thread.start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def stop(self) -> None:
        """Closes everything."""
        self.is_ending = True
        self.alarm.send(b"x")
        self.thread.join()
        for descriptor in list(self.ways):
            self._drop(descriptor)
        self.listener.close()
        self.poll.close()
        self.awake.close()
        self.alarm.close()

    # ---- the loop's thread ----

    def _run(self) -> None:
        while not self.is_ending:
            for descriptor, events in self.poll.poll(self._wait_s()):
                if descriptor == self.listener.fileno():
                    self._accept()
                elif descriptor in self.ways:
                    self._serve(descriptor, events)
            if self.delay_s or self.rate:
                for reads, _ in list(self.ways.values()):
                    self._write(reads)

    def _wait_s(self) -> float | None:
        """Until the next bytes are due; None: until something comes."""
        due = [
            way.waiting[0][0]
            for way, _ in self.ways.values()
            if way.waiting and way.waiting[0][0] > 0
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        self.connections += 1
        trouble = self.troubles.popleft() if self.troubles else Trouble()
        server = None
        if not trouble.is_refused:
            try:
                server = socket.create_connection(self.target, timeout=10)
            except OSError:
                pass
        if not server:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            return
        for connected in (client, server):
            connected.setblocking(False)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up = Way(True, client, server, trouble.cut_up, trouble.stall_up)
        down = Way(False, server, client, trouble.cut_down, trouble.stall_down)
        self.ways[client.fileno()] = (up, down)
        self.ways[server.fileno()] = (down, up)
        self.most = max(self.most, len(self.ways) // 2)
        for connected in (client, server):
            self.poll.register(connected, select.EPOLLIN)

    def _serve(self, descriptor: int, events: int) -> None:
        reads, writes = self.ways[descriptor]
        if events & select.EPOLLOUT:
            self._write(writes)
        if descriptor in self.ways and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            self._read(reads, descriptor)

    def _read(self, way: Way, descriptor: int) -> None:
        try:
            octets = way.reader.recv(self.at_once)
        except BlockingIOError:
            return
        except OSError:
            self._drop(descriptor)
            return
        if octets:
            way.queued += len(octets)
        else:
            way.has_ended = True
        due = time.monotonic() + self.delay_s if self.delay_s else 0.0
        if self.rate:
            way.free_at = max(way.free_at, time.monotonic()) + len(octets) / self.rate
            due = max(due, way.free_at)
        way.waiting.append((due, octets))
        self._write(way)
        if descriptor in self.ways:
            self._watch(way)

    def _write(self, way: Way) -> None:
        """Passes on what is due, as far as the other side takes it."""
        if way.reader.fileno() not in self.ways:
            return
        now = time.monotonic()
        while way.waiting and way.waiting[0][0] <= now:
            _, octets = way.waiting.popleft()
            if not octets:
                self._end(way)
                return
            part = octets[: self._room(way)]
            try:
                sent = way.writer.send(part) if part else 0
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(way.reader.fileno())
                return
            self._count(way, sent)
            if sent < len(octets):
                way.waiting.appendleft((0.0, octets[sent:]))
                if way.cut is not None and way.passed >= way.cut:
                    self._drop(way.reader.fileno())
                    return
                break
        self._watch(way)

    def _room(self, way: Way) -> int:
        ends = [end - way.passed for end in (way.cut, way.stall) if end is not None]
        return max(0, min(ends)) if ends else READ_AT_ONCE

    def _count(self, way: Way, sent: int) -> None:
        way.passed += sent
        way.queued -= sent
        if way.is_up:
            self.up += sent
        else:
            self.down += sent

    def _watch(self, way: Way) -> None:
        """Reads while there is room for it, writes while something waits that is due."""
        for descriptor in (way.reader.fileno(), way.writer.fileno()):
            if descriptor not in self.ways:
                continue
            reads, writes = self.ways[descriptor]
            events = 0
            if not reads.has_ended and reads.queued < self.queued:
                events |= select.EPOLLIN
            is_late = writes.waiting and writes.waiting[0][0] == 0.0
            if is_late and self._room(writes):
                events |= select.EPOLLOUT
            self.poll.modify(descriptor, events)

    def _end(self, way: Way) -> None:
        """All of one direction has gone through."""
        way.is_shut = True
        try:
            way.writer.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if self.ways[way.reader.fileno()][1].is_shut:
            self._drop(way.reader.fileno(), is_torn=False)

    def _drop(self, descriptor: int, is_torn: bool = True) -> None:
        """Ends a connection at once, both ways; who hears of it gets a RST if it `is_torn`."""
        if descriptor not in self.ways:
            return
        reads, _ = self.ways[descriptor]
        for connected in (reads.reader, reads.writer):
            self.ways.pop(connected.fileno())
            self.poll.unregister(connected)
            if is_torn:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connected.close()


def main() -> None:
    target, place, delay = sys.argv[1:]
    (target_host, target_port), (host, port) = (at.rsplit(":", 1) for at in (target, place))
    with Relay(
        (target_host, int(target_port)), address=host, port=int(port), delay_ms=float(delay)
    ) as relay:
        relay.thread.join()


if __name__ == "__main__":
    main()
