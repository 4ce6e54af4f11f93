"""Backends that see whether a user is ever on two of them."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence

from peers.fakebackend import Session
from peers.process import BACKEND_PORT, free_address


class WatchedSession(Session):
    """One connection to one of the backends; `world` knows those of all."""

    def __init__(self, world: Watched, name: str) -> None:
        super().__init__(name.encode())
        self.world = world
        self.home = name
        self.user = ""

    def command(self, line: bytes) -> None:
        words = line.split(b" ")
        if words[1].upper() == b"LOGIN":
            self.user = words[2].strip(b'"').decode()
        super().command(line)

    def verdict(self, tag: bytes, token: bytes) -> None:
        self.user = base64.b64decode(token).split(b"\0")[1].decode()
        super().verdict(tag, token)

    def answer(self, tag: bytes, good: bool) -> None:
        if self.user in self.world.broken:
            self.transport.abort()
            return
        if good:
            self.world.enter(self)
        super().answer(tag, good)

    def connection_lost(self, error: Exception | None) -> None:
        self.world.leave(self)

    def has_been_left(self) -> bool:
        """Whether usher has closed it, though the loop has not told us yet."""
        handle = self.transport.get_extra_info("socket")
        try:
            with socket.socket(fileno=socket.dup(handle.fileno())) as again:
                return again.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class Endpoint:
    def __init__(self, address: str) -> None:
        self.address = address
        self.endpoint = f"{address}:{BACKEND_PORT}"


class Watched:
    """Servers in one thread. `overlaps` has who came to one while on another; stop() when done."""

    def __init__(self, names: Sequence[str]) -> None:
        self.backends = {name: Endpoint(free_address()) for name in names}
        self.overlaps: list[tuple[str, str, str]] = []
        self.logins: Counter[str] = Counter()
        self.broken: set[str] = set()
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

    def _do(self, work) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def shut(self, name: str) -> None:
        """Its port refuses connections from now on; live ones go on."""
        self._do(self._shut(name))

    def reopen(self, name: str) -> None:
        self._do(self._open(name))

    def break_for(self, user: str) -> None:
        """Connections of this user break at the login, wherever it is."""
        self.broken.add(user)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def enter(self, session: WatchedSession) -> None:
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
