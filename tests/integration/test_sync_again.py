"""`usher sync`, run again: what has changed follows, and nothing else is touched."""

from __future__ import annotations

import pytest
from peers.account import INBOX, differences
from peers.corpus import Corpus, Item, plain_messages, usual_messages
from syncing import OK, USAGE, assert_same, assert_second_run_writes_nothing

KINDS = [("sdbox", "cyrus"), ("cyrus", "maildir")]


@pytest.fixture(params=KINDS, ids="-".join)
def pair(request, syncing, account):
    """Two accounts that were synced: INBOX with 20 messages, "a" with 10, "b/c" with 5."""
    source, target = (account(kind) for kind in request.param)
    source.fill(
        Corpus(
            {
                INBOX: list(usual_messages(20)),
                ("a",): list(plain_messages(10, about="a")),
                ("b", "c"): list(plain_messages(5, about="c")),
            },
            subscribed={("a",)},
        )
    )
    syncing.synced(source, target)
    return source, target


def test_new_mail_follows(syncing, pair):
    source, target = pair
    source.add(("a",), plain_messages(3, about="new"))
    source.fill(Corpus({("new folder",): list(plain_messages(2))}, subscribed={("new folder",)}))
    report = syncing.synced(source, target)
    assert report.total("carried") == 5
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


def test_changed_flags_follow(syncing, pair):
    source, target = pair
    source.tell(
        "STORE 1:5 +FLAGS (\\Flagged New $Forwarded)",
        "STORE 3:8 -FLAGS (\\Seen)",
        "STORE 9 FLAGS (\\Draft)",
        select=("a",),
    )
    report = syncing.synced(source, target)
    assert report.total("carried") == 0
    assert report.total("flags_set") > 0
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


def test_flags_that_changed_at_the_target_become_those_of_the_source(syncing, pair):
    source, target = pair
    target.tell("STORE 1:3 FLAGS (\\Answered other)", "STORE 4 FLAGS ()", select=("a",))
    report = syncing.synced(source, target)
    assert report.total("flags_set") > 0
    assert_same(source, target)


def test_what_was_expunged_stays_unless_deletes_are_wanted(syncing, pair):
    source, target = pair
    before = target.read()
    source.tell("STORE 2,5 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", select=("a",))
    report = syncing.synced(source, target)
    assert report.total("extra") == 2
    assert target.read().folders == before.folders
    report = syncing.synced(source, target, "--delete2")
    assert report.total("deleted") == 2
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--delete2")


def test_mail_of_the_target_alone_stays_unless_deletes_are_wanted(syncing, pair):
    source, target = pair
    target.add(("a",), plain_messages(2, about="own"))
    report = syncing.synced(source, target)
    assert report.total("extra") == 2
    found = differences(source.read(), target.read())
    assert [difference.what for difference in found] == ["extra", "extra"]
    syncing.synced(source, target, "--delete2")
    assert_same(source, target)


def test_more_than_a_share_is_not_deleted(syncing, pair):
    source, target = pair
    before = target.read()
    source.tell("STORE 1:7 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", select=("a",))
    report = syncing.run(source, target, "--delete2")
    assert report.status != OK
    assert report.reasons()["delete-share"] == 1
    assert report.total("deleted") == 0
    assert target.read().folders == before.folders
    syncing.synced(source, target, "--delete2", "--delete2-share", "70")
    assert_same(source, target)


def test_others_marked_as_deleted_are_not_expunged_along(syncing, pair):
    source, target = pair
    source.tell("STORE 1 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", select=("a",))
    source.tell("STORE 2 +FLAGS.SILENT (\\Deleted)", select=("a",))
    syncing.synced(source, target, "--delete2")
    assert_same(source, target)
    assert len(target.read().folders["a",].messages) == 9


def test_what_is_gone_at_the_target_is_carried_again(syncing, pair):
    source, target = pair
    target.tell("STORE 1,4,10 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", select=("a",))
    report = syncing.synced(source, target)
    assert report.total("carried") == 3
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}


def test_a_renamed_folder_is_carried_and_the_old_one_stays(syncing, pair):
    source, target = pair
    old, new = (source.wire(name) for name in (("a",), ("moved", "here")))
    source.tell(f'RENAME "{old}" "{new}"')
    report = syncing.synced(source, target)
    assert report.total("carried") == 10
    found = differences(source.read(), target.read())
    assert [(one.what, one.folder) for one in found] == [("extra folder", ("a",))]


def test_a_folder_that_is_made_anew_does_not_inherit(syncing, pair):
    source, target = pair
    source.tell(f'DELETE "{source.wire(("a",))}"')
    source.fill(Corpus({("a",): list(plain_messages(4, about="reborn"))}))
    report = syncing.synced(source, target)
    assert report.total("carried") == 4
    extra = {difference.what for difference in differences(source.read(), target.read())}
    assert extra <= {"extra", "subscription"}
    assert report.total("extra") == 10


# ---- without a journal ----


