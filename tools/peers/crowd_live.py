"""Clients that are in the middle of something while usher changes: sessions that live on, each watched to
the octet, and a stream of new logins. They run in a thread of their own, so that a test can do things
to usher meanwhile; the backends are streaming.py's.

Nothing here judges: each client notes what went wrong, and a test asks for `faults`.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .certs import Tls
from .fakebackend import PASSWORD
from .greeting import unverified_context
from .streaming import literal_of

# What a session does all the time, and how many of a hundred do it.
KINDS = ("idle",) * 70 + ("quiet",) * 10 + ("fetch",) * 15 + ("append",) * 5
WAYS = (Tls.OFF, Tls.IMPLICIT, Tls.IMPLICIT, Tls.STARTTLS)

LITERAL = 2 << 20
# A slow client: so much, then a pause.
STEP = 8 << 10
PAUSE_S = 0.2
RECEIVE_BUFFER = 16 << 10
# What a client waits for an answer before it calls that a fault, on any machine.
PATIENCE_S = 90
# So many log in at one time; when all of these wait, nobody else comes.
ABREAST = 100
# Names of the stream; they come again and again.
NAMES = 300

EXISTS = re.compile(rb"\* (\d+) EXISTS\r\n")
FETCHED = re.compile(rb"\* 1 FETCH \(BODY\[\] \{(\d+)\}\r\n")
HOME = re.compile(rb"at (\S+)\r\n$")


class Wrong(Exception):
    """The server said what it must not."""


class Client:
    """A connection: lines, and commands with their answers."""

    def __init__(self) -> None:
        self.serial = 0
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self, ports: Mapping[Tls, int], tls: Tls, source: str) -> None:
        """To usher on 127.0.0.1, up to the greeting, TLS included."""
        connected = socket.socket()
        connected.setblocking(False)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        context = unverified_context()
        try:
            connected.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", ports[tls]))
            secured = {"ssl": context, "server_hostname": "localhost"} if tls is Tls.IMPLICIT else {}
            self.reader, self.writer = await asyncio.open_connection(sock=connected, **secured)
        except BaseException:
            connected.close()
            raise
        self.expect(await self.line(), b"* OK")
        if tls is Tls.STARTTLS:
            self.expect(await self.command(b"STARTTLS"), b"OK")
            await self.writer.start_tls(context, server_hostname="localhost")

    @staticmethod
    def expect(line: bytes, start: bytes) -> bytes:
        if not line.startswith(start):
            raise Wrong(f"{line!r} in place of {start!r}")
        return line

    async def line(self) -> bytes:
        line = await self.reader.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError(f"the end of the connection behind {line!r}")
        return line

    def send(self, command: bytes) -> bytes:
        """Returns the tag."""
        self.serial += 1
        tag = b"c%d" % self.serial
        self.writer.write(tag + b" " + command + b"\r\n")
        return tag

    async def answer(self, tag: bytes) -> bytes:
        """What stands behind the tag; nothing else may come before it."""
        line = await self.line()
        self.expect(line, tag + b" ")
        return line[len(tag) + 1 :]

    async def command(self, command: bytes) -> bytes:
        return await self.answer(self.send(command))

    async def log_in(self, user: str) -> bytes:
        """The name of the backend."""
        line = await self.command(f'LOGIN "{user}" "{PASSWORD}"'.encode())
        found = HOME.search(self.expect(line, b"OK"))
        if not found:
            raise Wrong(f"{line!r} tells no backend")
        return found[1]

    async def log_out(self) -> None:
        tag = self.send(b"LOGOUT")
        self.expect(await self.line(), b"* BYE")
        self.expect(await self.answer(tag), b"OK")

    def abort(self) -> None:
        if hasattr(self, "writer"):
            self.writer.transport.abort()


class Live(Client):
    """A session that goes on until it is told to finish, from an address of its own. `fault` is what
    went wrong with it."""

    def __init__(self, number: int, kind: str, tls: Tls) -> None:
        super().__init__()
        self.kind = kind
        self.tls = tls
        self.user = f"live{number}"
        self.address = f"127.{60 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
        self.fault = ""
        self.done = 0  # what it has been told, taken or given so far, in whole things
        self.finishing = asyncio.Event()
        self.busy: asyncio.Task | None = None

    def __str__(self) -> str:
        return f"{self.user} from {self.address} ({self.kind}, tls {self.tls.value}, {self.done} done)"

    async def enter(self, ports: Mapping[Tls, int]) -> None:
        try:
            await self.connect(ports, self.tls, self.address)
            await self.log_in(self.user)
        except (OSError, Wrong) as error:
            self.fault = f"could not enter: {error}"
            return
        self.busy = asyncio.create_task(self.live())

    async def live(self) -> None:
        acts = {"idle": self.idle, "fetch": self.fetch, "append": self.append, "quiet": self.rest}
        try:
            while not self.finishing.is_set():
                await acts[self.kind]()
            self.expect(await self.command(b"NOOP"), b"OK")
        except (OSError, EOFError, ssl.SSLError, Wrong) as error:
            self.fault = f"{type(error).__name__}: {error}"

    async def pause(self) -> None:
        """Of a slow client; none when it is to finish."""
        try:
            await asyncio.wait_for(self.finishing.wait(), PAUSE_S)
        except asyncio.TimeoutError:
            pass

    async def rest(self) -> None:
        await self.finishing.wait()

    async def idle(self) -> None:
        tag = self.send(b"IDLE")
        self.expect(await self.line(), b"+")
        news = 0
        asyncio.ensure_future(self.finishing.wait()).add_done_callback(
            lambda _: self.writer.write(b"DONE\r\n")
        )
        while found := EXISTS.fullmatch(line := await self.line()):
            news += 1
            self.done = news
            if int(found[1]) != news:
                raise Wrong(f"{line!r} is news number {news}")
        self.expect(line, tag + b" OK %d\r\n" % news)

    async def fetch(self) -> None:
        tag = self.send(b"FETCH %d" % LITERAL)
        self.expect(await self.line(), b"* 1 FETCH (BODY[] {%d}\r\n" % LITERAL)
        digest, left = hashlib.sha256(), LITERAL
        while left:
            octets = await self.reader.readexactly(min(STEP, left))
            digest.update(octets)
            left -= len(octets)
            await self.pause()
        self.expect(await self.line(), b")\r\n")
        self.expect(await self.answer(tag), b"OK " + digest.hexdigest().encode())
        own = hashlib.sha256()
        for block in literal_of(self.user, LITERAL):
            own.update(block)
        if own.digest() != digest.digest():
            raise Wrong("a literal is another user's, or torn")
        self.done += 1

    async def append(self) -> None:
        tag = self.send(b"APPEND %d" % LITERAL)
        self.expect(await self.line(), b"+")
        digest, block = hashlib.sha256(), b""
        for number, block in enumerate(literal_of(self.user, LITERAL)):
            digest.update(block)
            self.writer.write(block)
            await self.writer.drain()
            if number % (STEP // len(block)) == 0:
                await self.pause()
        self.writer.write(b"\r\n")
        self.expect(await self.answer(tag), b"OK " + digest.hexdigest().encode())
        self.done += 1

    async def finish(self) -> None:
        """Ends what it does in order."""
        self.finishing.set()
        if self.busy:
            done, _ = await asyncio.wait([self.busy], timeout=PATIENCE_S)
            if not done:
                self.fault = self.fault or "does not come to an end"
        self.abort()


@dataclass
class Fault:
    """What befell one of the stream, and when it came and went (time.monotonic())."""

    began: float
    ended: float
    is_lost: bool  # the connection ended without a word
    text: str


@dataclass
class Stream:
    """New logins at a pace, one after the other: log in, NOOP, log out."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)  # when each began, and its seconds
    homes: dict[str, bytes] = field(default_factory=dict)
    under_way: int = 0

    async def visit(self, number: int, ports: Mapping[Tls, int]) -> None:
        client, began = Client(), time.monotonic()
        user = f"fresh{number % NAMES}"
        self.under_way += 1
        try:
            await asyncio.wait_for(self.stay(client, user, WAYS[number // 2 % len(WAYS)], ports), PATIENCE_S)
            self.outcomes["good"] += 1
        except ConnectionRefusedError as error:
            self.note("refused", began, user, error)
        except (OSError, EOFError, ssl.SSLError) as error:
            self.note("lost", began, user, error)
        except Wrong as error:
            self.note("wrong", began, user, error)
        finally:
            self.under_way -= 1
            client.abort()

    async def stay(self, client: Client, user: str, tls: Tls, ports: Mapping[Tls, int]) -> None:
        began = time.monotonic()
        await client.connect(ports, tls, "127.0.0.1")
        home = await client.log_in(user)
        self.waits.append((began, time.monotonic() - began))
        if self.homes.setdefault(user, home) != home:
            raise Wrong(f"{user} was on {self.homes[user]!r} and is on {home!r}")
        client.expect(await client.command(b"NOOP"), b"OK")
        await client.log_out()

    def note(self, what: str, began: float, user: str, error: Exception) -> None:
        self.outcomes[what] += 1
        is_late = isinstance(error, asyncio.TimeoutError)
        text = f"{user}, {what}: {type(error).__name__} {error}"
        self.faults.append(Fault(began, time.monotonic(), what == "lost" and not is_late, text))

    async def flow(self, ports: Mapping[Tls, int], rate: float, ending: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        visits: set[asyncio.Task] = set()
        due, number = loop.time(), 0
        while not ending.is_set():
            due = max(due + 1 / rate, loop.time() - 1)
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.under_way >= ABREAST:
                continue
            number += 1
            visit = asyncio.create_task(self.visit(number, ports))
            visits.add(visit)
            visit.add_done_callback(visits.discard)
        if visits:
            await asyncio.wait(visits)


class LiveCrowd:
    """All of them. `ports` has usher's ports by how they have TLS; leave() when done."""

    def __init__(self, ports: Mapping[Tls, int], seed: str = "1") -> None:
        self.ports = ports
        self.draw = random.Random(seed)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="crowd", daemon=True)
        self.thread.start()
        self.sessions: list[Live] = []
        self.stream = Stream()
        self.ending = asyncio.Event()
        self.flow: asyncio.Future | None = None
        self.entered = 0
        self.kills: list[tuple[float, float]] = []  # from when to when

    def __enter__(self) -> LiveCrowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _do(self, work: Coroutine) -> object:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(4 * PATIENCE_S)

    def enter(self, count: int) -> list[Live]:
        """So many more sessions; returns when all are in the middle of something."""

        async def all_enter(fresh: Sequence[Live]) -> None:
            turn = asyncio.Semaphore(ABREAST)

            async def one(session: Live) -> None:
                async with turn:
                    await session.enter(self.ports)

            await asyncio.gather(*map(one, fresh))

        async def make() -> list[Live]:
            fresh = [
                Live(self.entered + i, self.draw.choice(KINDS), self.draw.choice(WAYS))
                for i in range(count)
            ]
            self.entered += count
            await all_enter(fresh)
            return fresh

        fresh = self._do(make())
        self.sessions += fresh
        return fresh

    def begin_stream(self, rate: float) -> None:
        self.flow = asyncio.run_coroutine_threadsafe(
            self.stream.flow(self.ports, rate, self.ending), self.loop
        )

    def end_stream(self) -> None:
        """No more come; returns when the last has gone."""
        self.loop.call_soon_threadsafe(self.ending.set)
        if self.flow:
            self.flow.result(4 * PATIENCE_S)
            self.flow = None

    def give_up(self, sessions: Iterable[Live], killed: tuple[float, float]) -> None:
        """The worker that had these was killed within this time, by whoever tests: neither they nor
        those of the stream who were there then are anybody's fault."""
        given_up = list(sessions)
        self.sessions = [session for session in self.sessions if session not in given_up]

        async def abort() -> None:
            for session in given_up:
                session.abort()

        self._do(abort())
        self.kills.append(killed)

    def is_of_a_kill(self, fault: Fault) -> bool:
        """Whether it was there when a worker was killed, and may have been that worker's."""
        return fault.is_lost and any(
            fault.began <= after and fault.ended >= before for before, after in self.kills
        )

    def finish(self) -> None:
        """Everybody ends what is under way, to the last octet, and leaves."""
        self.end_stream()

        async def all_finish() -> None:
            await asyncio.gather(*(session.finish() for session in self.sessions))

        self._do(all_finish())

    def faults(self) -> list[str]:
        """What went wrong so far."""
        of_sessions = [f"{session}: {session.fault}" for session in self.sessions if session.fault]
        of_stream = [fault.text for fault in self.stream.faults if not self.is_of_a_kill(fault)]
        return of_sessions + of_stream

    def longest_wait(self, since: float = 0, until: float = float("inf")) -> float:
        """Of a login that was under way within that time, in seconds."""
        within = [s for began, s in self.stream.waits if began <= until and began + s >= since]
        return max(within, default=0.0)

    def leave(self) -> None:
        """Closes all connections, whatever they were about."""

        async def cancel_all() -> None:
            for session in self.sessions:
                session.abort()
            rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self._do(cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
