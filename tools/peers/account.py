"""All that an IMAP account holds, as Python's imaplib reads it, and what two of them have that differs.

Nothing here knows of usher: this is the independent reader by which its syncs are judged.
"""

from __future__ import annotations

import base64
import contextlib
import email.header
import hashlib
import imaplib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

FETCH_BYTES = 8 << 20
FETCH_MESSAGES = 500
DATE = "%d-%b-%Y %H:%M:%S %z"
NO_SELECT = {"\\noselect", "\\nonexistent"}

# A folder's name: its levels without the prefix of the namespace and without the separator.
Name = tuple[str, ...]
INBOX: Name = ("INBOX",)


@dataclass(frozen=True)
class Server:
    """Where an account is read; `user` logs in with `password`."""

    address: str
    port: int
    user: str
    password: str

    @contextlib.contextmanager
    def open(self) -> Iterator[imaplib.IMAP4]:
        imap = imaplib.IMAP4(self.address, self.port, timeout=60)
        try:
            imap.login(self.user, self.password)
            yield imap
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                imap.logout()


@dataclass(frozen=True)
class Message:
    """One message. Flags are in lower case; \\Recent is not among them."""

    uid: int
    flags: frozenset[str]
    date: datetime | None
    digest: str
    size: int
    subject: str

    def what(self) -> tuple[str, frozenset[str], float | None]:
        """All that must be the same at both sides."""
        return self.digest, self.flags, self.date.timestamp() if self.date else None

    def zone(self) -> float:
        """Minutes east of Greenwich, as the server tells the date."""
        offset = self.date.utcoffset() if self.date else None
        return offset.total_seconds() / 60 if offset else 0.0

    def __str__(self) -> str:
        flags = " ".join(sorted(self.flags))
        return f"UID {self.uid} {self.subject!r} ({self.size} bytes, {self.date}, [{flags}])"


@dataclass
class Folder:
    """One folder. `messages` are in order of UIDs; there are none of what cannot be selected."""

    wire: str
    is_selectable: bool = True
    is_subscribed: bool = False
    use: str = ""
    uidvalidity: int = 0
    uidnext: int = 0
    modseq: int = 0
    messages: list[Message] = field(default_factory=list)


@dataclass
class Snapshot:
    """An account at one moment."""

    prefix: str
    separator: str
    folders: dict[Name, Folder] = field(default_factory=dict)

    def messages(self) -> int:
        return sum(len(folder.messages) for folder in self.folders.values())

    def marks(self) -> dict[Name, tuple[int, int, int]]:
        """What moves when somebody writes: UIDVALIDITY, UIDNEXT and HIGHESTMODSEQ of each folder."""
        return {
            name: (folder.uidvalidity, folder.uidnext, folder.modseq)
            for name, folder in self.folders.items()
        }

    def name_of(self, name: Name) -> str:
        """As the server calls it, in Unicode."""
        return name_at(name, self.prefix, self.separator)


def name_at(name: Name, prefix: str, separator: str) -> str:
    """A name where folders are called with this prefix and separator."""
    joined = separator.join(name)
    return joined if name[0] == "INBOX" and (len(name) == 1 or not prefix) else prefix + joined


# ---- reading ----


def snapshot(server: Server, wants: Callable[[Name], bool] = lambda name: True) -> Snapshot:
    """Reads all folders, or those that are wanted."""
    with server.open() as imap:
        prefix, separator = namespace(imap)
        taken = Snapshot(from_utf7(prefix), separator)
        subscribed = {name for name, _ in listed(imap.lsub('""', '"*"'))}
        for wire, attributes in listed(imap.list('""', '"*"')):
            name = levels(from_utf7(wire), taken.prefix, separator)
            lower = {word.lower() for word in attributes}
            if not wants(name):
                continue
            folder = Folder(wire, not lower & NO_SELECT, wire in subscribed)
            uses = [word for word in attributes if word.lower() in SPECIAL_USES]
            folder.use = uses[0] if uses else ""
            if folder.is_selectable:
                read_folder(imap, folder)
            # A prefix "INBOX." makes room for an INBOX.INBOX, which is there if anything is below it.
            if name not in taken.folders or not taken.folders[name].is_selectable:
                taken.folders[name] = folder
            elif folder.is_selectable:
                raise RuntimeError(f"two folders {name}: {folder.wire}, {taken.folders[name].wire}")
    return taken


SPECIAL_USES = {"\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash"}


def namespace(imap: imaplib.IMAP4) -> tuple[str, str]:
    """Prefix and separator of the user's own folders."""
    if "NAMESPACE" in capabilities(imap):
        _, answer = imap.namespace()
        found = re.match(rb'\(\("((?:[^"\\]|\\.)*)" (?:"\\?(.)"|NIL)', answer[0])
        if found:
            return found[1].decode(), (found[2] or b"").decode()
    _, answer = imap.list('""', '""')
    found = re.search(rb'\) (?:"\\?(.)"|NIL) ', answer[0])
    return "", (found[1] or b"").decode() if found else ""


