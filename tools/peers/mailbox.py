"""Filling a mailbox with generated mail, and reading one back to compare."""

from __future__ import annotations

import hashlib
import imaplib
import os
import re
import socket
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .mailgen import Mail

MAILDIR_LETTERS = {
    "\\Seen": "S",
    "\\Answered": "R",
    "\\Flagged": "F",
    "\\Draft": "D",
    "\\Deleted": "T",
}
FETCH_BATCH = 200
MBSYNC_MARK = re.compile(rb"^X-TUID: \S+\r?\n", re.MULTILINE)

# What a mailbox holds: how often each (digest of the message, flags and keywords) occurs.
Contents = Counter[tuple[str, frozenset[str]]]


def entry(raw: bytes, flags: Iterable[str]) -> tuple[str, frozenset[str]]:
    r"""One message, as `Contents` counts it: line ends made CRLF, without \Recent, and without the
    header line that mbsync puts into what it carries."""
    kept = frozenset(flag for flag in flags if flag != "\\Recent")
    text = re.sub(rb"\r?\n", b"\r\n", MBSYNC_MARK.sub(b"", raw, 1))
    return hashlib.sha256(text).hexdigest(), kept


def contents_of(mails: Iterable[Mail]) -> Contents:
    return Counter(entry(mail.raw, mail.flags | mail.keywords) for mail in mails)


def fill_imap(imap: imaplib.IMAP4, mails: Iterable[Mail], mailbox: str = "INBOX") -> None:
    """Appends with flags and date; `imap` is logged in."""
    # imaplib writes a literal and the line's end apart: Nagle's algorithm would hold the second.
    imap.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for mail in mails:
        flags = " ".join(sorted(mail.flags | mail.keywords))
        # imaplib would rewrite lone CRs and LFs, of which generated mail has none.
        status, answer = imap.append(mailbox, f"({flags})", mail.date, mail.raw)
        if status != "OK":
            raise RuntimeError(f"APPEND: {answer!r}")


def fill_maildir(maildir: Path, mails: Iterable[Mail]) -> None:
    """Writes a Maildir that Dovecot reads with its flags and keywords; it must not exist yet."""
    for part in ("cur", "new", "tmp"):
        (maildir / part).mkdir(parents=True)
    keywords: list[str] = []
    for number, mail in enumerate(mails):
        letters = [MAILDIR_LETTERS[flag] for flag in mail.flags]
        for word in sorted(mail.keywords):
            if word not in keywords:
                keywords.append(word)
            letters.append(chr(ord("a") + keywords.index(word)))
        seconds = int(mail.date.timestamp())
        name = f"{seconds}.M{number}P1.example,S={len(mail.raw)},W={len(mail.raw)}"
        path = maildir / "cur" / f"{name}:2,{''.join(sorted(letters))}"
        path.write_bytes(mail.raw)
        os.utime(path, (mail.date.timestamp(), mail.date.timestamp()))
    listing = "".join(f"{number} {word}\n" for number, word in enumerate(keywords))
    (maildir / "dovecot-keywords").write_text(listing)


def read_imap(imap: imaplib.IMAP4, mailbox: str = "INBOX") -> Contents:
    """All of a mailbox through IMAP, with FETCH."""
    status, answer = imap.select(mailbox, readonly=True)
    if status != "OK":
        raise RuntimeError(f"SELECT: {answer!r}")
    total = int(answer[0])
    contents: Contents = Counter()
    for first in range(1, total + 1, FETCH_BATCH):
        last = min(first + FETCH_BATCH - 1, total)
        status, parts = imap.fetch(f"{first}:{last}", "(FLAGS BODY.PEEK[])")
        if status != "OK":
            raise RuntimeError(f"FETCH: {parts!r}")
        contents.update(fetched_entries(parts))
    if contents.total() != total:
        raise RuntimeError(f"{total} messages, {contents.total()} fetched")
    return contents


def fetched_entries(parts: list) -> Iterable[tuple[str, frozenset[str]]]:
    """Pairs from imaplib's answer, in which flags stand before the literal or behind it."""
    for number, part in enumerate(parts):
        if not isinstance(part, tuple):
            continue
        behind = parts[number + 1] if number + 1 < len(parts) else b""
        flags = imaplib.ParseFlags(part[0]) or imaplib.ParseFlags(
            behind if isinstance(behind, bytes) else b""
        )
        yield entry(part[1], (flag.decode() for flag in flags))


def read_maildir(maildir: Path) -> Contents:
    """All of a Maildir with its system flags; keywords have no common form there."""
    flags_by_letter = {letter: flag for flag, letter in MAILDIR_LETTERS.items()}
    contents: Contents = Counter()
    for folder in ("cur", "new"):
        for path in (maildir / folder).iterdir():
            letters = path.name.partition(":2,")[2]
            flags = [flags_by_letter[letter] for letter in letters if letter in flags_by_letter]
            contents[entry(path.read_bytes(), flags)] += 1
    return contents


def without_keywords(contents: Contents) -> Contents:
    """The same with system flags only, to compare with read_maildir()."""
    reduced: Contents = Counter()
    for (digest, flags), count in contents.items():
        reduced[digest, frozenset(flag for flag in flags if flag in MAILDIR_LETTERS)] += count
    return reduced
