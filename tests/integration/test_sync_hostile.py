"""`usher sync` and servers that are out to harm it.

Each is met once in spite: the run ends in bounded time, takes bounded memory, says what is wrong,
and its words are safe to show. Then the same server is met in good faith, by another run: nothing is
lost, nothing is twice.
"""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from peers.account import INBOX, Server, differences, told
from peers.corpus import MIB, Corpus, Item, plain_messages
from peers.fakestore import Ways
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


def watch(running: subprocess.Popen[bytes], seen: list[int]) -> None:
    """The most memory that a program has had, until somebody has waited for it."""
    with suppress(OSError):
        while found := re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{running.pid}/status").read_text()):
            seen.append(int(found[1]) << 10)
            time.sleep(0.01)


def in_spite(
    syncing: Syncing, source: FakeAccount, target: FakeAccount, *more: object, peak: int = PEAK
) -> Report:
    """A run that ends in time and takes no more memory than it may; its words are safe to show."""
    running = syncing.start(source, target, "--timeout", "2", *more, env=memory_env())
    seen: list[int] = []
    watcher = threading.Thread(target=watch, args=(running, seen))
    watcher.start()
    report = finish(running, BOUND_S)
    watcher.join()
    assert max(seen, default=0) < peak, f"{max(seen) >> 20} MiB"
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