def capabilities(imap: imaplib.IMAP4) -> set[str]:
    _, answer = imap.capability()
    return set(answer[0].decode().upper().split())


def listed(answer: tuple[str, list]) -> Iterator[tuple[str, list[str]]]:
    """Names on the wire and attributes, of what LIST or LSUB have answered."""
    status, rows = answer
    if status != "OK":
        raise RuntimeError(f"LIST: {rows!r}")
    for row in rows:
        if row is None or row == b"":
            continue
        literal = row[1] if isinstance(row, tuple) else None
        line = row[0] if isinstance(row, tuple) else row
        found = re.match(rb'\(([^)]*)\) (?:"\\?.?"|NIL) (.*)$', line, re.DOTALL)
        if not found:
            raise RuntimeError(f"LIST: {row!r}")
        name = found[2] if literal is None else literal
        if literal is None and name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
        yield name.decode(), found[1].decode().split()


def levels(name: str, prefix: str, separator: str) -> Name:
    """A server's name without prefix and separator. INBOX is in capitals, in any case of letters."""
    if prefix and name.startswith(prefix) and name != prefix:
        name = name[len(prefix) :]
    split = name.split(separator) if separator else [name]
    if split[0].upper() == "INBOX":
        split[0] = "INBOX"
    return tuple(split)


def quoted(wire: str) -> str:
    """A name for a command of imaplib."""
    return '"' + wire.replace("\\", "\\\\").replace('"', '\\"') + '"'


def read_folder(imap: imaplib.IMAP4, folder: Folder) -> None:
    status, answer = imap.select(quoted(folder.wire), readonly=True)
    if status != "OK":
        raise RuntimeError(f"EXAMINE {folder.wire}: {answer!r}")
    folder.uidvalidity, folder.uidnext = (code(imap, word) for word in ("UIDVALIDITY", "UIDNEXT"))
    folder.modseq = code(imap, "HIGHESTMODSEQ")
    sizes = []
    if int(answer[0]):
        status, rows = imap.fetch("1:*", "(UID RFC822.SIZE)")
        if status != "OK":
            raise RuntimeError(f"FETCH of {folder.wire}: {rows!r}")
        for row in rows:
            uid, size = (int(re.search(word + rb" (\d+)", row)[1]) for word in (b"UID", b"SIZE"))
            sizes.append((uid, size))
    for batch in batches(sorted(sizes)):
        wanted = "(UID FLAGS INTERNALDATE BODY.PEEK[])"
        status, rows = imap.uid("FETCH", f"{batch[0]}:{batch[-1]}", wanted)
        if status != "OK":
            raise RuntimeError(f"FETCH of {folder.wire}: {rows!r}")
        folder.messages += sorted(fetched(rows), key=lambda message: message.uid)
    if len(folder.messages) != len(sizes):
        raise RuntimeError(f"{folder.wire}: {len(sizes)} messages listed, {len(folder.messages)} read")


def code(imap: imaplib.IMAP4, word: str) -> int:
    _, values = imap.response(word)
    return int(values[0]) if values and values[0] else 0


