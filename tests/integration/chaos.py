"""The players of test_chaos.py: clients that come and go as they like, whoever breaks and steers things
meanwhile, and the audit of what came of it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from peers.fakebackend import PASSWORD
from watched import PATTERN

LOGIN_TIMEOUT_S = 12
# Of a busy machine with sanitizers.
SLACK_S = 6
# How long a client waits for the answer to a command, before it gives up.
PATIENCE_S = 3
# How late a worker may come to see that a client has gone.
LATE_S = 2
FETCH_MOST = 100_000

LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
ANSWER = re.compile(rb"(OK|NO|BAD)(?: \[([A-Z]+)[^]]*\])? ?(.*)\r\n$")

# What a login with the right password may hear beside OK while things are broken.
TROUBLE = {"UNAVAILABLE", "INUSE", "LIMIT"}

# What clients are told at the end, and the reason in the log that goes with it.
REASON_OF_BYE = {
    b"ended by an operator": "kicked",
    b"is moving to another server": "moved",
    b"does not answer any more": "backend_down",
    b"mail server is gone": "backend_reset",
    b"Login took too long": "login_timeout",
    b"Too many connections": "max_sessions_per_user",
    b"Too many failed logins": "penalty",
    b"Too many refused logins": "login_tries",
    b"Too many login failures": "login_tries",
}
OF_BACKEND = {"backend_closed", "backend_reset"}
# A session that is in the middle of a response ends without words.
WORDLESS = OF_BACKEND | {"kicked", "moved", "backend_down"}
OF_CLIENT = {"client_closed", "client_reset", "client_tls", "client_logout"}


class Gone(Exception):
    """The connection has ended; `bye` is what was said before, empty if nothing."""

    def __init__(self, bye: bytes = b"") -> None:
        super().__init__(bye)
        self.bye = bye


@dataclass
class Person:
    """Whom clients log in as."""

    name: str
    listener: str
    password: str = PASSWORD
    may_be_disabled: bool = False
    may_move: bool = False


@dataclass
class Visit:
    """One connection, as its client saw it."""

    address: str
    person: Person
    is_right: bool = True
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    end: str = "left"  # "left", "bye", "gone" (without a word), "logout"
    bye: bytes = b""
    was_in: bool = False


@dataclass
class Notes:
    """What all clients found. `faults` is what must not be."""

    faults: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    visits: list[Visit] = field(default_factory=list)
    slowest_s: float = 0.0

    def fault(self, text: str) -> None:
        self.faults.append(text)


class Connection:
    """A client's connection: commands and their answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.serial = 0
        self.bye = b""
        self.is_torn = False  # what came was no whole response

    def send(self, *commands: bytes) -> list[bytes]:
        """All at once; their tags."""
        tags = []
        for command in commands:
            self.serial += 1
            tags.append(b"c%d" % self.serial)
        self.writer.write(b"".join(b"%s %s\r\n" % pair for pair in zip(tags, commands)))
        return tags

    async def line(self) -> bytes:
        line = await self.reader.readline()
        if not line.endswith(b"\r\n"):
            self.is_torn |= bool(line)
            raise Gone(self.bye)
        if line.startswith(b"* BYE"):
            self.bye = line
        return line

    async def literal(self, n: int) -> None:
        """One of PATTERN, or as much of it as comes."""
        try:
            octets = await self.reader.readexactly(n)
        except asyncio.IncompleteReadError as error:
            self.is_torn |= error.partial != PATTERN[: len(error.partial)]
            raise Gone(self.bye) from error
        self.is_torn |= octets != PATTERN[:n]

    async def finish(self, tag: bytes) -> tuple[str, str, bytes]:
        """Status, code and text of the answer; raises Gone."""
        try:
            while True:
                line = await self.line()
                while found := LITERAL.search(line):
                    await self.literal(int(found[1]))
                    line = await self.line()
                first, _, rest = line.partition(b" ")
                if first == tag:
                    answer = ANSWER.match(rest)
                    if not answer:
                        raise ValueError(line)
                    return answer[1].decode(), (answer[2] or b"").decode(), answer[3]
        except OSError as error:
            raise Gone(self.bye) from error

    async def ask(self, command: bytes, seconds: float = PATIENCE_S) -> tuple[str, str, bytes]:
        (tag,) = self.send(command)
        return await asyncio.wait_for(self.finish(tag), seconds)

    async def rest(self) -> bytes:
        """What is said until the end."""
        try:
            while True:
                await self.line()
        except (OSError, Gone):
            return self.bye

    def abort(self) -> None:
        self.writer.transport.abort()


