"""An IMAP server that is out to harm its client, and knows its own store well enough to be asked
honestly in between: set `spite` to None, and it is as good as FakeImap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from .fakeimap import FakeImap, Session
from .scripted import Connection, PeerClosed


@dataclass
class Spite:
    """`says` turns what would be sent, whole responses at a time, into something else. `before` is
    called with each command after the login, before it is done, with its name and arguments: True
    for "I have seen to it". `at_line` is called when the first line of a command has come."""

    says: Callable[[SpitefulSession, bytes], bytes] | None = None
    before: Callable[[SpitefulSession, str, str], bool] | None = None
    at_line: Callable[[SpitefulSession, bytes], None] | None = None


class SpitefulImap(FakeImap):
    spite: Spite | None = None

    def begin(self, connection: Connection) -> Session:
        return SpitefulSession(connection, self)


class SpitefulSession(Session):
    server: SpitefulImap

    def send(self, *parts: bytes) -> None:
        octets = b"".join(parts)
        spite = self.server.spite
        if spite and spite.says and self.is_logged_in:
            octets = spite.says(self, octets)
        self.connection.send(octets)

    def bare(self, octets: bytes) -> None:
        """As it is."""
        self.connection.send(octets)

    def close(self) -> NoReturn:
        """At once: what has come is not looked at any more."""
        self.connection.reset()
        raise PeerClosed

    def literal_refusal(self, pieces: list[bytes], size: int, is_free: bool) -> str:
        spite = self.server.spite
        if spite and spite.at_line and len(pieces) == 1:
            spite.at_line(self, pieces[0])
        return super().literal_refusal(pieces, size, is_free)

    def dispatch(self, pieces: list[bytes]) -> bool:
        spite = self.server.spite
        if spite and spite.before and self.is_logged_in:
            name, arguments = self.note_command(pieces)
            if spite.before(self, name, arguments):
                return True
            self.server.log.pop()
        return super().dispatch(pieces)


# ---- turning what is said ----


def replacing(pattern: bytes, by: bytes | Callable[[re.Match[bytes]], bytes]) -> Spite:
    """Replaces in all that is said."""
    return Spite(says=lambda session, octets: re.sub(pattern, by, octets))


def adding(before: bytes, to: bytes) -> Spite:
    """Says `before` first, whenever `to` is in what is said."""
    return Spite(says=lambda session, octets: before + octets if to in octets else octets)


def flood(session: SpitefulSession, piece: bytes, most: int = 1 << 40) -> None:
    """Says it over and over, until the client has gone."""
    block = piece * (1 + 65536 // len(piece))
    sent = 0
    while sent < most:
        session.bare(block)
        sent += len(block)
