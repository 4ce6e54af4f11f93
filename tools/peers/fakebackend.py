"""A backend that holds thousands of idle sessions in one small process.

It knows every user and takes one password. Run as a program it serves until it is told to end:
fakebackend.py ADDRESS PORT NAME
"""

from __future__ import annotations

import asyncio
import base64
import socket
import subprocess
import sys
from pathlib import Path

if __package__:
    from .process import BACKEND_PORT, Process, free_address

PASSWORD = "secret"
CAPABILITY = b"CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN"


class Session(asyncio.Protocol):
    """One connection. Literals are taken where each holds one word without line ends, as in a LOGIN."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.rest = b""
        self.tag_waiting = b""
        self.literal = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.say(b"* OK [" + CAPABILITY + b"] " + self.name + b"\r\n")

    def say(self, octets: bytes) -> None:
        self.transport.write(octets)

    def finish(self) -> None:
        self.transport.close()

    def data_received(self, octets: bytes) -> None:
        *lines, self.rest = (self.rest + octets).split(b"\r\n")
        for line in lines:
            line = self.literal + line
            self.literal = b""
            if line.endswith(b"}") and b"{" in line:
                self.literal = line[: line.rindex(b"{")]
                self.say(b"+ go on\r\n")
                continue
            if self.tag_waiting:
                tag, self.tag_waiting = self.tag_waiting, b""
                self.verdict(tag, line)
            else:
                self.command(line)

    def command(self, line: bytes) -> None:
        tag, name, *arguments = line.split(b" ") + [b""]
        match name.upper():
            case b"NOOP":
                self.say(tag + b" OK done\r\n")
            case b"CAPABILITY":
                self.say(b"* " + CAPABILITY + b"\r\n" + tag + b" OK done\r\n")
            case b"LOGIN":
                good = arguments[1].strip(b'"') == PASSWORD.encode()
                self.answer(tag, good)
            case b"AUTHENTICATE" if arguments[1]:
                self.verdict(tag, arguments[1])
            case b"AUTHENTICATE":
                self.tag_waiting = tag
                self.say(b"+ \r\n")
            case b"LOGOUT":
                self.say(b"* BYE\r\n" + tag + b" OK done\r\n")
                self.finish()
            case _:
                self.say(tag + b" BAD unknown\r\n")

    def verdict(self, tag: bytes, token: bytes) -> None:
        self.answer(tag, base64.b64decode(token).split(b"\0")[-1] == PASSWORD.encode())

    def answer(self, tag: bytes, good: bool) -> None:
        if good:
            self.say(tag + b" OK [" + CAPABILITY + b"] at " + self.name + b"\r\n")
        else:
            self.say(tag + b" NO [AUTHENTICATIONFAILED] wrong password\r\n")


async def serve(address: str, port: int, name: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Session(name.encode()), address, port, backlog=socket.SOMAXCONN
    )
    print("ready", flush=True)
    await server.serve_forever()


class FakeBackend:
    """The server in a process of its own; `process.pid` to kill it, stop() when done."""

    PROGRAM = Path(__file__)

    def __init__(self, name: str = "fake", address: str | None = None) -> None:
        self.name = name
        self.address = address or free_address()
        self.port = BACKEND_PORT
        self.process = Process(
            [sys.executable, "-B", self.PROGRAM, self.address, self.port, name],
            stdout=subprocess.PIPE,
            stderr=None,
        )
        if self.process.popen.stdout.readline() != b"ready\n":
            self.process.kill()
            raise RuntimeError(f"fake backend on {self.endpoint} did not start")

    def __enter__(self) -> FakeBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def stop(self) -> None:
        self.process.stop()
        self.process.popen.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