def batches(sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """UIDs, so many at a time that they are not too long together."""
    batch: list[int] = []
    total = 0
    for uid, size in sizes:
        if batch and (len(batch) == FETCH_MESSAGES or total + size > FETCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(uid)
        total += size
    if batch:
        yield batch


def fetched(rows: list) -> Iterator[Message]:
    """Messages from imaplib's answer, wherever in a response the attributes stand."""
    for number, row in enumerate(rows):
        behind = rows[number + 1] if number + 1 < len(rows) else b""
        behind = behind if isinstance(behind, bytes) else b""
        if isinstance(row, tuple):
            yield message(row[0] + b" " + behind, row[1])
        elif found := re.search(rb'BODY\[\] (""|NIL)', row):
            yield message(row.replace(found[0], b""), b"")


def message(about: bytes, raw: bytes) -> Message:
    uid = re.search(rb"UID (\d+)", about)
    flags = re.search(rb"FLAGS \(([^)]*)\)", about)
    date = re.search(rb'INTERNALDATE "([^"]+)"', about)
    if not uid or not flags:
        raise RuntimeError(f"FETCH: {about!r}")
    words = (word.decode().lower() for word in flags[1].split())
    return Message(
        int(uid[1]),
        frozenset(word for word in words if word != "\\recent"),
        datetime.strptime(date[1].decode().strip(), DATE) if date else None,
        hashlib.sha256(raw).hexdigest(),
        len(raw),
        subject_of(raw),
    )


def subject_of(raw: bytes) -> str:
    head = re.split(rb"\r?\n\r?\n", raw[:65536], maxsplit=1)[0]
    found = re.search(rb"(?im)^subject:[ \t]*((?:[^\r\n]|\r?\n[ \t])*)", head)
    if not found:
        return ""
    text = re.sub(rb"\r?\n([ \t])", rb"\1", found[1]).decode("utf-8", "replace")
    with contextlib.suppress(ValueError, LookupError):
        text = str(email.header.make_header(email.header.decode_header(text)))
    return text.strip()


# ---- modified UTF-7, RFC 3501 section 5.1.3 ----


def from_utf7(wire: str) -> str:
    def decoded(found: re.Match) -> str:
        if not found[1]:
            return "&"
        text = found[1].replace(",", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-16-be")

    return re.sub(r"&([^-]*)-", decoded, wire)


def to_utf7(name: str) -> str:
    def encoded(found: re.Match) -> str:
        if found[0] == "&":
            return "&-"
        text = base64.b64encode(found[0].encode("utf-16-be")).decode()
        return "&" + text.rstrip("=").replace("/", ",") + "-"

    return re.sub(r"&|[^\x20-\x7e]+", encoded, name)


# ---- comparing ----


@dataclass(frozen=True)
class Difference:
    """Something that one account has otherwise than the other. `what` is one of "missing", "extra",
    "flags", "date", "zone", "order", "folder", "extra folder", "subscription", "use"."""

    what: str
    folder: Name
    source: Message | None = None
    target: Message | None = None

    def __str__(self) -> str:
        sides = " / ".join(str(side) for side in (self.source, self.target) if side)
        return f"{self.what} in {'/'.join(self.folder)}: {sides}"


def differences(
    source: Snapshot,
    target: Snapshot,
    names: Callable[[Name], Name | None] = lambda name: name,
    only: Callable[[Message], bool] = lambda message: True,
    with_zones: bool = False,
) -> list[Difference]:
    """How `target` differs from what `source` should have become. `names` says what a folder is
    called there, None: that it is left out; `only`, which messages of the source should be there.
    Most servers keep the moment of arrival without its zone: that is compared `with_zones`."""
    found = []
    expected = {}
    for name, folder in source.folders.items():
        there = names(name)
        if there is None:
            continue
        expected[there] = name
        if there not in target.folders:
            if folder.is_selectable:
                found.append(Difference("folder", name))
            continue
        other = target.folders[there]
        messages = [message for message in folder.messages if only(message)]
        told = folder_differences(name, messages, other.messages)
        found += (one for one in told if with_zones or one.what != "zone")
        if folder.is_subscribed and not other.is_subscribed:
            found.append(Difference("subscription", name))
    for name, folder in target.folders.items():
        if name not in expected and (folder.messages or name != INBOX) and folder.is_selectable:
            found.append(Difference("extra folder", name))
    return found


def folder_differences(
    name: Name, source: list[Message], target: list[Message]
) -> Iterator[Difference]:
    """Pairs messages of equal bytes, those that agree in all else first, and tells what is left."""
    waiting: dict[str, list[Message]] = {}
    for message in target:
        waiting.setdefault(message.digest, []).append(message)
    pairs = []
    open_: list[Message] = []
    exact = Counter(message.what() for message in target)
    for message in source:
        if exact[message.what()]:
            exact[message.what()] -= 1
            partner = next(m for m in waiting[message.digest] if m.what() == message.what())
            waiting[message.digest].remove(partner)
            pairs.append((message, partner))
        else:
            open_.append(message)
    for message in open_:
        if not waiting.get(message.digest):
            yield Difference("missing", name, source=message)
            continue
        partner = waiting[message.digest].pop(0)
        pairs.append((message, partner))
        if message.flags != partner.flags:
            yield Difference("flags", name, message, partner)
        if message.what()[2] != partner.what()[2]:
            yield Difference("date", name, message, partner)
    for rest in waiting.values():
        for message in rest:
            yield Difference("extra", name, target=message)
    for one, other in pairs:
        if one.what()[2] == other.what()[2] and one.zone() != other.zone():
            yield Difference("zone", name, one, other)
    yield from order_differences(name, pairs)


def order_differences(name: Name, pairs: list[tuple[Message, Message]]) -> Iterator[Difference]:
    """Pairs whose target stands before that of an earlier message of the source. Equal messages
    may stand for each other."""
    ordered: dict[tuple, list[int]] = {}
    for _, other in pairs:
        ordered.setdefault(other.what(), []).append(other.uid)
    for uids in ordered.values():
        uids.sort(reverse=True)
    highest = 0
    for one, other in sorted(pairs, key=lambda pair: pair[0].uid):
        uid = ordered[other.what()].pop()
        if uid < highest:
            yield Difference("order", name, one, other)
        highest = max(highest, uid)


def told(found: list[Difference], most: int = 20) -> str:
    """For a failed test."""
    lines = [str(difference) for difference in found[:most]]
    if len(found) > most:
        lines.append(f"... and {len(found) - most} more")
    return "\n".join(lines)
