"""A backend whose sessions are in the middle of something: in IDLE with news now and then, in a long
literal to the client or from it.

It knows every user and takes one password, as its parent class does. Beside that:

    FETCH n   a literal of n octets that only this user gets, and behind it their digest
    APPEND n  takes a literal of n octets, and answers with their digest
    IDLE      `* n EXISTS` with n = 1, 2, 3 ... every PERIOD_S, until DONE, whose answer tells the last n

Run as a program it serves until it is told to end: streaming.py ADDRESS PORT NAME
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

if __package__:
    from .fakebackend import FakeBackend, Session
else:
    from fakebackend import FakeBackend, Session

# News in IDLE. All sessions at once have them, so that a period costs one timer.
PERIOD_S = 1.0
BLOCK = 4096
# How much lies in asyncio's buffer of a connection, beside what the kernel takes.
AHEAD = 64 << 10
# The kernel's part of a connection, so that a literal is in usher's hands for long.
KERNEL_BUFFER = 32 << 10


def literal_of(user: str, size: int) -> Iterator[bytes]:
    """The octets that a user gets, in blocks; no two blocks, and no two users', are the same."""
    for number in range(-(-size // BLOCK)):
        block = hashlib.sha256(f"{user} {number}".encode()).digest() * (BLOCK // 32)
        yield block[: size - number * BLOCK]


class StreamingSession(Session):
    idle: set[StreamingSession] = set()  # all that are in IDLE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.user = ""
        self.idle_tag = b""
        self.news = 0
        self.writing: asyncio.Task | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.append_tag = b""
        self.append_left = 0
        self.appended = hashlib.sha256()
        transport.set_write_buffer_limits(AHEAD)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.idle.discard(self)
        if self.writing:
            self.writing.cancel()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def data_received(self, octets: bytes) -> None:
        if self.append_left:
            taken, octets = octets[: self.append_left], octets[self.append_left :]
            self.append_left -= len(taken)
            self.appended.update(taken)
        if octets:
            super().data_received(octets)

    def command(self, line: bytes) -> None:
        if self.append_tag:
            # The line end behind the literal.
            tag, self.append_tag = self.append_tag, b""
            self.say(tag + b" OK " + self.appended.hexdigest().encode() + b"\r\n")
            return
        if self.idle_tag:
            tag, self.idle_tag = self.idle_tag, b""
            self.idle.discard(self)
            self.say(tag + b" OK %d\r\n" % self.news)
            return
        tag, name, *words = line.split(b" ")
        match name.upper():
            case b"LOGIN":
                self.user = words[0].strip(b'"').decode()
                super().command(line)
            case b"FETCH":
                self.writing = asyncio.ensure_future(self.fetch(tag, int(words[0])))
            case b"APPEND":
                self.append_tag, self.append_left = tag, int(words[0])
                self.appended = hashlib.sha256()
                self.say(b"+ go on\r\n")
            case b"IDLE":
                self.idle_tag, self.news = tag, 0
                self.idle.add(self)
                self.say(b"+ idling\r\n")
            case _:
                super().command(line)

    def verdict(self, tag: bytes, token: bytes) -> None:
        self.user = base64.b64decode(token).split(b"\0")[1].decode()
        super().verdict(tag, token)

    async def fetch(self, tag: bytes, size: int) -> None:
        digest = hashlib.sha256()
        self.say(b"* 1 FETCH (BODY[] {%d}\r\n" % size)
        for block in literal_of(self.user, size):
            await self.may_write.wait()
            digest.update(block)
            self.say(block)
        self.say(b")\r\n" + tag + b" OK " + digest.hexdigest().encode() + b"\r\n")

    def tell_news(self) -> None:
        self.news += 1
        self.say(b"* %d EXISTS\r\n" % self.news)


async def serve(address: str, port: int, name: str) -> None:
    loop = asyncio.get_running_loop()
    listening = socket.create_server((address, port), backlog=socket.SOMAXCONN)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
    await loop.create_server(lambda: StreamingSession(name.encode()), sock=listening)
    print("ready", flush=True)
    while True:
        await asyncio.sleep(PERIOD_S)
        for session in list(StreamingSession.idle):
            session.tell_news()


class StreamingBackend(FakeBackend):
    """The server in a process of its own."""

    PROGRAM = Path(__file__)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
