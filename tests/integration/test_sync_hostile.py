"""`usher sync` and servers that are out to harm it.

Each is met once in spite: the run ends in bounded time, takes bounded memory, says what is wrong,
and its words are safe to show. Then the same server is met in good faith, by another run: nothing is
lost, nothing is twice.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from peers.account import INBOX, Server, differences, told
from peers.corpus import MIB, Corpus, Item, plain_messages
from peers.fakestore import Ways
from peers.process import wait_until
from peers.spiteful import Spite, SpitefulImap, SpitefulSession, adding, flood, replacing
from syncing import (
    BY_SIGNAL,
    OK,
    PASSWORD,
    WITH_ERRORS,
    FakeAccount,
    Place,
    Report,
    Syncing,
    finish,
    has_sanitizer,
    memory_env,
    peak_bytes,
)

MESSAGES = 12
BOUND_S = 60
PEAK = (500 if has_sanitizer() else 100) * MIB


@pytest.fixture
def start_spiteful(stack) -> Callable[..., FakeAccount]:
    """Starts a server that has one account; options are those of Ways."""

    @contextmanager
    def started(ways: Ways | None) -> Iterator[FakeAccount]:
        with SpitefulImap(None, ways, password=PASSWORD) as server:
            place = Place(server.address, server.port, "", "/", server)
            account = Server(server.address, server.port, server.user, PASSWORD)
            yield FakeAccount(place, account, fake=server)

    return lambda ways=None: stack.enter_context(started(ways))


def filled(account: FakeAccount, count: int = MESSAGES) -> FakeAccount:
    account.fill(
        Corpus({INBOX: list(plain_messages(count, 600)), ("a",): list(plain_messages(count, 600))})
    )
    return account


def in_spite(
    syncing: Syncing, source: FakeAccount, target: FakeAccount, *more: object, peak: int = PEAK
) -> Report:
    """A run that ends in time and takes no more memory than it may; its words are safe to show."""
    running = syncing.start(source, target, "--timeout", "2", *more, env=memory_env())
    seen: list[int] = []
    watcher = threading.Thread(target=lambda: seen.append(peak_bytes(running)))
    watcher.start()
    report = finish(running, BOUND_S)
    watcher.join()
    assert seen[0] < peak, f"{seen[0] >> 20} MiB"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", report.log)
    return report


def assert_adds_up(report: Report) -> None:
    """Each message that was chosen was found, carried or refused; each that was refused is told."""
    for folder in report.told["folders"]:
        if folder["state"] == "done":
            counted = folder["found"] + folder["carried"] + folder["refused"]
            assert counted == folder["chosen"], folder


def assert_comes_right(
    syncing: Syncing,
    source: FakeAccount,
    target: FakeAccount,
    but: frozenset[str] = frozenset({"order"}),
) -> None:
    """Without spite, by another run."""
    source.fake.spite = target.fake.spite = None
    report = syncing.run(source, target)
    assert report.status == OK, (report.issues[:5], report.log)
    found = [one for one in differences(source.read(), target.read()) if one.what not in but]
    assert not found, told(found)


# ---- sources ----

STRAY = b"* 1 FETCH (UID 999999 BODY[] {11}\r\nA: b\r\n\r\nhi)\r\n"
A_BODY = rb"FETCH \((UID \d+) (BODY\[\] \{\d+\}\r\n)"
HUGE_FLAGS = b" ".join(b"word%d" % n for n in range(100_000))


def twice(session: SpitefulSession, octets: bytes) -> bytes:
    return octets * 2 if b" FETCH (" in octets and b"BODY[]" in octets else octets


def one_and_no_more(session: SpitefulSession, octets: bytes) -> bytes:
    """The first part of a message, and the end."""
    if b"BODY[]" not in octets:
        return octets
    session.bare(octets[: len(octets) // 2])
    session.close()
    return b""


def bye_within(session: SpitefulSession, octets: bytes) -> bytes:
    if b"BODY[]" not in octets:
        return octets
    end = octets.find(b"\r\n* ", len(octets) // 2) + 2
    session.bare(octets[:end] + b"* BYE \x1b[31mEnough\r\n")
    session.close()
    return b""


def announcing(n: int) -> Callable[[SpitefulSession, bytes], bytes]:
    def says(session: SpitefulSession, octets: bytes) -> bytes:
        found = re.search(rb"BODY\[\] \{\d+\}\r\n", octets)
        if not found:
            return octets
        session.bare(octets[: found.start()] + b"BODY[] {%d}\r\n" % n + b"x" * 100_000)
        session.close()
        return b""

    return says


# With what it comes to in the run itself: whether all was carried in spite of it.
SOURCES: dict[str, tuple[Spite, bool]] = {
    "bodies that nobody asked for": (adding(STRAY * 3, b"BODY[]"), True),
    "bodies twice": (Spite(says=twice), True),
    "no UID": (replacing(A_BODY, rb"FETCH (\2"), True),
    "one UID for all": (replacing(rb"UID \d+ BODY", b"UID 1 BODY"), False),
    "UIDs that overflow": (replacing(rb"UID (\d+) BODY", rb"UID 429496729\1 BODY"), False),
    "UIDs below zero": (replacing(rb"UID (\d+) BODY", rb"UID -\1 BODY"), False),
    "an UID of zero": (replacing(rb"UID \d+ BODY", b"UID 0 BODY"), True),
    "a list without end": (
        Spite(before=lambda s, name, _: name == "LIST" and bool(flood(s, b'* LIST () "/" "x"\r\n'))),
        False,
    ),
    "half a message": (Spite(says=one_and_no_more), False),
    "BYE within": (Spite(says=bye_within), False),
    "4 TB": (Spite(says=announcing(1 << 42)), False),
    "2^63 - 1 bytes": (Spite(says=announcing((1 << 63) - 1)), False),
    "2^63 bytes": (Spite(says=announcing(1 << 63)), False),
    "2^64 bytes": (Spite(says=announcing(1 << 64)), False),
    "EXPUNGE": (adding(b"* 1 EXPUNGE\r\n* 0 EXISTS\r\n", b"BODY[]"), True),
    "EXPUNGE of what cannot be": (adding(b"* 4294967295 EXPUNGE\r\n* 0 EXPUNGE\r\n", b"BODY"), True),
    "EXISTS of 2^32 - 1": (replacing(rb"\d+ EXISTS", b"4294967295 EXISTS"), True),
    "EXISTS below zero": (replacing(rb"\d+ EXISTS", b"-5 EXISTS"), False),
    "EXISTS that overflows": (replacing(rb"\d+ EXISTS", b"4294967296 EXISTS"), False),
    "UIDNEXT of 1": (replacing(rb"UIDNEXT \d+", b"UIDNEXT 1"), True),
    "UIDNEXT of 2^32 - 1": (replacing(rb"UIDNEXT \d+", b"UIDNEXT 4294967295"), True),
    "UIDNEXT below zero": (replacing(rb"\[UIDNEXT \d+", b"[UIDNEXT -1"), True),
    "a MODSEQ that is too large": (
        replacing(rb"\[HIGHESTMODSEQ \d+", b"[HIGHESTMODSEQ 18446744073709551615"),
        True,
    ),
    "sizes of 2^63 - 1": (replacing(rb"SIZE \d+", b"SIZE 9223372036854775807"), True),
    "sizes of 2^64": (replacing(rb"SIZE \d+", b"SIZE 18446744073709551616"), True),
    "sizes below zero": (replacing(rb"SIZE \d+", b"SIZE -7"), True),
    "a year of 9999": (replacing(rb'INTERNALDATE "[^"]*"', b'INTERNALDATE "31-Dec-9999 23:59:59 -1400"'), True),
    "dates that are none": (replacing(rb'INTERNALDATE "[^"]*"', b'INTERNALDATE "99-Foo-0000 99:99:99 +9999"'), True),
    "flags of a MB": (replacing(rb"FLAGS \(\)", b"FLAGS (" + HUGE_FLAGS + b")"), False),
    "flags of 200 kB": (replacing(rb"FLAGS \(\)", b"FLAGS (" + HUGE_FLAGS[:200_000] + b")"), False),
    "flags of 20 kB": (replacing(rb"FLAGS \(\)", b"FLAGS (" + HUGE_FLAGS[:20_000] + b")"), False),
    "flags that are none": (replacing(rb"FLAGS \(\)", b'FLAGS (a]b %* \x01x \\\\ "q")'), False),
    "a tag of nobody": (adding(b"S4000000000 OK I do\r\n", b"BODY[]"), False),
    "a tag of somebody else": (adding(b"A1 OK I do\r\n", b"BODY[]"), False),
    "plus signs": (adding(b"+ go on\r\n" * 1000, b" OK "), True),
    "a NUL in a line": (adding(b"* OK a\0b\r\n", b"BODY[]"), False),
    "a line of a bare LF": (adding(b"* OK a\nb\r\n", b"BODY[]"), False),
    "parentheses": (adding(b"* 1 FETCH " + b"(" * 100_000 + b"\r\n", b"BODY[]"), True),
    "a line of 2 MB": (adding(b"* OK " + b"x" * 2_000_000 + b"\r\n", b"BODY[]"), False),
    "a literal of 2 MB in FLAGS": (
        adding(b"* 1 FETCH (UID 1 X {2000000}\r\n" + b"x" * 2_000_000 + b")\r\n", b"FLAGS"),
        False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_in_spite(syncing, start_spiteful, kind):
    source, target = filled(start_spiteful()), start_spiteful()
    source.fake.spite, is_harmless = SOURCES[kind]
    report = in_spite(syncing, source, target)
    if is_harmless:
        assert report.total("carried") == 2 * MESSAGES, (report.issues[:5], report.log)
    else:
        assert report.status != OK
        assert report.issues or report.told["failure"], report.log
    assert_adds_up(report)
    assert_comes_right(syncing, source, target)
