"""What a fake IMAP server keeps in memory, and the ways in which it is unlike a good one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from .corpus import Item

CAPABILITIES = (
    "IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN ID ENABLE NAMESPACE UIDPLUS MULTIAPPEND LIST-EXTENDED "
    "LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE CHILDREN CONDSTORE ESEARCH UNSELECT"
).split()
SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
DATE = "%d-%b-%Y %H:%M:%S %z"


@dataclass
class Stored:
    """A message. `date` is as FETCH tells it."""

    uid: int
    raw: bytes
    flags: set[str]
    date: str
    modseq: int

    def moment(self) -> datetime:
        return datetime.strptime(self.date.strip(), DATE)


@dataclass
class StoredFolder:
    """A folder; `wire` is its name in modified UTF-7. `gone` has the UIDs of what was expunged, with the
    MODSEQ of that, as far as it is remembered."""

    wire: str
    uidvalidity: int
    uidnext: int = 1
    modseq: int = 1
    messages: list[Stored] = field(default_factory=list)
    is_subscribed: bool = False
    is_selectable: bool = True
    use: str = ""
    gone: dict[int, int] = field(default_factory=dict)
    acl: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)  # annotations

    def add(self, raw: bytes, flags: Iterable[str], date: str) -> Stored:
        self.modseq += 1
        stored = Stored(self.uidnext, raw, set(flags), date, self.modseq)
        self.uidnext += 1
        self.messages.append(stored)
        return stored

    def touch(self, stored: Stored) -> None:
        self.modseq += 1
        stored.modseq = self.modseq

    def vanished(self, since: int) -> list[int]:
        """The UIDs of what has gone since; and of all that is not there, whose end is not remembered."""
        there = {one.uid for one in self.messages}
        return [
            uid
            for uid in range(1, self.uidnext)
            if uid not in there and self.gone.get(uid, since + 1) > since
        ]

    def keywords(self) -> set[str]:
        return {flag for one in self.messages for flag in one.flags if not flag.startswith("\\")}


class Store:
    """One account's folders by their names on the wire, INBOX by that of `inbox`. `lock` is held by
    whoever looks or changes."""

    def __init__(self, separator: str = "/", prefix: str = "", inbox: str = "INBOX") -> None:
        self.inbox = inbox
        self.separator = separator
        self.prefix = prefix
        self.lock = threading.RLock()
        self.serial = 1000
        self.folders: dict[str, StoredFolder] = {}
        self.create(inbox)

    def create(self, wire: str, use: str = "") -> StoredFolder:
        with self.lock:
            self.serial += 1
            folder = StoredFolder(wire, self.serial, use=use)
            self.folders[wire] = folder
            return folder

    def find(self, wire: str) -> StoredFolder | None:
        return self.folders.get(self.inbox if wire.upper() == "INBOX" else wire)

    def fill(self, wire: str, items: Iterable[Item]) -> StoredFolder:
        """Adds messages to a folder, which is made if it is missing."""
        with self.lock:
            folder = self.find(wire) or self.create(wire)
            for item in items:
                folder.add(item.raw, item.flags, item.date)
            return folder

    def renumber(self, wire: str) -> None:
        """Gives a folder another UIDVALIDITY and its messages other UIDs, as after a repair."""
        with self.lock:
            folder = self.folders[wire]
            self.serial += 1
            folder.uidvalidity = self.serial
            for uid, message in enumerate(folder.messages, 1):
                message.uid = uid
            folder.uidnext = len(folder.messages) + 1
            folder.gone.clear()

    def bytes(self) -> int:
        return sum(len(one.raw) for folder in self.folders.values() for one in folder.messages)


@dataclass
class Ways:
    """How a fake server is. A new value holds for what comes from then on.

    `refuses` is asked for every message of an APPEND, with its bytes, flags and date: what follows
    NO, or None. `stores` says what becomes of the bytes, None: nothing, though the answer is OK.
    `vanished` is given the UIDs of what has gone, and returns the sets that are told by VANISHED
    (EARLIER), where QRESYNC is offered (by `offers`), enabled and asked for.
    `on_command` is asked before each command after the login, with the number that it has among all
    that the server was given, its name and its arguments: a tagged answer in place of the usual one,
    without the tag, b"" for the end of the connection without a word, or None.
    """

    without: Collection[str] = ()  # capabilities
    offers: Collection[str] = ()  # further ones, such as LITERAL-, which are obeyed too
    refuses: Callable[[bytes, set[str], str], bytes | None] | None = None
    stores: Callable[[bytes], bytes | None] = lambda raw: raw
    vanished: Callable[[list[int]], list[str]] | None = None
    on_command: Callable[[int, str, str], bytes | None] | None = None
    answers_early: bool = False  # NO comes at the bad message, the others of the batch are passed over
    quota: int | None = None  # bytes of the account
    batch_most: int | None = None  # messages of a MULTIAPPEND
    cancels: bool = True  # an empty message among others is NO to all (RFC 3502 section 6.3.11)
    message_most: int | None = None  # bytes
    size: Callable[[bytes], int] = len  # what RFC822.SIZE says
    uid_is_last: bool = False  # in FETCH
    tells_appenduid: bool = True
    keywords: str = "any"  # "none": they are not kept, and it is told; "refused": NO
    keywords_most: int | None = None  # of a folder
    oldest: datetime | None = None  # dates before are refused
    body: Callable[[int, bytes], bytes | None] = lambda uid, raw: raw  # what BODY[] has; None: NIL
    delay_s: float = 0.0  # before each answer
    logins: list[bytes] = field(default_factory=list)  # what the next logins are answered; "*": untagged
    commands_a_connection: int | None = None  # BYE then
    bye: bytes = b"Too busy"

    def capabilities(self) -> list[str]:
        left_out = {word.upper() for word in self.without}
        return [word for word in CAPABILITIES if word.upper() not in left_out] + list(self.offers)

    def can(self, word: str) -> bool:
        return word in self.capabilities()