def test_without_a_journal_nothing_is_carried_twice(syncing, pair):
    source, target = pair
    syncing.journal(source, target).unlink()
    assert_second_run_writes_nothing(syncing, source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--no-journal")
    assert_second_run_writes_nothing(syncing, source, target, "--no-journal", "--full")


@pytest.mark.parametrize("more", [(), ("--full",), ("--no-journal",)])
def test_the_work_of_other_tools_is_gone_on_with(syncing, account, more):
    """Half of the mail is there, in another order, some of it with other flags."""
    source, target = account("sdbox"), account("cyrus")
    mails = [*usual_messages(30), *plain_messages(10), *list(plain_messages(3)) * 2]
    source.fill(Corpus({INBOX: mails}))
    bare = [Item(item.raw, (), item.date) for item in mails[::4]]
    target.fill(Corpus({INBOX: [*reversed(mails[1::4]), *bare]}))
    there = target.read().messages()
    report = syncing.synced(source, target, *more)
    assert report.total("carried") == len(mails) - there
    assert report.total("found") == there
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}
    assert_second_run_writes_nothing(syncing, source, target, *more)


def test_drafts_with_equal_headers_are_told_apart_by_their_bodies(syncing, account):
    source, target = account("sdbox"), account("maildir")
    head = b"From: ann@example.org\r\nDate: Wed, 7 Feb 2024 21:52:25 -0800\r\nSubject: draft\r\n\r\n"
    drafts = [Item(head + b"version %d\r\n" % number, ("\\Draft",)) for number in range(6)]
    source.fill(Corpus({("Drafts",): drafts}))
    target.fill(Corpus({("Drafts",): [drafts[4], drafts[1]]}))
    report = syncing.synced(source, target)
    assert report.total("carried") == 4
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}


def test_a_draft_that_was_saved_again_is_not_taken_for_the_one_before(syncing, account):
    """Their headers and sizes are equal, their dates of arrival are not."""
    source, target = account("sdbox"), account("maildir")
    head = b"From: ann@example.org\r\nDate: Wed, 7 Feb 2024 21:52:25 -0800\r\nSubject: draft\r\n\r\n"
    mails = [Item(head.replace(b"draft", b"%d" % i) + b"as it was", date="07-Feb-2024 22:00:00 -0800") for i in range(4)]
    again = Item(mails[3].raw.replace(b"was", b"is!"), date="07-Feb-2024 22:05:00 -0800")
    source.fill(Corpus({("Drafts",): [*mails[:3], again]}))
    target.fill(Corpus({("Drafts",): mails}))
    report = syncing.synced(source, target)
    assert report.total("found") == 3 and report.total("carried") == 1
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found == {"extra"}


def test_a_missing_message_id_is_no_obstacle(syncing, account):
    source, target = account("sdbox"), account("maildir")
    bare = [Item(b"Subject: bare\r\n\r\n%d\r\n" % number) for number in (1, 1, 2, 3, 3, 3)]
    source.fill(Corpus({INBOX: bare}))
    target.fill(Corpus({INBOX: [bare[0], bare[3]]}))
    assert syncing.synced(source, target).total("carried") == 4
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}
    assert_second_run_writes_nothing(syncing, source, target)


def test_a_weak_identity_never_deletes(syncing, account):
    """What has no Message-ID, Date or From may be another's: it is left alone."""
    source, target = account("sdbox"), account("maildir")
    source.fill(Corpus({INBOX: list(plain_messages(20))}))
    target.fill(Corpus({INBOX: [Item(b"Subject: weak\r\n\r\nmine\r\n")]}))
    report = syncing.run(source, target, "--delete2")
    assert report.total("deleted") == 0
    assert "weak" in [message.subject for message in target.read().folders[INBOX].messages]


# ---- the journal ----


def test_a_journal_of_other_accounts_is_refused(syncing, pair, account):
    source, target = pair
    other = account("sdbox")
    journal = syncing.journal(source, target)
    before = journal.read_bytes()
    report = syncing.run(source, other, "--journal", journal)
    assert report.status not in (OK, USAGE)
    assert journal.name in report.log
    assert journal.read_bytes() == before
    assert other.read().messages() == 0


def test_nothing_is_asked_of_folders_that_have_not_changed(syncing, start_fake):
    source, target = start_fake(), start_fake()
    names = [("INBOX",), *((f"folder {number}",) for number in range(20))]
    source.fill(Corpus({name: list(plain_messages(5)) for name in names}))
    syncing.synced(source, target)
    for end in (source, target):
        end.fake.log.clear()
    syncing.synced(source, target)
    for end in (source, target):
        assert end.fake.count("FETCH", "UID FETCH", "SEARCH", "UID SEARCH") == 0
        assert end.fake.writes() == []


def test_changes_are_asked_for_by_condstore(syncing, start_fake):
    source, target = start_fake(), start_fake()
    source.fill(Corpus({INBOX: list(plain_messages(200))}))
    syncing.synced(source, target)
    source.fake.log.clear()
    source.tell("STORE 7 +FLAGS (\\Flagged)", select=INBOX)
    syncing.synced(source, target)
    assert any("CHANGEDSINCE" in arguments for _, arguments in source.fake.log)
    assert_same(source, target)
