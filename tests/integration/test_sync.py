"""`usher sync`: a whole account from one server to another, with mail as nobody wishes it."""

from __future__ import annotations

import pytest
from peers.account import INBOX, differences, told
from peers.corpus import MIB, Corpus, Item, nasty, plain_messages, usual_messages
from peers.fakestore import Store
from syncing import (
    OK,
    WITH_ERRORS,
    assert_explained,
    assert_same,
    assert_second_run_writes_nothing,
)
from sync_places import KINDS

LONG = pytest.mark.long

# Each kind of server once at either side; the others take long.
SHORT_WAYS = [("sdbox", "cyrus-dots"), ("cyrus-dots", "maildir"), ("mdbox", "sdbox")]
WAYS = SHORT_WAYS + [
    pytest.param(one, other, marks=LONG)
    for one in KINDS
    for other in KINDS
    if (one, other) not in SHORT_WAYS
]


@pytest.mark.parametrize(("source_kind", "target_kind"), WAYS)
def test_a_nasty_account_arrives_and_what_does_not_is_told(
    syncing, account, source_kind, target_kind
):
    source, target = account(source_kind), account(target_kind)
    source.fill(nasty())
    source.read()  # Dovecot tells some dates otherwise once it has cached them
    report = syncing.run(source, target, "--full")
    differing = assert_explained(source, target, report)
    assert (report.status == OK) == (not differing)
    again = assert_second_run_writes_nothing(
        syncing, source, target, "--full", status=report.status
    )
    assert_explained(source, target, again)


@pytest.mark.parametrize("target_kind", ["sdbox", "cyrus"])
def test_usual_mail_arrives_without_a_word(syncing, account, target_kind):
    source, target = account("maildir"), account(target_kind)
    corpus = Corpus(
        {
            INBOX: list(usual_messages(100)),
            ("Sent",): list(usual_messages(40, seed=2)),
            ("Archive", "2024", "日本"): list(usual_messages(20, seed=3)),
            ("empty",): [],
        },
        subscribed={("Sent",), ("Archive", "2024", "日本"), ("empty",)},
    )
    source.fill(corpus)
    report = syncing.synced(source, target)
    assert_same(source, target)
    assert report.total("carried") == corpus.messages()
    assert report.total("carried_bytes") == corpus.bytes()
    assert report.total("found") == 0
    assert all(folder["proof"]["proven"] for folder in report.told["folders"])
    assert_second_run_writes_nothing(syncing, source, target)


def test_equal_messages_arrive_as_often_as_they_are(syncing, account):
    source, target = account("sdbox"), account("cyrus")
    (item,) = plain_messages(1)
    seen = Item(item.raw, ("\\Seen",), item.date)
    source.fill(Corpus({INBOX: [item] * 3 + [seen] * 2, ("other",): [item] * 2}))
    syncing.synced(source, target)
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--no-journal")


def test_subscriptions_of_folders_follow(syncing, account):
    source, target = account("sdbox"), account("maildir")
    names = [("one",), ("two",), ("two", "three")]
    source.fill(Corpus({name: [] for name in names}, subscribed={names[0], names[2]}))
    syncing.synced(source, target)
    there = target.read().folders
    assert [there[name].is_subscribed for name in names] == [True, False, True]


def test_folders_get_their_special_use_where_it_can_be_told(syncing, start_fake, account):
    source, target = start_fake(), account("cyrus")
    source.fill(Corpus({("Sent Items",): list(plain_messages(2)), ("plain",): []}))
    source.store.folders["Sent Items"].use = "\\Sent"
    syncing.synced(source, target)
    there = target.read().folders
    assert there["Sent Items",].use == "\\Sent"
    assert there["plain",].use == ""
    assert_same(source, target)


def test_a_parent_that_cannot_be_selected_is_no_obstacle(syncing, start_fake):
    source, target = start_fake(), start_fake()
    source.store.create("parent").is_selectable = False
    source.fill(Corpus({("parent", "child"): list(plain_messages(2))}))
    syncing.synced(source, target)
    assert_same(source, target)


def test_names_that_would_be_one_at_the_target_are_refused(syncing, start_fake, account):
    source, target = start_fake(), account("maildir")
    source.fill(Corpus({("a.b",): list(plain_messages(2)), ("a_b",): list(plain_messages(3))}))
    report = syncing.run(source, target)
    assert report.status == WITH_ERRORS
    (issue,) = report.issues
    assert issue["reason"] == "name-collides"
    carried = ({"a.b", "a_b"} - {issue["folder"]}).pop()
    found = differences(
        source.read(), target.read(), lambda name: {INBOX: INBOX, (carried,): ("a_b",)}.get(name)
    )
    assert not found, told(found)


def test_dates_keep_their_zones_where_servers_do(syncing, start_fake):
    source, target = start_fake(), start_fake()
    dates = ["01-Jan-1969 12:00:00 -0800", " 7-Feb-2024 21:52:25 +1400", "01-Jan-2100 00:00:00 -0330"]
    source.fill(Corpus({INBOX: [Item(b"Subject: x\r\n\r\n" + d.encode(), (), d) for d in dates]}))
    syncing.synced(source, target)
    assert_same(source, target, with_zones=True)


def test_inbox_is_inbox_in_any_case_of_letters(syncing, start_fake):
    source, target = start_fake(store=Store(inbox="Inbox")), start_fake()
    source.fill(Corpus({INBOX: list(plain_messages(3))}))
    syncing.synced(source, target)
    assert_same(source, target)
    assert set(target.store.folders) == {"INBOX"}


@pytest.mark.parametrize("octets", [b"a\0b\r\n", b"bare\nfeeds\n", b"mixed\r\nends\n\r\n"])
@pytest.mark.parametrize("kind", ["sdbox", "cyrus"])
def test_bytes_that_a_server_does_not_take_are_told(syncing, start_fake, account, kind, octets):
    source, target = start_fake(), account(kind)
    bad = Item(b"From: a@example.org\r\nDate: Wed, 7 Feb 2024 21:52:25 -0800\r\n\r\n" + octets)
    source.fill(Corpus({INBOX: [*plain_messages(3), bad, *plain_messages(3, first=7)]}))
    report = syncing.run(source, target)
    assert report.status != OK
    (issue,) = (issue for issue in report.issues if issue["from_uid"])
    assert issue["from_uid"] == 4
    assert issue["reason"] in ("nul", "bad-message", "bytes-differ", "lines-differ", "append-refused")
    rest = [m for m in target.read().folders[INBOX].messages if m.subject.startswith("plain")]
    assert {message.subject for message in rest} == {f"plain {n}" for n in (1, 2, 3, 7, 8, 9)}
    assert len(rest) == 6
    assert_second_run_writes_nothing(syncing, source, target, status=report.status)


def test_a_large_message_goes_through_little_memory(syncing, account):
    source, target = account("sdbox"), account("cyrus")
    source.fill(nasty(big=10 * MIB, usual=0))
    report = syncing.run(source, target, "--memory", "4M", "--full")
    assert_explained(source, target, report)
