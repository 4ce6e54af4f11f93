"""The mail of a folder lies at the target in the order of the source, also when the target refuses
some while the next command to it is on its way: that one is cancelled, and comes again."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from peers.account import INBOX
from peers.corpus import Corpus, Item, plain_messages
from peers.fakestore import Ways
from syncing import ERR_APPEND, OK, Account, assert_second_run_writes_nothing

# Messages of the first APPEND; the others are of those behind it.
FIRST = 1000

# How long the target takes for an answer: meanwhile the next command is under way.
SLOW_S = 0.05

LITERAL = re.compile(rb"\{(\d+)\}\r\n")


def messages(later: int, size: int) -> list[Item]:
    """Those of the first command, and `later` ones of about `size` bytes."""
    return [*plain_messages(FIRST, 100), *plain_messages(later, size, first=FIRST + 1)]


def inbox(account: Account) -> list[bytes]:
    """All messages, as they lie there."""
    with account.raw() as imap:
        imap.command(b"EXAMINE INBOX")
        rows = imap.command(b"FETCH 1:* (UID BODY.PEEK[])").untagged
    return [row[found.end() :][: int(found[1])] for row in rows if (found := LITERAL.search(row))]


def refusing(words: bytes, *marks: bytes):
    return lambda raw, flags, date: words if any(mark in raw for mark in marks) else None


def subjects(*numbers: int) -> Iterator[bytes]:
    return (b"Subject: plain %d\r\n" % number for number in numbers)


@pytest.mark.parametrize(
    ("later", "size"), [(700, 100), (40, 300_000)], ids=["between messages", "in a message"]
)
def test_a_command_behind_one_that_is_refused_is_cancelled(syncing, start_fake, later, size):
    source = start_fake()
    source.fill(Corpus({INBOX: messages(later, size)}))
    bad = [500, FIRST + later // 2]
    target = start_fake(Ways(refuses=refusing(b"Not this one", *subjects(*bad)), delay_s=SLOW_S))
    report = syncing.run(source, target)
    assert report.status == ERR_APPEND
    assert sorted(issue["from_uid"] for issue in report.issues) == bad
    assert target.fake.cancelled == 1
    there = inbox(source)
    assert inbox(target) == [raw for number, raw in enumerate(there, 1) if number not in bad]
    assert target.fake.violations == []


def test_a_pause_that_is_asked_for_behind_the_back_of_the_next_command_changes_no_order(
    syncing, start_fake
):
    source, target = start_fake(), start_fake(Ways(delay_s=SLOW_S))
    source.fill(Corpus({INBOX: messages(700, 100)}))

    def tire(number: int, name: str, arguments: str) -> bytes | None:
        if name == "APPEND" and target.fake.count("APPEND") == 1:
            return b"NO [LIMIT] Slowly. Suggested Backoff Time: 100 milliseconds"
        return None

    target.ways.on_command = tire
    report = syncing.synced(source, target)
    assert report.total("carried") == FIRST + 700
    assert target.fake.cancelled == 1
    assert inbox(target) == inbox(source)


def test_a_target_that_does_not_know_how_to_cancel_has_nothing_twice(syncing, start_fake):
    source = start_fake()
    source.fill(Corpus({INBOX: messages(700, 100)}))
    bad = next(subjects(500))
    target = start_fake(Ways(refuses=refusing(b"Not it", bad), delay_s=SLOW_S, cancels=False))
    report = syncing.run(source, target)
    assert report.status == ERR_APPEND
    there, expected = inbox(target), inbox(source)
    assert there.count(b"") == 1
    assert sorted(there) == sorted([b"", *(raw for raw in expected if bad not in raw)])
    target.fake.ways = Ways()
    report = syncing.run(source, target)
    assert report.status == OK
    assert report.total("carried") == 1


def test_a_real_target_that_refuses_keeps_the_order(syncing, account, start_fake):
    """Cyrus takes no NUL."""
    source, target = start_fake(), account("cyrus")
    mail = messages(300, 100)
    mail[700] = Item(b"Subject: with a NUL\r\n\r\n\0\r\n")
    source.fill(Corpus({INBOX: mail}))
    report = syncing.run(source, target)
    assert [issue["from_uid"] for issue in report.issues] == [701]
    expected = inbox(source)
    del expected[700]
    assert inbox(target) == expected
    assert_second_run_writes_nothing(syncing, source, target, status=ERR_APPEND)
