"""Real-looking mail, the same for the same seed: threads, MIME, attachments, encoded headers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

PEOPLE = ("ann", "bob", "carol", "dave", "eve")
SHOWN_NAMES = {
    "ann": "Ann Äpple",
    "bob": "Bob",
    "carol": "Carol (Büro)",
    "dave": "Dave, Lager",
    "eve": "Eve ☕",
}
SUBJECTS = (
    "Timetable of the new tram line",
    "Minutes of Tuesday's meeting",
    "Größere Räume im Herbst",
    "Re-ordering printer paper",
    "Réunion déplacée à jeudi",
    "Lunch?",
    "来月の予定について",
    "Invoice 2024-1187",
    "Broken lamp on the third floor",
    "Übergabe der Schlüssel",
)
WORDS = (
    "the a of and to in for on with we you it this that week room plan paper lamp bridge river "
    "table answer morning invoice number keys garden line window report letter train office water "
    "please could should would bring find send open close later again still already perhaps"
).split()
ACCENTED = "Grüße naïve façade Ærø žluťoučký über été España Ελλάδα снег".split()
KEYWORDS = ("$Forwarded", "$MDNSent", "Work", "Private", "Later")
SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted")
FLAG_ODDS = (0.7, 0.25, 0.1, 0.03, 0.02)
ATTACHMENTS = (
    ("image", "png", "photo.png"),
    ("application", "pdf", "Größe und Gewicht.pdf"),
    ("application", "octet-stream", "backup.bin"),
    ("text", "csv", "numbers.csv"),
)
FIRST_DAY = datetime(2024, 1, 2, 7, 30, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Mail:
    """One message as it lies in a mailbox. `raw` has CRLF line ends."""

    raw: bytes
    flags: frozenset[str]
    keywords: frozenset[str]
    date: datetime


def generate(count: int, seed: int = 1, to: str = "ann") -> Iterator[Mail]:
    """`count` messages for `to`@example.org, oldest first."""
    draw = random.Random(seed)
    date = FIRST_DAY
    threads: list[tuple[str, list[str]]] = []
    for number in range(count):
        date += timedelta(minutes=draw.randint(1, 400))
        sender = draw.choice([person for person in PEOPLE if person != to])
        message_id = f"<{seed}.{number}.{draw.getrandbits(48):012x}@example.org>"
        message = EmailMessage(policy=SMTP)
        message["From"] = f"{quoted(SHOWN_NAMES[sender])} <{sender}@example.org>"
        message["To"] = f"{to}@example.org"
        if draw.random() < 0.2:
            others = draw.sample(PEOPLE, draw.randint(1, 3))
            message["Cc"] = ", ".join(f"{person}@example.org" for person in others)
        zone = timezone(timedelta(minutes=draw.choice((-480, -300, 0, 60, 120, 330, 540))))
        message["Date"] = format_datetime(date.astimezone(zone))
        message["Message-ID"] = message_id
        if threads and draw.random() < 0.4:
            subject, references = draw.choice(threads[-20:])
            message["Subject"] = f"Re: {subject}"
            message["In-Reply-To"] = references[-1]
            message["References"] = " ".join(references[-10:])
            references.append(message_id)
        else:
            subject = draw.choice(SUBJECTS)
            message["Subject"] = subject
            threads.append((subject, [message_id]))
        fill_body(message, draw)
        yield Mail(
            raw=message.as_bytes(),
            flags=frozenset(
                flag for flag, odds in zip(SYSTEM_FLAGS, FLAG_ODDS) if draw.random() < odds
            ),
            keywords=frozenset(word for word in KEYWORDS if draw.random() < 0.08),
            date=date,
        )


def quoted(name: str) -> str:
    return '"' + name.replace('"', r"\"") + '"'


def paragraph(draw: random.Random) -> str:
    words = draw.choices(WORDS, k=draw.randint(8, 70))
    if draw.random() < 0.4:
        words[draw.randrange(len(words))] = draw.choice(ACCENTED)
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 70:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    lines.append(line + ".")
    text = "\n".join(lines)
    return text[0].upper() + text[1:]


def fill_body(message: EmailMessage, draw: random.Random) -> None:
    """Plain text for most; of the others text with HTML, and with attachments."""
    text = "\n\n".join(paragraph(draw) for _ in range(draw.randint(1, 5)))
    if draw.random() < 0.1:
        text += "\n\n-- \n" + draw.choice(ACCENTED)
    if draw.random() < 0.1:
        text = "From the start:\n.\n..\n" + text
    transfer = draw.choice(("quoted-printable", "base64", "8bit"))
    message.set_content(text + "\n", cte=transfer)
    kind = draw.random()
    if kind < 0.3:
        body = "".join(f"<p>{part}</p>\n" for part in text.split("\n\n"))
        message.add_alternative(f"<html><body>\n{body}</body></html>\n", subtype="html")
    if kind < 0.12:
        for maintype, subtype, filename in draw.sample(ATTACHMENTS, draw.randint(1, 2)):
            octets = draw.randbytes(draw.choice((200, 3_000, 40_000)))
            message.add_attachment(octets, maintype=maintype, subtype=subtype, filename=filename)
    for part in message.walk():
        if part.is_multipart():
            part.set_boundary(f"=-{draw.getrandbits(64):016x}")


def big_message(size: int, seed: int = 1) -> bytes:
    """A message of exactly `size` octets, CRLF line ends, of lines that look like base64."""
    head = b"From: eve@example.org\r\nTo: ann@example.org\r\nSubject: A big one\r\n\r\n"
    draw = random.Random(seed)
    alphabet = bytes(range(0x30, 0x70))
    table = bytes(alphabet[octet & 63] for octet in range(256))
    body = bytearray(draw.randbytes(size - len(head)).translate(table))
    for end in range(76, len(body) - 1, 78):
        body[end : end + 2] = b"\r\n"
    body[-2:] = b"\r\n"
    return head + bytes(body)
