"""`usher verify`: whatever differs between two accounts is told by its name, and nothing else is."""

from __future__ import annotations

import pytest
from peers.account import INBOX
from peers.corpus import Corpus, Item, nasty, plain_messages
from syncing import OK, assert_same

NAMES = [INBOX, ("a",), ("b", "c")]


@pytest.fixture
def pair(syncing, start_fake):
    """Two accounts that were synced."""
    source, target = start_fake(), start_fake()
    source.fill(
        Corpus({name: list(plain_messages(20, about=name[-1])) for name in NAMES})
    )
    syncing.synced(source, target)
    return source, target


def told(report) -> set[tuple]:
    of_messages = (issue for issue in report.issues if issue["from_uid"] or issue["to_uid"])
    return {(issue["reason"], issue["folder"], issue["subject"]) for issue in of_messages}


JOURNALS = pytest.mark.parametrize("journal", [(), ("--no-journal",)], ids=["journal", "without"])


@JOURNALS
def test_equal_accounts_are_proven_equal(syncing, pair, journal):
    source, target = pair
    for end in pair:
        end.fake.log.clear()
    report = syncing.verify(source, target, *journal, "--full")
    assert report.status == OK
    assert report.issues == []
    assert all(folder["proof"]["proven"] for folder in report.told["folders"])
    assert sum(folder["proof"]["sampled"] for folder in report.told["folders"]) == 60
    assert source.fake.writes() == target.fake.writes() == []


@JOURNALS
@pytest.mark.parametrize("full", [(), ("--full",)], ids=["", "full"])
def test_each_planted_difference_is_found_by_its_name(syncing, pair, journal, full):
    source, target = pair
    with target.store.lock:
        folder = target.store.folders["a"]
        del folder.messages[4]
        folder.messages[6].flags ^= {"\\Flagged"}
        folder.touch(folder.messages[6])
        folder.messages[9].date = "01-Feb-2023 00:00:00 +0000"
        stranger = b"From: x@example.org\r\nSubject: stranger\r\n\r\nx\r\n"
        folder.add(stranger, (), "01-Feb-2023 00:00:00 +0000")
        del target.store.folders["b/c"]
    report = syncing.verify(source, target, *journal, *full)
    assert report.status != OK
    assert told(report) == {
        ("missing", "a", "a 5"),
        ("flags-differ", "a", "a 8"),
        ("date-differs", "a", "a 11"),
        ("extra", "a", "stranger"),
    }
    assert report.reasons()["folder-missing"] == 1
    assert report.folders["INBOX"]["proof"]["proven"]
    assert not report.folders["a"]["proof"]["proven"]


@JOURNALS
def test_changed_bytes_are_found_with_full(syncing, pair, journal):
    source, target = pair
    with target.store.lock:
        folder = target.store.folders["a"]
        folder.messages[5].raw = folder.messages[5].raw.replace(b"0123", b"3210")
        folder.messages[6].raw = folder.messages[6].raw.replace(b"\r\n0", b"\n0")
    report = syncing.verify(source, target, *journal, "--full")
    assert report.status != OK
    reasons = {(issue["reason"], issue["subject"]) for issue in report.issues}
    if journal:
        # Nobody knows any more that they were the same.
        assert {subject for _, subject in reasons} >= {"a 6"}
    else:
        assert reasons >= {("bytes-differ", "a 6"), ("lines-differ", "a 7")}


def test_a_message_that_is_there_twice_is_told(syncing, pair):
    source, target = pair
    with target.store.lock:
        folder = target.store.folders["a"]
        folder.add(folder.messages[3].raw, folder.messages[3].flags, folder.messages[3].date)
    report = syncing.verify(source, target, "--no-journal")
    assert ("twice", "a", "a 4") in told(report) or ("extra", "a", "a 4") in told(report)


def test_verify_believes_no_journal_that_is_wrong(syncing, pair):
    """The journal says that a message is there under a UID that now has another one's bytes."""
    source, target = pair
    with target.store.lock:
        messages = target.store.folders["a"].messages
        messages[2].raw, messages[3].raw = messages[3].raw, messages[2].raw
    report = syncing.verify(source, target, "--full")
    assert report.status != OK


def test_verify_writes_no_journal(syncing, start_fake):
    source, target = start_fake(), start_fake()
    for end in (source, target):
        end.fill(Corpus({INBOX: list(plain_messages(5))}))
    report = syncing.verify(source, target)
    assert report.status == OK
    assert not syncing.journal(source, target).exists()
    assert_same(source, target)


@pytest.mark.parametrize("kinds", [("sdbox", "cyrus-dots"), ("cyrus", "maildir")], ids="-".join)
def test_verify_and_the_sync_before_it_agree(syncing, account, kinds):
    source, target = (account(kind) for kind in kinds)
    source.fill(nasty(big=100_000))
    source.read()
    synced = syncing.run(source, target, "--full")
    verified = syncing.verify(source, target, "--full")
    assert (verified.status == OK) == (synced.status == OK)
    differing = {"missing", "flags-differ", "date-differs", "bytes-differ", "lines-differ"}
    for issue in verified.issues:
        if issue["reason"] in differing:
            assert any(
                (issue["folder"], issue["from_uid"]) == (other["folder"], other["from_uid"])
                for other in synced.issues
            ), issue


def test_an_item_of_no_bytes_is_verified_too(syncing, start_fake):
    source, target = start_fake(), start_fake()
    for end in (source, target):
        end.fill(Corpus({INBOX: [Item(b""), Item(b"\r\n"), Item(b"")]}))
    assert syncing.verify(source, target, "--full").status == OK
