"""`usher sync` of accounts that others use at the same moment, and servers that refuse a command of the
many around the mail: the next run sees to what this one could not know."""

from __future__ import annotations

import pytest
from peers.account import INBOX, differences
from peers.corpus import Corpus, Item, plain_messages
from peers.fakestore import Ways
from syncing import OK, assert_same, assert_second_run_writes_nothing


def filled(account, count: int = 12):
    account.fill(Corpus({INBOX: list(plain_messages(count))}))
    return account


def at_command(end, name: str, act, begins: str = "", after: str = "") -> list[str]:
    """Once, when a command of this name comes: what act() returns is its answer. After a command
    called `after` has come, if that is given. Returns a list that then has the arguments."""
    seen: list[str] = []

    def on_command(number: int, came: str, arguments: str) -> bytes | None:
        is_due = came == name and arguments.startswith(begins) and not seen
        if not is_due or (after and end.fake.count(after) == 0):
            return None
        seen.append(arguments)
        return act()

    end.ways.on_command = on_command
    return seen


def expunge_one(end) -> None:
    with end.store.lock:
        folder = end.store.folders["INBOX"]
        del folder.messages[3]
        folder.modseq += 1


def flag_one(end) -> None:
    with end.store.lock:
        folder = end.store.folders["INBOX"]
        folder.messages[3].flags ^= {"\\Flagged"}
        folder.touch(folder.messages[3])


@pytest.mark.parametrize("act", [expunge_one, flag_one])
def test_what_others_change_at_the_target_before_the_end_is_seen_by_the_next_run(
    syncing, start_fake, act
):
    source, target = filled(start_fake()), start_fake()
    seen = at_command(target, "STATUS", lambda: act(target), after="APPEND")
    syncing.run(source, target)
    assert seen
    target.ways.on_command = None
    syncing.synced(source, target)
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}


@pytest.mark.parametrize("without", [[], ["UIDPLUS"]])
@pytest.mark.parametrize("answer", [b"NO [UNAVAILABLE] Later", b"BAD Throttled"])
def test_a_list_that_is_refused_after_the_carrying_costs_no_mail(
    syncing, start_fake, without, answer
):
    source, target = filled(start_fake()), start_fake(Ways(without=without))
    seen = at_command(target, "UID FETCH", lambda: answer, after="APPEND")
    syncing.run(source, target)
    assert seen
    target.ways.on_command = None
    syncing.synced(source, target)
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_what_has_a_header_that_cannot_be_read_is_not_deleted(syncing, start_fake, side):
    """Nobody knows whether the one is the other."""
    source, target = filled(start_fake()), filled(start_fake())
    end = {"source": source, "target": target}[side]

    def refuse(number: int, name: str, arguments: str) -> bytes | None:
        has_body = name == "UID FETCH" and "BODY" in arguments
        return b"NO [SERVERBUG] Broken" if has_body else None

    end.ways.on_command = refuse
    report = syncing.run(source, target, "--delete2", "--delete2-share", "100", "--errorsmax", "0")
    assert report.total("deleted") == 0
    end.ways.on_command = None
    assert target.read().messages() >= 12
    report = syncing.run(source, target, "--delete2", "--delete2-share", "100")
    assert report.status == OK
    assert_same(source, target)


def throttling(end, first: int, last: int) -> None:
    """Bodies are not given when they are asked for for the first time, to the last time."""
    count = 0

    def on_command(number: int, name: str, arguments: str) -> bytes | None:
        nonlocal count
        if name != "UID FETCH" or "BODY" not in arguments:
            return None
        count += 1
        return b"NO [LIMIT] Too much" if first <= count <= last else None

    end.ways.on_command = on_command


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("what", ["headers", "bodies"])
def test_what_cannot_be_read_for_a_moment_is_not_carried_twice(syncing, start_fake, side, what):
    """Two with one header: to tell them apart their bodies are read."""
    source, target = start_fake(), start_fake()
    head = b"Message-ID: <1@example.org>\r\n\r\n"
    items = [Item(head + b"one\r\n"), Item(head + b"two\r\n")]
    source.fill(Corpus({INBOX: items}))
    target.fill(Corpus({INBOX: items}))
    first = 1 if what == "headers" else 2
    throttling({"source": source, "target": target}[side], first, first + 2)
    report = syncing.synced(source, target)
    assert report.total("carried") == 0
    assert_same(source, target)


def test_what_was_found_gone_at_the_target_is_not_forgotten_by_a_death(syncing, start_fake):
    source, target = filled(start_fake()), start_fake()
    syncing.synced(source, target)
    for step in range(1, 100):
        expunge_one(target)
        died = syncing.run(source, target, env={"USHER_SYNC_DIE_AT": str(step)})
        if died.status == OK:
            break
        syncing.synced(source, target)
        found = {difference.what for difference in differences(source.read(), target.read())}
        assert found <= {"order"}, step
    assert 5 < step < 99


def test_equal_messages_keep_their_own_dates_and_flags(syncing, start_fake):
    """Whoever has no journal pairs those that look the same, whatever their order."""
    source, target = start_fake(), start_fake()
    (one,) = plain_messages(1)
    dates = ("07-Feb-2024 21:52:25 -0800", "08-Feb-2024 21:52:25 -0800")
    items = [Item(one.raw, flags, date) for date in dates for flags in ((), ("\\Seen",))]
    source.fill(Corpus({INBOX: items}))
    target.fill(Corpus({INBOX: items[::-1]}))
    report = syncing.synced(source, target, "--no-journal")
    assert report.total("carried") == report.total("flags_set") == 0
    assert report.told["proven"]


@pytest.mark.parametrize("without", [[], ["MULTIAPPEND"], ["LITERAL+"]])
@pytest.mark.parametrize("early", [False, True], ids=["at the end", "at once"])
def test_what_stands_around_a_refused_message_keeps_its_order(syncing, start_fake, early, without):
    bad = b"Subject: plain 7\r"
    source = start_fake()
    target = start_fake(
        Ways(
            without=without,
            answers_early=early,
            refuses=lambda raw, flags, date: b"Not this one" if bad in raw else None,
        )
    )
    source.fill(Corpus({INBOX: list(plain_messages(60, 3000))}))
    syncing.run(source, target)
    found = differences(source.read(), target.read())
    assert [difference.what for difference in found] == ["missing"]


@pytest.mark.parametrize("kind", ["sdbox", "maildir", "mdbox", "cyrus"])
def test_a_folder_that_was_carried_is_unchanged_for_the_next_run(syncing, start_fake, account, kind):
    """What stands in the journal of the target is what the target says of itself."""
    source, target = filled(start_fake()), account(kind)
    syncing.synced(source, target)
    report = syncing.synced(source, target)
    assert {folder["state"] for folder in report.folders.values()} == {"unchanged"}
