"""Mail as nobody wishes it: a corpus of messages and folders' names that programs stumble over, the
same for the same seed, and a fast way to put it into an account."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .account import Name, name_at, to_utf7
from .mailgen import big_message, generate
from .rawimap import Answer, RawImap

MIB = 1 << 20
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
SYSTEM = ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")
KEYWORDS = tuple(
    ["$Forwarded", "$MDNSent", "$Junk", "NonJunk", "Work.2024", "a", "UPPER", "with-dash"]
    + [f"keyword{number:02}" for number in range(52)]
)
# Of those that store a date in 32 bits without a sign, none can keep the first two.
DATES = (
    "31-Dec-1969 23:59:58 +0000",
    "01-Jan-1969 12:00:00 -0800",
    "01-Jan-1970 00:00:01 +0000",
    "29-Feb-2000 23:30:00 +1400",
    "31-Dec-2011 12:00:00 -1200",
    "19-Jan-2038 03:14:08 +0530",
    "31-Oct-2023 02:30:00 +0545",
    "31-Dec-2099 23:59:59 +0000",
    "01-Jan-2100 00:00:00 -0330",
)

# Levels of names. A server may refuse some of them.
ODD_LEVELS = (
    "with blank",
    " leading",
    "trailing ",
    'quo"te',
    "back\\slash",
    "per%cent",
    "as*terisk",
    "amper&sand",
    "&",
    "&-",
    "~tilde",
    "#hash",
    "(brackets)",
    "{12}",
    "[list]",
    "NIL",
    "inbox2",
    "日本語",
    "台北/not".replace("/", "-"),
    "Ünïcödé",
    "e\u0301 combining",
    "📬 emoji",
    "dots.in.it",
    ".dot first",
    "a..b",
    "x" * 190,
    "日" * 60,
    "semi;colon, comma",
    "'single'",
    "tab-less",
    "100",
    "null",
    "CON",
)


@dataclass(frozen=True)
class Item:
    """A message to be put into a folder. `date` is as in APPEND, "" none."""

    raw: bytes
    flags: tuple[str, ...] = ()
    date: str = "07-Feb-2024 21:52:25 -0800"


@dataclass
class Corpus:
    """What an account is to hold. Folders are in the order in which they are made."""

    folders: dict[Name, list[Item]] = field(default_factory=dict)
    subscribed: set[Name] = field(default_factory=set)

    def messages(self) -> int:
        return sum(len(items) for items in self.folders.values())

    def bytes(self) -> int:
        return sum(len(item.raw) for items in self.folders.values() for item in items)


def small(number: int, size: int = 0, about: str = "") -> bytes:
    """A plain message that differs from every other; about `size` bytes, if that is not less than it
    takes."""
    head = (
        f"From: eve@example.org\r\nTo: ann@example.org\r\n"
        f"Date: Wed, 7 Feb 2024 21:{number // 60 % 60:02}:{number % 60:02} -0800\r\n"
        f"Message-ID: <{number}.{about.replace(' ', '-')}@example.org>\r\n"
        f"Subject: {about or 'message'} {number}\r\n\r\n"
    ).encode()
    line = b"%08d 0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRS\r\n" % number
    return head + line * max(1, (size - len(head)) // len(line))


def odd_messages(big: int) -> Iterator[Item]:
    """One of each kind; the biggest has `big` bytes."""
    plain = small(1, about="odd")
    yield Item(b"")
    yield Item(b"\r\n")
    yield Item(b"From: eve@example.org\r\nSubject: header only\r\n\r\n")
    yield Item(b"From: eve@example.org\r\nSubject: header without its end\r\n")
    yield Item(b"\r\nno header at all\r\n")
    yield Item(b"this is no header: neither is this\r\nnor that\r\n\r\nbody\r\n")
    yield Item(b"Subject: no line end at the end\r\n\r\nlast line")
    yield Item(b"Subject: gr\xfc\xdfe in 8 bit\r\nFrom: \xe9ve@example.org\r\n\r\nb\xf6dy \x80\xff\r\n")
    yield Item("Subject: Grüße 日本 as UTF-8\r\n\r\nböse 📬\r\n".encode())
    yield Item(b"Subject: line of a megabyte\r\n\r\n" + b"x" * MIB + b"\r\n")
    yield Item(b"Subject: header of 100 KB\r\nX-Long: " + b"y" * 100_000 + b"\r\n\r\nbody\r\n")
    yield Item(b"Subject: many fields\r\n" + b"Received: from a by b\r\n" * 2000 + b"\r\nbody\r\n")
    yield Item(b"Subject: folded\r\n  over\r\n\tlines \r\n\r\nbody\r\n")
    yield Item(b"Subject: lone\rCR\r\n\r\na\rb\r\r\nc\r\n")
    yield Item(b"Subject: dots and From\r\n\r\n.\r\n..\r\nFrom here\r\n>From there\r\n)\r\n* BYE\r\n")
    yield Item(b"Subject: control\x01\x07\x1b[2J\r\n\r\n\x02\x7f\r\n")
    # Identity: no Message-Id, equal ones, equal messages.
    yield Item(b"From: a@example.org\r\nSubject: no id\r\n\r\none\r\n")
    yield Item(b"From: a@example.org\r\nSubject: no id\r\n\r\ntwo\r\n")
    same = b"From: a@example.org\r\nMessage-ID: <same@example.org>\r\nSubject: same id %s\r\n\r\n%s\r\n"
    yield Item(same % (b"one", b"1"))
    yield Item(same % (b"two", b"2"))
    yield Item(same % (b"one", b"another body of other length"))
    draft = b"From: ann@example.org\r\nDate: Wed, 7 Feb 2024 21:52:25 -0800\r\nSubject: draft\r\n\r\n"
    for body in (b"version 1\r\n", b"version 2\r\n", b"version 3 is longer\r\n"):
        yield Item(draft + body, ("\\Draft", "\\Seen"))
    for copies in (2, 3):
        for _ in range(copies):
            yield Item(plain + b"there are %d of me\r\n" % copies)
    yield Item(plain + b"two of me, one is seen\r\n")
    yield Item(plain + b"two of me, one is seen\r\n", ("\\Seen",))
    yield Item(big_message(big))


def flagged_messages() -> Iterator[Item]:
    """All system flags in all combinations, and keywords up to all sixty at once."""
    for bits in range(1 << len(SYSTEM)):
        flags = tuple(flag for place, flag in enumerate(SYSTEM) if bits >> place & 1)
        yield Item(small(bits, about="flags"), flags)
    for number, keyword in enumerate(KEYWORDS):
        yield Item(small(number, about="keyword"), (keyword,))
    yield Item(small(1, about="all keywords"), KEYWORDS)
    yield Item(small(2, about="all flags"), (*SYSTEM, *KEYWORDS[:20]))


def dated_messages() -> Iterator[Item]:
    for number, date in enumerate(DATES):
        yield Item(small(number, about="dated"), date=date)


def usual_messages(count: int, seed: int = 1) -> Iterator[Item]:
    """Real-looking mail."""
    for mail in generate(count, seed):
        date = f"{mail.date.day:02}-{MONTHS[mail.date.month - 1]}-{mail.date:%Y %H:%M:%S %z}"
        yield Item(mail.raw, tuple(sorted(mail.flags | mail.keywords)), date)


def plain_messages(count: int, size: int = 0, about: str = "plain", first: int = 1) -> Iterator[Item]:
    for number in range(first, first + count):
        yield Item(small(number, size, about), ("\\Seen",) if number % 3 else ())


def nasty(big: int = 3 * MIB, names: int = 0, seed: int = 1, usual: int = 30) -> Corpus:
    """Everything at once; `names` odd folders more than there are odd levels."""
    draw = random.Random(seed)
    corpus = Corpus()
    corpus.folders[("INBOX",)] = list(usual_messages(usual, seed))
    corpus.folders[("odd",)] = list(odd_messages(big))
    corpus.folders[("flags",)] = list(flagged_messages())
    corpus.folders[("dates",)] = list(dated_messages())
    corpus.folders[("empty",)] = []
    corpus.folders[("INBOX", "below")] = list(plain_messages(2, about="below"))
    deep: Name = ()
    for depth in range(8):
        deep = (*deep, f"level {depth}")
        corpus.folders[deep] = list(plain_messages(1, about=f"depth{depth}"))
    for number, level in enumerate(ODD_LEVELS):
        corpus.folders[(level,)] = list(plain_messages(1, about=f"name{number}"))
        if number % 4 == 0:
            corpus.folders["parent", level] = list(plain_messages(1, about=f"below{number}"))
    # Each is unlike the others also where the case of letters, or dots, do not count.
    alphabet = [*"abc-_+=!@$^ ", "ß", "語", "ñ", "😀"]
    for number in range(names):
        word = "".join(draw.choices(alphabet, k=draw.randint(1, 20))).strip()
        where = (f"many{number % 7}", f"{number:04}{word}")
        corpus.folders[where] = list(plain_messages(1, about=f"many{number}")) if number % 3 else []
    corpus.subscribed = {name for place, name in enumerate(corpus.folders) if place % 3 != 1}
    return corpus


# ---- putting it there ----

BATCH_MESSAGES = 500
BATCH_BYTES = 4 << 20


@dataclass
class Filled:
    """What became of a corpus: names and messages that the server has refused."""

    folders: list[tuple[Name, bytes]] = field(default_factory=list)
    messages: list[tuple[Name, int, bytes]] = field(default_factory=list)


def fill(imap: RawImap, corpus: Corpus, prefix: str = "", separator: str = "/") -> Filled:
    """Makes folders, subscribes and appends over a connection that is logged in to a server with
    LITERAL+. Folders that it refuses are told and left out, and so are messages."""
    filled = Filled()
    known = capabilities(imap)
    for name, items in corpus.folders.items():
        if any(separator in level for level in name):
            filled.folders.append((name, b"has the separator"))
            continue
        wire = to_utf7(name_at(name, prefix, separator))
        if name != ("INBOX",):
            answer = command(imap, b"CREATE", wire)
            if answer.status != "OK" and answer.code != "ALREADYEXISTS":
                filled.folders.append((name, answer.text))
                continue
        if name in corpus.subscribed:
            command(imap, b"SUBSCRIBE", wire)
        refused = append_all(imap, wire, items, "MULTIAPPEND" in known)
        filled.messages += ((name, index, text) for index, text in refused)
    return filled


def capabilities(imap: RawImap) -> set[str]:
    """What the server can do, after the login."""
    return {word.upper() for word in imap.capabilities()}


def command(imap: RawImap, word: bytes, wire: str) -> Answer:
    name = wire.encode()
    return imap.command(word + b" {%d+}\r\n%s" % (len(name), name))


def append_all(
    imap: RawImap, wire: str, items: Iterable[Item], with_multiappend: bool = True
) -> list[tuple[int, bytes]]:
    """Appends in large batches, or, where there is trouble, one by one. Returns who was refused."""
    refused = []
    batch: list[tuple[int, Item]] = []
    total = 0
    for index, item in enumerate(items):
        if batch and (total + len(item.raw) > BATCH_BYTES or len(batch) == BATCH_MESSAGES):
            refused += append_batch(imap, wire, batch, with_multiappend)
            batch, total = [], 0
        batch.append((index, item))
        total += len(item.raw)
    if batch:
        refused += append_batch(imap, wire, batch, with_multiappend)
    return refused


def append_batch(
    imap: RawImap, wire: str, batch: list[tuple[int, Item]], with_multiappend: bool
) -> list[tuple[int, bytes]]:
    # An empty message ends a MULTIAPPEND, for some servers.
    if len(batch) > 1 and with_multiappend and all(item.raw for _, item in batch):
        if imap.finish(send_append(imap, wire, [item for _, item in batch])).status == "OK":
            return []
    tags = []
    refused = []
    for index, item in batch:
        tags.append((index, send_append(imap, wire, [item])))
        if len(tags) == 50:
            refused += finish_all(imap, tags)
    return refused + finish_all(imap, tags)


def finish_all(imap: RawImap, tags: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    answers = [(index, imap.finish(tag)) for index, tag in tags]
    tags.clear()
    return [(index, answer.text) for index, answer in answers if answer.status != "OK"]


def send_append(imap: RawImap, wire: str, items: list[Item]) -> bytes:
    """Sends an APPEND and returns its tag."""
    name = wire.encode()
    tag = imap.next_tag()
    parts = [tag + b" APPEND {%d+}\r\n%s" % (len(name), name)]
    for item in items:
        parts.append(f" ({' '.join(item.flags)})".encode())
        if item.date:
            parts.append(f' "{item.date}"'.encode())
        parts.append(b" {%d+}\r\n" % len(item.raw))
        parts.append(item.raw)
    parts.append(b"\r\n")
    imap.send(b"".join(parts))
    return tag


def normal(raw: bytes) -> bytes:
    """With each line's end as CRLF."""
    return re.sub(rb"\r?\n", b"\r\n", raw)
