"""A small DNS server on loopback: A and AAAA from a table that may change while it runs."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass

from .process import free_address

PORT = 5353
TYPES = {1: "A", 28: "AAAA"}
NO_ERROR, SERVER_FAILURE, NO_SUCH_NAME = 0, 2, 3


@dataclass
class Name:
    """What a name has: IPv4 and IPv6 addresses, and for how many seconds they hold."""

    addresses: tuple[str, ...]
    ttl: int = 60


class DnsServer:
    """Answers from `names` (lower case, without the last dot); a name not in it does not exist.

    Set `is_failing` for SERVFAIL to everything, `is_silent` for no answer at all. `queries` counts
    (name, type) pairs that were asked.
    """

    def __init__(self, names: dict[str, Name] | None = None) -> None:
        self.names = dict(names or {})
        self.is_failing = False
        self.is_silent = False
        self.queries: Counter[tuple[str, str]] = Counter()
        self.address = free_address(PORT)
        self.port = PORT
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, self.port))
        self.thread = threading.Thread(target=self._serve, name="dns", daemon=True)
        self.thread.start()

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def stop(self) -> None:
        # A datagram too short for a query ends the loop, which closes the socket.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(b"", (self.address, self.port))
        self.thread.join()

    def _serve(self) -> None:
        with self.socket:
            while True:
                query, client = self.socket.recvfrom(4096)
                if not query:
                    return
                if answer := self._answer(query):
                    self.socket.sendto(answer, client)

    def _answer(self, query: bytes) -> bytes:
        name, end = read_name(query, 12)
        kind = TYPES.get(struct.unpack_from("!H", query, end)[0], "other")
        self.queries[name, kind] += 1
        if self.is_silent:
            return b""
        question = query[12 : end + 4]
        known = self.names.get(name)
        status = SERVER_FAILURE if self.is_failing else NO_ERROR if known else NO_SUCH_NAME
        records = []
        if known and status == NO_ERROR:
            for text in known.addresses:
                address = ipaddress.ip_address(text)
                if kind == ("A" if address.version == 4 else "AAAA"):
                    records.append(record(address.packed, known.ttl))
        # Response, authoritative, recursion desired and available.
        head = query[:2] + struct.pack("!HHHHH", 0x8580 | status, 1, len(records), 0, 0)
        return head + question + b"".join(records)


def read_name(message: bytes, at: int) -> tuple[str, int]:
    """A name without compression, and the index behind it."""
    labels = []
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), at + 1


def record(packed: bytes, ttl: int) -> bytes:
    """An A or AAAA record for the name in the question, to which its first two octets point."""
    kind = 1 if len(packed) == 4 else 28
    return struct.pack("!HHHIH", 0xC00C, kind, 1, ttl, len(packed)) + packed
