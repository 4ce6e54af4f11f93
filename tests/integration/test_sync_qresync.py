"""`usher sync` with servers that have QRESYNC (RFC 7162): what has gone is told with what has changed; and
how it finds that out where they have none of it, refuse it, or do not tell the truth."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from peers.account import INBOX, differences
from peers.corpus import Corpus, plain_messages
from peers.fakestore import Ways
from syncing import assert_same, assert_second_run_writes_nothing

N = 40
LEAST, MOST = 1, 4294967295


def searches(end) -> int:
    return end.fake.count("UID SEARCH", "SEARCH")


def asked_for_gone(end) -> list[str]:
    return [words for name, words in end.fake.log if name == "UID FETCH" and "VANISHED" in words]


@pytest.fixture
def fakes(syncing, start_fake) -> Callable:
    """Two synced fake accounts, with QRESYNC, whose logs are empty. A further run has the same options:
    with others all is listed anew."""

    def start(*more: str):
        source, target = (start_fake(Ways(offers=["QRESYNC"])) for _ in range(2))
        source.fill(Corpus({INBOX: list(plain_messages(N))}))
        syncing.synced(source, target, *more)
        for end in (source, target):
            end.fake.log.clear()
        return source, target

    return start


def expunge(end, words: str) -> None:
    end.tell(f"UID STORE {words} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {words}", select=INBOX)
    end.fake.log.clear()


def check(source, target) -> None:
    assert_same(source, target)
    for end in (source, target):
        assert end.fake.violations == []


def same_but_order(source, target) -> None:
    """What was carried again is the last."""
    assert {one.what for one in differences(source.read(), target.read())} <= {"order"}
    for end in (source, target):
        assert end.fake.violations == []


# ---- a server that does as it should ----


def test_what_has_gone_from_the_source_is_heard_of_without_a_search(syncing, fakes):
    source, target = fakes("--delete2")
    expunge(source, "3,7:9,40")
    report = syncing.synced(source, target, "--delete2")
    assert report.total("deleted") == 5
    assert len(asked_for_gone(source)) == 1
    assert searches(source) == searches(target) == 0
    check(source, target)


def test_what_has_gone_from_the_target_is_heard_of_without_a_search(syncing, fakes):
    source, target = fakes()
    expunge(target, "1,20:22")
    assert syncing.synced(source, target).total("carried") == 4
    assert len(asked_for_gone(target)) == 1
    assert searches(source) == searches(target) == 0
    same_but_order(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


def test_gone_new_and_changed_at_once(syncing, fakes):
    source, target = fakes("--delete2")
    expunge(source, "5,40")
    source.add(INBOX, plain_messages(3, about="new"))
    source.tell("UID STORE 6:8 +FLAGS.SILENT (\\Flagged)", select=INBOX)
    expunge(target, "9")
    report = syncing.synced(source, target, "--delete2")
    assert report.total("deleted") == 2
    assert report.total("carried") == 4
    assert searches(source) == searches(target) == 0
    same_but_order(source, target)


def test_where_nothing_can_have_gone_it_is_not_asked_for(syncing, fakes):
    source, target = fakes()
    source.add(INBOX, plain_messages(3, about="new"))
    syncing.synced(source, target)
    assert asked_for_gone(source) == asked_for_gone(target) == []
    assert searches(source) == searches(target) == 0
    check(source, target)


def test_qresync_costs_no_round_trip_to_be_enabled(syncing, fakes):
    """It comes right before the first command that is needed anyway, once a connection."""
    source, target = fakes("--delete2")
    expunge(source, "4")
    syncing.synced(source, target, "--delete2", "--connections", "1")
    for end in (source, target):
        names = [name for name, _ in end.fake.log]
        assert names.count("ENABLE") == 1
        assert names.index("ENABLE") < names.index("EXAMINE" if end is source else "SELECT")


def test_more_than_is_known_is_as_good(syncing, fakes):
    """A server without a memory tells of all UIDs that it does not have, be they of no message."""
    source, target = fakes("--delete2")
    expunge(source, "1,20")
    source.fake.ways.vanished = lambda gone: [f"1,20,{N + 1}:{MOST}"]
    assert syncing.synced(source, target, "--delete2").total("deleted") == 2
    assert searches(source) == 0
    check(source, target)


def test_what_is_told_twice_is_gone_once(syncing, fakes):
    source, target = fakes("--delete2")
    expunge(source, "3:5")
    source.fake.ways.vanished = lambda gone: ["3:5", "4", "3,4,5", "5:3"]
    assert syncing.synced(source, target, "--delete2").total("deleted") == 3
    assert searches(source) == 0
    check(source, target)


def test_strangers_that_have_gone_are_no_news(syncing, fakes):
    """The journal has them not, so the count does not agree: a search tells that nothing else went."""
    source, target = fakes()
    target.add(INBOX, plain_messages(2, about="own"))
    syncing.synced(source, target)
    expunge(target, f"{N + 1}")
    assert syncing.synced(source, target).total("carried") == 0
    assert searches(target) == 1
    assert [one.what for one in differences(source.read(), target.read())] == ["extra"]


# ---- servers that do not ----


@pytest.mark.parametrize(
    "sets",
    [[], [f"{LEAST}:{MOST}"], ["2"], ["0:1"], ["nonsense"], ["7,*"], ["6", f"8:{N}"]],
    ids=["nothing", "all", "another", "none", "nonsense", "star", "others"],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_lies_is_found_out_by_the_count(syncing, fakes, sets, side):
    source, target = fakes("--delete2")
    liar = source if side == "source" else target
    expunge(liar, "6,7")
    liar.fake.ways.vanished = lambda gone: sets
    report = syncing.synced(source, target, "--delete2")
    assert searches(liar) == 1
    if side == "source":
        assert report.total("deleted") == 2
        check(source, target)
    else:
        assert (report.total("carried"), report.total("deleted")) == (2, 0)
        same_but_order(source, target)


def test_what_is_listed_is_there_whatever_is_told_of_it(syncing, fakes):
    source, target = fakes("--delete2")
    expunge(source, "9")
    source.tell("UID STORE 3 +FLAGS.SILENT (\\Flagged)", select=INBOX)
    source.fake.ways.vanished = lambda gone: ["3,9"]
    assert syncing.synced(source, target, "--delete2").total("deleted") == 1
    check(source, target)


@pytest.mark.parametrize("answer", [b"NO Not for you", b"BAD No such command"])
def test_who_refuses_to_enable_it_is_asked_as_before(syncing, fakes, answer):
    source, target = fakes("--delete2")
    expunge(source, "4")
    source.fake.ways.on_command = lambda _, name, __: answer if name == "ENABLE" else None
    assert syncing.synced(source, target, "--delete2").total("deleted") == 1
    assert asked_for_gone(source) == []
    assert searches(source) == 1
    check(source, target)


def test_who_refuses_vanished_is_asked_for_it_once(syncing, start_fake):
    """As a Cyrus that stands before others, which enables more than they do."""
    source, target = (start_fake(Ways(offers=["QRESYNC"])) for _ in range(2))
    names = [INBOX, ("a",), ("b",)]
    source.fill(Corpus({name: list(plain_messages(9, about=name[0])) for name in names}))
    syncing.synced(source, target, "--delete2")
    for name in names:
        source.tell("UID STORE 2 +FLAGS (\\Deleted)", "EXPUNGE", select=name)
    source.fake.log.clear()
    source.fake.ways.on_command = lambda _, name, words: (
        b"BAD Invalid UID Fetch modifier VANISHED" if "VANISHED" in words else None
    )
    report = syncing.synced(source, target, "--delete2", "--connections", "1")
    assert report.total("deleted") == 3
    # once alone or, beside another server, once more
    assert len(asked_for_gone(source)) in (1, 2)
    assert searches(source) == 3
    check(source, target)


def test_a_server_without_qresync_is_searched(syncing, start_fake):
    source, target = start_fake(), start_fake()
    source.fill(Corpus({INBOX: list(plain_messages(N))}))
    syncing.synced(source, target, "--delete2")
    expunge(source, "4")
    assert syncing.synced(source, target, "--delete2").total("deleted") == 1
    assert source.fake.count("ENABLE") == 0
    assert searches(source) == 1
    check(source, target)


# ---- real servers ----


@pytest.mark.parametrize(
    "kinds", [("sdbox", "cyrus"), ("cyrus", "maildir"), ("maildir", "sdbox")], ids="-".join
)
def test_real_servers_tell_what_has_gone(syncing, account, kinds):
    """Of both sides, several times; the last message too, of which a Cyrus does not tell by "1:*"."""
    options = ("--delete2", "--delete2-share", "100")
    source, target = (account(kind) for kind in kinds)
    source.fill(Corpus({INBOX: list(plain_messages(N)), ("a",): list(plain_messages(N, about="a"))}))
    syncing.synced(source, target, *options)
    draw = random.Random("gone")
    for turn in range(3):
        for end in (source, target):
            for name in (INBOX, ("a",)):
                uids = sorted(one.uid for one in end.read().folders[name].messages)
                chosen = {*draw.sample(uids, 3), *(uids[-1:] if turn != 1 else [])}
                words = ",".join(map(str, sorted(chosen)))
                end.tell(
                    f"UID STORE {words} +FLAGS.SILENT (\\Deleted)", f"UID EXPUNGE {words}", select=name
                )
        source.add(("a",), plain_messages(2, about=f"turn {turn}"))
        syncing.synced(source, target, *options)
        assert {one.what for one in differences(source.read(), target.read())} <= {"order"}
        assert_second_run_writes_nothing(syncing, source, target, *options)
