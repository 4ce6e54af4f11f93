"""`usher sync` of accounts that others use at the same moment, and servers that refuse a command of the
many around the mail: the next run sees to what this one could not know."""

from __future__ import annotations

import pytest
from peers.account import INBOX, differences
from peers.corpus import Corpus, plain_messages
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
