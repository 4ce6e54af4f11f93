"""Thousands of clients at one time, in one thread."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from .certs import Tls
from .greeting import unverified_context

# So many log in at one time; the rest wait for their turn.
ABREAST = 200


class Member:
    """One connection of the crowd, logged in."""

    def __init__(self, number: int, user: str) -> None:
        self.number = number
        self.user = user
        self.serial = 0
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def enter(
        self, address: str, port: int, context: ssl.SSLContext | None, password: str
    ) -> None:
        self.reader, self.writer = await asyncio.open_connection(address, port, ssl=context)
        greeting = await self.reader.readline()
        if not greeting.startswith(b"* OK"):
            raise ConnectionError(f"greeting: {greeting!r}")
        answer = await self.command(f'LOGIN "{self.user}" "{password}"')
        if answer != b"OK":
            raise ConnectionError(f"login of {self.user}: {answer!r}")

    async def command(self, text: str) -> bytes:
        """The status of the tagged answer, b"" if the connection has ended."""
        self.serial += 1
        tag = f"c{self.serial}"
        try:
            self.writer.write(f"{tag} {text}\r\n".encode())
            while line := await self.reader.readline():
                first, _, rest = line.partition(b" ")
                if first == tag.encode():
                    return rest.split(b" ")[0]
        except (OSError, ssl.SSLError):
            pass
        return b""


class Crowd:
    """`members` are in the order in which they entered. leave() when done."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.members: list[Member] = []

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def enter(
        self,
        count: int,
        address: str,
        port: int,
        *,
        user: Callable[[int], str],
        password: str,
        tls: Tls = Tls.OFF,
        timeout: float = 60,
        abreast: int = ABREAST,
    ) -> list[Member]:
        """Logs in `count` more as user(0), user(1), ..., `abreast` at one time; raises unless all
        succeed."""
        context = unverified_context() if tls is Tls.IMPLICIT else None
        fresh = [Member(number, user(number)) for number in range(count)]

        async def all_enter() -> None:
            turn = asyncio.Semaphore(abreast)

            async def one(member: Member) -> None:
                async with turn:
                    await member.enter(address, port, context, password)

            await asyncio.gather(*map(one, fresh))

        self._run(all_enter(), timeout)
        self.members += fresh
        return fresh

    def count_alive(self, members: list[Member] | None = None, timeout: float = 60) -> int:
        """How many of them (of all) have a NOOP answered."""
        return len(self.alive(members, timeout))

    def alive(self, members: list[Member] | None = None, timeout: float = 60) -> list[Member]:
        chosen = self.members if members is None else members

        async def ask() -> list[bytes]:
            return await asyncio.gather(*(member.command("NOOP") for member in chosen))

        answers = self._run(ask(), timeout)
        return [member for member, answer in zip(chosen, answers) if answer == b"OK"]

    def leave(self) -> None:
        """Closes all connections."""

        async def close() -> None:
            for member in self.members:
                member.writer.transport.abort()

        self._run(close(), 10)
        # Transports finish closing in the loop's next round.
        self._run(asyncio.sleep(0), 10)
        self.loop.close()

    def _run(self, work, timeout: float):
        return self.loop.run_until_complete(asyncio.wait_for(work, timeout))