class Crowd:
    """Clients of one usher."""

    def __init__(
        self,
        ports: dict[str, int],
        cast: list[Person],
        notes: Notes,
        *,
        context: ssl.SSLContext,
    ) -> None:
        self.ports = ports
        self.cast = cast
        self.notes = notes
        self.context = context
        self.is_storm = False
        self.numbers = count(1)

    def next_address(self) -> str:
        """A new one for each visit, by which the log names it."""
        n = next(self.numbers)
        return f"127.{100 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}"

    # --- one visit ---

    async def connect(self, visit: Visit, draw: random.Random) -> Connection:
        listener = visit.person.listener
        with_tls = listener == "shared" and draw.random() < 0.1
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self.ports["imaps" if with_tls else listener],
            ssl=self.context if with_tls else None,
            local_addr=(visit.address, 0),
            limit=1 << 20,
        )
        return Connection(reader, writer)

    def judge(self, visit: Visit, status: str, code: str, text: bytes) -> None:
        person, notes = visit.person, self.notes
        said = f"{person.name} from {visit.address}: {status} [{code}] {text!r}"
        notes.outcomes[f"{'right' if visit.is_right else 'wrong'} {status} {code}".strip()] += 1
        allowed = TROUBLE | ({"CONTACTADMIN"} if person.may_be_disabled else set())
        if status == "OK" and not visit.is_right:
            notes.fault(f"a wrong password is let in: {said}")
        elif status == "BAD":
            notes.fault(f"a login is not understood: {said}")
        elif status == "NO" and visit.is_right and code not in allowed:
            notes.fault(f"an outage is told as another thing: {said}")
        elif status == "NO" and not visit.is_right and code not in allowed | {"AUTHENTICATIONFAILED"}:
            notes.fault(f"a wrong password is told as another thing: {said}")

    async def log_in(self, visit: Visit, connection: Connection, draw: random.Random) -> bool:
        """Whether it is in."""
        name = visit.person.name
        password = visit.person.password if visit.is_right else "wrong"
        way = draw.randrange(4)
        if way == 0:
            token = base64.b64encode(f"\0{name}\0{password}".encode())
            commands = [b"AUTHENTICATE PLAIN " + token]
        else:
            commands = [f'LOGIN "{name}" "{password}"'.encode()]
        if way == 1:
            commands.append(b"NOOP")
        loop = asyncio.get_running_loop()
        began = loop.time()
        tags = connection.send(*commands)
        try:
            answer = await asyncio.wait_for(connection.finish(tags[0]), LOGIN_TIMEOUT_S + SLACK_S)
        except asyncio.TimeoutError:
            self.notes.fault(f"{name} from {visit.address}: no answer to a login")
            raise
        self.notes.slowest_s = max(self.notes.slowest_s, loop.time() - began)
        self.judge(visit, *answer)
        visit.was_in = answer[0] == "OK"
        if visit.was_in and len(tags) > 1:
            await asyncio.wait_for(connection.finish(tags[1]), PATIENCE_S)
        return visit.was_in

    async def work(self, connection: Connection, draw: random.Random) -> str:
        """Some commands; how it ends."""
        for _ in range(draw.randrange(1, 6)):
            what = draw.random()
            if what < 0.3:
                await asyncio.sleep(draw.uniform(0, 1.5))
            elif what < 0.7:
                assert (await connection.ask(b"NOOP"))[0] == "OK"
            elif what < 0.95:
                await connection.ask(b"FETCH %d" % draw.randrange(1, FETCH_MOST))
            else:
                connection.send(b"FETCH %d" % FETCH_MOST, b"NOOP")
                return "left"
        if draw.random() < 0.3:
            await connection.ask(b"LOGOUT")
            return "logout"
        return "left"

    async def stay(self, visit: Visit, draw: random.Random) -> None:
        connection = await self.connect(visit, draw)
        try:
            connection.bye = b""
            greeting = await asyncio.wait_for(connection.line(), LOGIN_TIMEOUT_S + SLACK_S)
            if not greeting.startswith(b"* OK"):
                await connection.rest()
                raise Gone(connection.bye)
            if draw.random() < 0.05:
                return
            if draw.random() < 0.05:
                # Hangs up when its password was sent.
                connection.send(f'LOGIN "{visit.person.name}" "{visit.person.password}"'.encode())
                await asyncio.sleep(draw.choice((0, 0.001, 0.01, 0.1)))
                return
            while not await self.log_in(visit, connection, draw):
                if draw.random() < 0.5:
                    return
                visit.is_right = draw.random() < 0.8
            visit.end = await self.work(connection, draw)
        except Gone as gone:
            visit.end, visit.bye = "bye" if gone.bye else "gone", gone.bye
        except (asyncio.TimeoutError, ConnectionError):
            visit.end = "left"
        finally:
            if connection.is_torn:
                self.notes.fault(f"{visit.person.name} from {visit.address}: what came is torn")
            connection.abort()

    async def visit(self, person: Person, draw: random.Random, is_right: bool) -> None:
        visit = Visit(self.next_address(), person, is_right)
        try:
            await self.stay(visit, draw)
        except OSError:
            return  # not even connected: nothing need be in the log
        visit.ended = time.monotonic()
        self.notes.visits.append(visit)

    # --- many ---

    async def roam(self, draw: random.Random) -> None:
        """One client, as long as the storm lasts."""
        while self.is_storm:
            person = draw.choice(self.cast)
            if person.listener in ("own", "seek") and draw.random() < 0.3:
                # Nobody has seen this one before.
                person = Person(f"{person.listener}{draw.randrange(1000, 100_000)}", person.listener)
            await self.visit(person, draw, draw.random() < 0.85)
            await asyncio.sleep(draw.uniform(0, 0.5))

    async def guess(self, draw: random.Random) -> None:
        """One who tries passwords, from an address that is not spared."""
        address = f"127.200.0.{draw.randrange(1, 4)}"
        while self.is_storm:
            person = draw.choice([p for p in self.cast if p.listener == "shared"])
            try:
                await self.stay(Visit(address, person, is_right=draw.random() < 0.1), draw)
            except OSError:
                pass
            await asyncio.sleep(draw.uniform(0, 0.5))