def bye_within(session: SpitefulSession, octets: bytes) -> bytes:
    if b"BODY[]" not in octets:
        return octets
    end = octets.find(b"\r\n* ", len(octets) // 2) + 2
    session.bare(octets[:end] + b"* BYE \x1b[31mEnough\r\n")
    session.close()


def announcing(n: int) -> Callable[[SpitefulSession, bytes], bytes]:
    def says(session: SpitefulSession, octets: bytes) -> bytes:
        found = re.search(rb"BODY\[\] \{\d+\}\r\n", octets)
        if not found:
            return octets
        session.bare(octets[: found.start()] + b"BODY[] {%d}\r\n" % n + b"x" * 100_000)
        session.close()

    return says


# With what it comes to in the run itself: whether all was carried in spite of it.
LONG = pytest.mark.long

# Of what ends in giving up, which takes its time, one is shown in every run.
GIVEN_UP_ALWAYS = {"a NUL in a line", "NO to FETCH"}


def in_time(kinds: dict[str, tuple[Spite, bool]]) -> list:
    return [
        kind if is_harmless or kind in GIVEN_UP_ALWAYS else pytest.param(kind, marks=LONG)
        for kind, (_, is_harmless) in kinds.items()
    ]


SOURCES: dict[str, tuple[Spite, bool]] = {
    "bodies that nobody asked for": (adding(STRAY * 3, b"BODY[]"), True),
    "bodies twice": (Spite(says=twice), True),
    "no UID": (replacing(A_BODY, rb"FETCH (\2"), True),
    "one UID for all": (replacing(rb"UID \d+ BODY", b"UID 1 BODY"), False),
    "UIDs that overflow": (replacing(rb"UID (\d+) BODY", rb"UID 429496729\1 BODY"), False),
    "UIDs below zero": (replacing(rb"UID (\d+) BODY", rb"UID -\1 BODY"), True),
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
    "flags of 200 kB": (replacing(rb"FLAGS \(\)", b"FLAGS (" + HUGE_FLAGS[:200_000] + b")"), True),
    "flags of 20 kB": (replacing(rb"FLAGS \(\)", b"FLAGS (" + HUGE_FLAGS[:20_000] + b")"), True),
    "flags that are none": (replacing(rb"FLAGS \(\)", b'FLAGS (a]b %* \x01x \\\\ "q")'), True),
    "a tag of nobody": (adding(b"S4000000000 OK I do\r\n", b"BODY[]"), False),
    "a tag of somebody else": (adding(b"A1 OK I do\r\n", b"BODY[]"), False),
    "plus signs": (adding(b"+ go on\r\n" * 1000, b"FETCH"), True),
    "a NUL in a line": (adding(b"* OK a\0b\r\n", b"BODY[]"), False),
    "a line of a bare LF": (adding(b"* OK a\nb\r\n", b"BODY[]"), False),
    "parentheses": (adding(b"* 1 FETCH " + b"(" * 100_000 + b"\r\n", b"BODY[]"), True),
    "a line of 2 MB": (adding(b"* OK " + b"x" * 2_000_000 + b"\r\n", b"BODY[]"), False),
    "a literal of 2 MB in FLAGS": (
        adding(b"* 1 FETCH (UID 1 X {2000000}\r\n" + b"x" * 2_000_000 + b")\r\n", b"FLAGS"),
        False,
    ),
}  # fmt: skip


# These stay at the target as they were told.
DATES = {"a year of 9999", "dates that are none"}


@pytest.mark.parametrize("kind", in_time(SOURCES))
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
    assert_comes_right(syncing, source, target, {"order", "date"} if kind in DATES else {"order"})


@pytest.mark.long
def test_a_body_that_turns_out_to_be_another_is_not_kept(syncing, start_spiteful):
    source, target = filled(start_spiteful(Ways(uid_is_last=True))), start_spiteful()
    source.fake.spite = replacing(rb" UID (\d+)\)\r\n", lambda m: b" UID %d)\r\n" % (int(m[1]) % 7 + 1))
    report = in_spite(syncing, source, target)
    assert report.status != OK
    assert "another message" in report.log
    assert_comes_right(syncing, source, target)


NAMES = {
    "escapes": b'"\x1b[31mred\x07"',
    "a CRLF": b"{9}\r\nab\r\n* OK",
    "a literal with NUL": b"{3}\r\na\0b",
    "100 kB": b'"' + b"x" * 100_000 + b'"',
    "9 kB that grow": b'"' + b"&AOk-a" * 1500 + b'"',
    "a way out": b'"../../etc/passwd"',
    "no UTF-7": b'"&!!!"',
    "half a surrogate": b'"&2AA-"',
    "no name": b'""',
    "no UTF-8": b'"\xff\xfe"',
    "HTML": b'"<script>alert(1)</script>"',
    "only separators": b'"////"',
    "INBOX again": b'"inbox"',
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_spite(syncing, start_spiteful, name):
    source, target = filled(start_spiteful()), start_spiteful()
    source.fake.spite = adding(b'* LIST () "/" ' + NAMES[name] + b"\r\n", b"* LIST")
    page = syncing.folder / "report.html"
    report = in_spite(syncing, source, target, "--html", page)
    if page.exists():
        assert not re.search(rb"<script|[\x00-\x08\x0b-\x1f]", page.read_bytes())
    if report.status == OK:
        assert report.total("carried") == 2 * MESSAGES
    else:
        assert report.issues or report.told["failure"]
    assert_adds_up(report)
    assert_comes_right(syncing, source, target, {"order", "extra folder"})


@pytest.mark.long
def test_20_000_folders_are_listed(syncing, start_spiteful):
    source, target = filled(start_spiteful()), start_spiteful()
    names = b"".join(b'* LIST (\\Noinferiors) "/" "x%d"\r\n' % n for n in range(20_000))
    source.fake.spite = Spite(says=lambda s, octets: names + octets if b"* LIST" in octets else octets)
    in_spite(syncing, source, target, "--dry", "--errorsmax", "5", peak=2 * PEAK)


SEARCHES = {
    "all there can be": b"* ESEARCH UID ALL 1:4294967295",
    "no numbers": b"* SEARCH 0 -1 99999999999 x",
    "no set": b"* ESEARCH UID ALL 9:*,0",
    "often the same": b"* SEARCH" + b" 4294967295" * 20_000,
    "a count below zero": b'* ESEARCH (TAG "x") UID COUNT -1',
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_in_spite(syncing, start_spiteful, kind):
    source, target = filled(start_spiteful()), start_spiteful()
    source.fake.spite = adding(SEARCHES[kind] + b"\r\n", b"SEARCH")
    report = in_spite(syncing, source, target, "--search", "ALL")
    assert_adds_up(report)
    assert_comes_right(syncing, source, target)


# ---- targets ----


def appending(by: bytes | Callable[[re.Match[bytes]], bytes]) -> Spite:
    """Says something else for [APPENDUID 1001 1,2,3]."""
    return replacing(rb"\[APPENDUID (\d+) ([\d,]+)\] ", by)


def at_append(do: Callable[[SpitefulSession, bytes], None]) -> Spite:
    def at_line(session: SpitefulSession, line: bytes) -> None:
        if line.split(b" ")[1:2] == [b"APPEND"]:
            do(session, line.split(b" ")[0])

    return Spite(at_line=at_line)


def ok_early(session: SpitefulSession, tag: bytes) -> None:
    session.bare(tag + b" OK Thank you\r\n")


def silence(session: SpitefulSession, tag: bytes) -> None:
    time.sleep(4)
    session.close()


def bye_early(session: SpitefulSession, tag: bytes) -> None:
    session.connection.octets(100)
    session.bare(b"* BYE \x1b]0;x\x07Not here\r\n")
    session.close()


def no_to(*names: str, words: bytes = b"NO Never") -> Spite:
    def before(session: SpitefulSession, name: str, arguments: str) -> bool:
        if name in names:
            session.tagged(words)
        return name in names

    return Spite(before=before)


def number(by: Callable[[int], int]) -> Callable[[re.Match[bytes]], bytes]:
    def turned(m: re.Match[bytes]) -> bytes:
        uids = b",".join(b"%d" % by(int(uid)) for uid in m[2].split(b","))
        return b"[APPENDUID %s %s] " % (m[1], uids)

    return turned


def reverse(m: re.Match[bytes]) -> bytes:
    return b"[APPENDUID %s %s] " % (m[1], b",".join(reversed(m[2].split(b","))))


# Whether all must be there after it, and be told so.
TARGETS: dict[str, tuple[Spite, bool]] = {
    "OK early": (at_append(ok_early), False),
    "silence": (at_append(silence), False),
    "BYE in a message": (at_append(bye_early), False),
    "plus signs": (adding(b"+ go on\r\n" * 5000, b" "), False),
    "an UID too many": (appending(rb"[APPENDUID \1 \2,4000] "), True),
    "an UID too few": (appending(rb"[APPENDUID \1 1] "), True),
    "UIDs of zero": (appending(number(lambda uid: 0)), True),
    "UIDs in reverse": (appending(reverse), True),
    "one UID for all": (appending(number(lambda uid: 1)), True),
    "UIDs that are not there": (appending(number(lambda uid: uid + 500)), True),
    "UIDs of 2^32": (appending(number(lambda uid: uid + (1 << 32))), True),
    "UIDs below zero": (appending(number(lambda uid: -uid)), True),
    "all UIDs": (appending(rb"[APPENDUID \1 1:4294967295] "), True),
    "a million sets": (appending(rb"[APPENDUID \1 " + b"1,2," * 20_000 + b"3] "), True),
    "a star": (appending(rb"[APPENDUID \1 1:*] "), True),
    "a code without an end": (appending(rb"[APPENDUID \1 "), True),
    "another UIDVALIDITY": (appending(rb"[APPENDUID 77 \2] "), False),
    "a UIDVALIDITY that is not told": (replacing(rb"\* OK \[UIDVALIDITY \d+\][^\r]*\r\n", b""), True),
    "NO to APPEND": (no_to("APPEND"), False),
    "BAD to APPEND": (no_to("APPEND", words=b"BAD Never"), False),
    "NO to FETCH": (no_to("UID FETCH"), False),
    "NO to SELECT": (no_to("SELECT"), False),
    "NO to STATUS": (no_to("STATUS"), True),
    "NO to CREATE": (no_to("CREATE"), False),
    "a tag of nobody": (adding(b"S4000000000 OK I do\r\n", b"APPENDUID"), False),
    "PERMANENTFLAGS without an end": (replacing(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", rb"[PERMANENTFLAGS (\1"), True),
    "no PERMANENTFLAGS at all": (replacing(rb"\[PERMANENTFLAGS \([^)]*\)\]", rb"[PERMANENTFLAGS ()]"), False),
    "PERMANENTFLAGS of 200 kB": (
        replacing(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", rb"[PERMANENTFLAGS (\1 " + HUGE_FLAGS[:200_000] + rb")]"),
        True,
    ),
    "PERMANENTFLAGS with quotes": (replacing(rb"\[PERMANENTFLAGS \(", rb'[PERMANENTFLAGS ("] '), True),
    "UIDNEXT of 2^32 - 1": (replacing(rb"UIDNEXT \d+", b"UIDNEXT 4294967295"), True),
    "UIDNEXT of 1": (replacing(rb"UIDNEXT \d+", b"UIDNEXT 1"), True),
    "EXPUNGE": (adding(b"* 1 EXPUNGE\r\n* 0 EXISTS\r\n", b"APPENDUID"), True),
    "bodies that nobody asked for": (adding(STRAY * 100, b" OK "), True),
}  # fmt: skip


@pytest.mark.parametrize(
    "without",
    [
        pytest.param([], id="at once"),
        pytest.param(["MULTIAPPEND", "LITERAL+"], id="one by one", marks=LONG),
    ],
)
@pytest.mark.parametrize("kind", in_time(TARGETS))
def test_a_target_in_spite(syncing, start_spiteful, kind, without):
    source, target = filled(start_spiteful()), start_spiteful(Ways(without=without))
    target.fake.spite, is_harmless = TARGETS[kind]
    report = in_spite(syncing, source, target)
    if is_harmless:
        assert report.total("carried") == 2 * MESSAGES, (report.issues[:5], report.log)
        assert report.status == OK, (report.issues[:5], report.log)
    elif report.status != OK:
        assert report.issues or report.told["failure"], report.log
    else:
        assert "going on where it was" in report.log
    assert_adds_up(report)
    assert_comes_right(syncing, source, target)


# ---- what was found by reading ----


def test_exceptions_are_counted_once_for_errorsmax(syncing, start_fake):
    source = start_fake()
    target = start_fake(Ways(refuses=lambda raw, flags, date: b"Not this one" if b"9\r" in raw[:200] else None))
    source.fill(Corpus({INBOX: list(plain_messages(100, 600))}))
    report = syncing.run(source, target, "--errorsmax", "15")
    assert 8 <= len(report.issues) < 15
    assert report.told["failure"] is None
    assert report.total("carried") == 100 - len(report.issues)
    assert_adds_up(report)


def test_a_link_that_breaks_over_lost_keywords_is_no_end(syncing, start_spiteful):
    source, target = start_spiteful(), start_spiteful(Ways(keywords="none", without=["MULTIAPPEND"]))
    items = [Item(item.raw, ("\\Flagged", "Work"), item.date) for item in plain_messages(1200, 600)]
    source.fill(Corpus({INBOX: items}))
    count = []

    def cut(session: SpitefulSession, tag: bytes) -> None:
        count.append(tag)
        if len(count) == 100:
            session.close()

    target.fake.spite = at_append(cut)
    report = in_spite(syncing, source, target, "--errorsmax", "0")
    assert report.status == WITH_ERRORS or report.issues
    assert_adds_up(report)
    assert report.reasons()["keywords"] == 1200


@pytest.mark.long
def test_a_target_that_always_wants_a_pause_is_left_alone_even_with_a_rate(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(without=["MULTIAPPEND"]))
    source.fill(Corpus({INBOX: list(plain_messages(3, 600))}))
    target.ways.on_command = (
        lambda number, name, arguments: b"NO [UNAVAILABLE] Suggested Backoff Time: 5 milliseconds"
        if name == "APPEND"
        else None
    )
    running = syncing.start(source, target, "--maxbytespersecond", "10000")
    report = finish(running, BOUND_S)
    assert report.status != OK
    assert target.fake.count("APPEND") < 300


def test_one_pause_is_enough_for_all_that_was_out(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(without=["MULTIAPPEND"]))
    source.fill(Corpus({INBOX: list(plain_messages(40, 600))}))
    refused: list[float] = []

    def busy(number: int, name: str, arguments: str) -> bytes | None:
        if name != "APPEND" or (refused and time.monotonic() - refused[0] > 0.5):
            return None
        refused.append(time.monotonic())
        return b"NO [UNAVAILABLE] Busy"

    target.ways.on_command = busy
    report = syncing.synced(source, target)
    assert report.log.count("pausing for") < 4
    assert report.total("carried") == 40
    assert len(refused) > 5


def test_who_refuses_all_is_not_sent_all_ten_times(syncing, start_fake):
    source = start_fake()
    target = start_fake(Ways(refuses=lambda raw, flags, date: b"Not today"))
    source.fill(Corpus({INBOX: list(plain_messages(1000, 600))}))
    report = syncing.run(source, target, "--errorsmax", "0")
    assert report.reasons()["append-refused"] == 1000
    assert target.fake.count("APPEND") < 1100
    fetched = sum(1 for name, arguments in source.fake.log if "BODY.PEEK[])" in arguments)
    assert fetched < 300


@pytest.mark.parametrize(
    ("side", "at"),
    [("source", "LIST"), ("source", "UID FETCH"), ("target", "LIST"), ("target", "APPEND"), ("target", "UID FETCH")],
)
def test_who_never_stops_talking_can_be_stopped(syncing, start_spiteful, side, at):
    source, target = filled(start_spiteful()), start_spiteful()
    talking = threading.Event()

    def before(session: SpitefulSession, name: str, arguments: str) -> bool:
        if name == at:
            talking.set()
            flood(session, b"* OK And another thing\r\n")
        return False

    ends = {"source": source, "target": target}
    ends[side].fake.spite = Spite(before=before)
    running = syncing.start(source, target)
    assert talking.wait(20)
    running.send_signal(signal.SIGINT)
    report = finish(running, BOUND_S)
    assert report.status == BY_SIGNAL
    assert_comes_right(syncing, source, target)
