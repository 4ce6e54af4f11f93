"""Backends that see whether a user is ever on two of them, and that misbehave as a test tells them to."""

from __future__ import annotations

import asyncio
import base64
import select
import socket
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from peers.fakebackend import Session
from peers.process import BACKEND_PORT, free_address

# What a FETCH of some octets brings, again and again.
PATTERN = bytes(range(ord("A"), ord("Z") + 1)) * 10000


@dataclass
class Mood:
    """How a backend behaves; well as it is made. A new mood holds for what comes from then on."""

    is_frozen: bool = False  # connections are taken, by the kernel, and nothing is said
    delay_s: float = 0.0  # before each answer
    refuses: bool = False  # logins get NO [UNAVAILABLE]
    breaks: bool = False  # connections break in place of the answer to the login
    drops: bool = False  # connections break a moment after a good login
    hangs: bool = False  # a FETCH gets half of its literal, and nothing ever after


class WatchedSession(Session):
    """One connection to one of the backends; `world` knows those of all."""

    def __init__(self, world: Watched, name: str) -> None:
        super().__init__(name.encode())
        self.world = world
        self.home = name
        self.user = ""
        self.is_stuck = False
        # What is still to be said, and when; None: the end.
        self.unsaid: deque[tuple[float, bytes | None]] = deque()

    @property
    def mood(self) -> Mood:
        return self.world.moods[self.home]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.world.open[self.home].add(self)
        if self.mood.is_frozen:
            transport.pause_reading()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.world.open[self.home].discard(self)
        self.world.leave(self)

    # --- saying ---

    def say(self, octets: bytes | None) -> None:
        if self.is_stuck:
            return
        if not self.unsaid and not self.mood.delay_s and not self.mood.is_frozen:
            self.write(octets)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self.mood.delay_s
        if self.unsaid:
            due = max(due, self.unsaid[-1][0])
        self.unsaid.append((due, octets))
        loop.call_at(due, self.speak)

    def finish(self) -> None:
        self.say(None)

    def write(self, octets: bytes | None) -> None:
        if octets is None:
            self.transport.close()
        else:
            self.transport.write(octets)

    def speak(self) -> None:
        """Says what is due."""
        now = asyncio.get_running_loop().time()
        while self.unsaid and self.unsaid[0][0] <= now + 0.001 and not self.mood.is_frozen:
            self.write(self.unsaid.popleft()[1])

    # --- commands ---

    def command(self, line: bytes) -> None:
        tag, name, *words = line.split(b" ")
        if name.upper() == b"LOGIN":
            self.user = words[0].strip(b'"').decode()
        if name.upper() == b"FETCH":
            self.fetch(tag, int(words[0]))
        else:
            super().command(line)

    def fetch(self, tag: bytes, n: int) -> None:
        """`n` octets of PATTERN, as the body of a message."""
        head = b"* 1 FETCH (BODY[] {%d}\r\n" % n
        if self.mood.hangs:
            self.say(head + PATTERN[: n // 2])
            self.is_stuck = True
        else:
            self.say(head + PATTERN[:n] + b")\r\n" + tag + b" OK done\r\n")

    def verdict(self, tag: bytes, token: bytes) -> None:
        self.user = base64.b64decode(token).split(b"\0")[1].decode()
        super().verdict(tag, token)

    def answer(self, tag: bytes, good: bool) -> None:
        if self.user in self.world.broken or self.mood.breaks:
            self.transport.abort()
            return
        if self.mood.refuses:
            self.say(tag + b" NO [UNAVAILABLE] come again\r\n")
            return
        good = good and self.world.knows(self.user, self.home)
        if good:
            self.world.enter(self)
        super().answer(tag, good)
        if good and self.mood.drops:
            asyncio.get_running_loop().call_later(0.1, self.transport.abort)

    def has_been_left(self) -> bool:
        """Whether usher has closed it, though the loop has not told us yet."""
        handle = self.transport.get_extra_info("socket")
        if self.transport.is_closing() or handle.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(handle.fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))


class Endpoint:
    def __init__(self, address: str) -> None:
        self.address = address
        self.endpoint = f"{address}:{BACKEND_PORT}"


class Watched:
    """Servers in one thread. `overlaps` has who came to one while on another; stop() when
    done.

    Each server has one of `moods`, which may change at any time. `home_of` says for a user which
    server alone knows it; None: all do. `unwatched` are users of no interest, such as that of probes.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        home_of: Callable[[str], str | None] = lambda user: None,
        unwatched: Collection[str] = (),
    ) -> None:
        self.backends = {name: Endpoint(free_address()) for name in names}
        self.moods = {name: Mood() for name in names}
        self.overlaps: list[tuple[str, str, str]] = []
        self.logins: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.open: dict[str, set[WatchedSession]] = {name: set() for name in names}
        self._home_of = home_of
        self._unwatched = unwatched
        self._servers: dict[str, asyncio.Server] = {}
        self._live: dict[str, set[WatchedSession]] = defaultdict(set)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the watched backends did not start")

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        for name in self.backends:
            self._loop.run_until_complete(self._open(name))
        self._ready.set()
        self._loop.run_forever()
        self._loop.close()

    async def _open(self, name: str) -> None:
        self._servers[name] = await self._loop.create_server(
            lambda: WatchedSession(self, name),
            self.backends[name].address,
            BACKEND_PORT,
            backlog=socket.SOMAXCONN,
        )

    async def _shut(self, name: str) -> None:
        self._servers[name].close()

    async def _feel(self, name: str, mood: Mood) -> None:
        self.moods[name] = mood
        for session in list(self.open[name]):
            if session.transport.is_closing():
                continue
            if mood.is_frozen:
                session.transport.pause_reading()
            else:
                session.transport.resume_reading()
                session.speak()

    async def _count(self, name: str) -> int:
        return sum(
            session.home == name and not session.has_been_left()
            for sessions in self._live.values()
            for session in sessions
        )

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def shut(self, name: str) -> None:
        """Its port refuses connections from now on; live ones go on."""
        self._do(self._shut(name))

    def reopen(self, name: str) -> None:
        """Harmless when it is open."""
        if not self._servers[name].is_serving():
            self._do(self._open(name))

    def feel(self, name: str, mood: Mood) -> None:
        self._do(self._feel(name, mood))

    def break_for(self, user: str) -> None:
        """Connections of this user break at the login, wherever it is."""
        self.broken.add(user)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def knows(self, user: str, name: str) -> bool:
        return self._home_of(user) in (None, name)

    def enter(self, session: WatchedSession) -> None:
        """One who has gone before its login was read is nowhere."""
        if session.user in self._unwatched or session.has_been_left():
            return
        for other in self._live[session.user]:
            if other.home != session.home and not other.has_been_left():
                self.overlaps.append((session.user, other.home, session.home))
        self._live[session.user].add(session)
        self.logins[session.home] += 1

    def leave(self, session: WatchedSession) -> None:
        self._live[session.user].discard(session)

    def homes(self, user: str) -> set[str]:
        """Where the user has sessions now."""
        return {session.home for session in list(self._live[user])}

    def count(self, name: str) -> int:
        """How many logged-in sessions there are on a backend now."""
        return self._do(self._count(name))