class Resident:
    """A client that is always in: comes again when it is sent away."""

    def __init__(self, crowd: Crowd, person: Person, draw: random.Random) -> None:
        self.crowd = crowd
        self.person = person
        self.draw = draw
        self.visit: Visit | None = None
        self.connection: Connection | None = None
        self.is_in = False
        self.last = "has not tried"

    async def enter(self) -> None:
        self.visit = Visit(self.crowd.next_address(), self.person)
        self.connection = await self.crowd.connect(self.visit, self.draw)
        await self.connection.line()
        if await self.crowd.log_in(self.visit, self.connection, self.draw):
            self.is_in = True

    def leave(self) -> None:
        self.is_in = False
        if self.connection:
            self.connection.abort()
            self.connection = None
        if self.visit:
            self.visit.ended = time.monotonic()
            self.crowd.notes.visits.append(self.visit)
            self.visit = None

    async def live(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.enter()
                while self.is_in:
                    assert (await self.connection.ask(b"NOOP"))[0] == "OK"
                    await asyncio.sleep(0.2)
                self.last = "refused"
            except Gone as gone:
                self.visit.end, self.visit.bye = "bye" if gone.bye else "gone", gone.bye
                self.last = f"gone: {gone.bye!r}"
            except (OSError, asyncio.TimeoutError) as error:
                self.last = repr(error)
            finally:
                self.leave()
            await asyncio.sleep(self.draw.uniform(0.1, 0.3))


class Door:
    """The operators' socket; each request by a connection of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def ask(self, *words: str, **named: str) -> tuple[dict, list[dict]]:
        """What is in "done" (or the whole error), and the rows. OSError: nobody answers."""
        request = {"command": " ".join(words), **named}
        reader, writer = await asyncio.wait_for(
            asyncio.open_unix_connection(os.fspath(self.path), limit=1 << 24), 10
        )
        rows = []
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            while line := await asyncio.wait_for(reader.readline(), 20):
                answer = json.loads(line)
                if "row" not in answer:
                    return answer.get("done", answer), rows
                rows.append(answer["row"])
            raise ConnectionError("the door was closed")
        finally:
            writer.close()


# --- the audit --------------------------------------------------------------------------------------


def expected_reasons(visit: Visit) -> set[str]:
    """What the log may say of a visit that no worker's death has ended."""
    server = WORDLESS | {"login_timeout", "login_tries", "max_sessions_per_user", "penalty"}
    if visit.end == "bye":
        for words, reason in REASON_OF_BYE.items():
            if words in visit.bye:
                return {reason}
        # A backend's own, behind a LOGOUT.
        return OF_BACKEND
    if visit.end == "gone":
        return WORDLESS if visit.was_in else set()
    if visit.end == "logout":
        return OF_CLIENT | WORDLESS
    return OF_CLIENT | server


def fault_of(visit: Visit, reasons: list[str], deaths: Sequence[float]) -> str | None:
    """What is wrong with the reasons that the log has for a visit, when workers died at these times."""
    may_be_lost = any(visit.began - LATE_S < death < visit.ended + LATE_S for death in deaths)
    if not reasons and may_be_lost:
        return None
    if len(reasons) != 1:
        return f"ended {len(reasons)} times"
    if reasons[0] not in expected_reasons(visit) and not (may_be_lost and visit.end == "gone"):
        return f"ended with {reasons[0]}"
    return None
