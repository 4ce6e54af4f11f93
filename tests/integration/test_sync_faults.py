"""`usher sync` and servers that are poor, wrong, slow or tired, one fault a test.

After each fault the same end state is reached, if need be by another run: nothing twice, nothing
lost, and nothing that a server does not offer was asked of it.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
from peers.account import INBOX, differences
from peers.corpus import Corpus, Item, dated_messages, plain_messages
from peers.fakestore import CAPABILITIES, Ways
from syncing import (
    ERR_APPEND,
    OK,
    OVERQUOTA,
    REFUSED_1,
    REFUSED_2,
    WITH_ERRORS,
    WITH_ERRORS_MAX,
    assert_explained,
    assert_same,
    assert_second_run_writes_nothing,
    dovecot,
)

POOR = [word for word in CAPABILITIES if word not in ("IMAP4rev1", "AUTH=PLAIN")]
NAMES = [INBOX, ("a",), ("b", "c")]


def filled(account, count: int = 30):
    """With `count` messages in each of NAMES."""
    account.fill(
        Corpus(
            {name: list(plain_messages(count, 600, about=name[-1])) for name in NAMES},
            subscribed={("a",)},
        )
    )
    return account


def assert_rightly_done(*ends) -> None:
    for end in ends:
        assert end.fake.violations == []


# ---- poor servers ----


@pytest.mark.parametrize("word", [*POOR, "all"])
def test_a_server_without_an_extension_will_do(syncing, start_fake, word):
    without = POOR if word == "all" else [word]
    source = filled(start_fake(Ways(without=without)))
    target = start_fake(Ways(without=without))
    syncing.synced(source, target)
    assert_same(source, target)
    source.store.fill("a", plain_messages(2, about="new"))
    with source.store.lock:
        folder = source.store.folders["INBOX"]
        folder.messages[3].flags ^= {"\\Flagged"}
        folder.touch(folder.messages[3])
        del folder.messages[7]
        folder.modseq += 1
    report = syncing.run(source, target, "--delete2")
    assert report.status == OK, report.issues
    assert report.total("carried") == 2
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--delete2")
    assert_rightly_done(source, target)


@pytest.mark.parametrize("size", [100, 4096, 4097, 20_000])
def test_literals_up_to_4096_bytes_go_unasked_with_literal_minus(syncing, start_fake, size):
    poor = Ways(without=["LITERAL+", "MULTIAPPEND"], offers=["LITERAL-"])
    source, target = start_fake(), start_fake(poor)
    source.fill(Corpus({INBOX: [Item(b"A: b\r\n\r\n" + b"x" * (size - 8))] * 3}))
    syncing.synced(source, target)
    assert_same(source, target)
    assert_rightly_done(target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_the_uid_may_stand_behind_the_body(syncing, start_fake, side):
    ways = {"source": Ways(), "target": Ways()}
    ways[side].uid_is_last = True
    source, target = filled(start_fake(ways["source"])), start_fake(ways["target"])
    syncing.synced(source, target, "--full")
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


LIES = {
    "nothing": lambda raw: 0,
    "one": lambda raw: 1,
    "half": lambda raw: len(raw) // 2,
    "more": lambda raw: len(raw) + 1000,
    "without CR": lambda raw: len(raw.replace(b"\r", b"")),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("side", ["source", "target"])
def test_lies_about_sizes_do_not_matter(syncing, start_fake, lie, side):
    ways = {"source": Ways(), "target": Ways()}
    ways[side].size = LIES[lie]
    source, target = filled(start_fake(ways["source"])), start_fake(ways["target"])
    syncing.synced(source, target)
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)
    assert_second_run_writes_nothing(syncing, source, target, "--no-journal")
    assert_rightly_done(source, target)


def test_an_appenduid_that_is_left_out_is_found_out(syncing, start_fake):
    source, target = filled(start_fake()), start_fake(Ways(tells_appenduid=False))
    syncing.synced(source, target)
    assert_same(source, target)
    assert_second_run_writes_nothing(syncing, source, target)


# ---- messages that are refused ----


def refusing(words: bytes, *marks: bytes):
    """Refuses messages that have one of `marks` in them."""
    return lambda raw, flags, date: words if any(mark in raw for mark in marks) else None


@pytest.mark.parametrize("early", [False, True], ids=["at the end", "at once"])
@pytest.mark.parametrize("without", [[], ["MULTIAPPEND"], ["LITERAL+"], ["MULTIAPPEND", "LITERAL+"]])
def test_a_refused_message_is_told_and_the_others_arrive(syncing, start_fake, without, early):
    source = filled(start_fake())
    marks = [b"Subject: a 1\r", b"Subject: a 17\r", b"Subject: c 30\r"]
    target = start_fake(
        Ways(without=without, refuses=refusing(b"Not this one", *marks), answers_early=early)
    )
    report = syncing.run(source, target)
    assert report.status in (ERR_APPEND, WITH_ERRORS)
    told = {(i["folder"], i["from_uid"]) for i in report.issues if i["reason"] == "append-refused"}
    assert told == {("a", 1), ("a", 17), ("b/c", 30)}
    assert all("Not this one" in issue["text"] for issue in report.issues)
    assert_explained(source, target, report)
    target.fake.ways = Ways(without=without)
    report = syncing.synced(source, target)
    assert report.total("carried") == 3
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}
    assert_rightly_done(target)


def test_a_server_that_refuses_everything_is_not_asked_for_ever(syncing, start_fake):
    source = filled(start_fake(), 200)
    target = start_fake(Ways(refuses=lambda raw, flags, date: b"Not today"))
    report = syncing.run(source, target, "--errorsmax", "50")
    assert report.status == WITH_ERRORS_MAX
    assert target.read().messages() == 0
    assert len(report.issues) < 300
    assert target.fake.count("APPEND") < 2000


@pytest.mark.parametrize("without", [[], ["LITERAL+"], ["LITERAL+", "MULTIAPPEND"]])
def test_a_message_that_is_too_big_is_told(syncing, start_fake, without):
    source, target = start_fake(), start_fake(Ways(without=without, message_most=10_000))
    big = list(plain_messages(2, 20_000, about="big"))
    source.fill(Corpus({INBOX: [*plain_messages(3), big[0], *plain_messages(3, first=4), big[1]]}))
    report = syncing.run(source, target)
    assert report.status != OK
    assert report.reasons()["too-big"] == 2
    assert_explained(source, target, report)
    assert_rightly_done(target)


def test_a_quota_that_is_used_up_ends_it_and_more_room_lets_it_go_on(syncing, start_fake):
    source = filled(start_fake())
    target = start_fake(Ways(quota=source.store.bytes() // 2))
    report = syncing.run(source, target)
    assert report.status == OVERQUOTA
    assert report.reasons()["over-quota"] >= 1
    assert 0 < target.read().messages() < source.read().messages()
    target.ways.quota = None
    syncing.synced(source, target)
    assert_same(source, target)


@pytest.mark.parametrize("words", [b"", b"BAD What is that?"])
def test_a_link_that_breaks_behind_the_work_is_opened_again(syncing, start_fake, words):
    """The subjects of what was refused are looked at when a folder is done, and are not worth a
    further try; the next folder needs the link."""
    source, target = filled(start_fake()), start_fake(Ways(refuses=lambda raw, flags, date: b"No"))
    broken: list[int] = []

    def breaks(number: int, name: str, arguments: str) -> bytes | None:
        if "SUBJECT" not in arguments or broken:
            return None
        broken.append(number)
        return words

    source.ways.on_command = breaks
    report = syncing.run(source, target, "--connections", "1")
    assert broken
    assert report.reasons()["append-refused"] == source.read().messages()
    target.ways.refuses = None
    syncing.synced(source, target)
    assert_same(source, target)


def test_a_limit_on_the_messages_of_an_append_is_found(syncing, start_fake):
    source, target = filled(start_fake()), start_fake(Ways(batch_most=7))
    syncing.synced(source, target, "--timeout", "10")
    assert_same(source, target)


def test_a_folder_that_vanishes_is_made_again(syncing, start_fake):
    source, target = filled(start_fake()), start_fake()

    def vanish(number: int, name: str, arguments: str) -> bytes | None:
        if name == "APPEND" and target.fake.count("APPEND") == 1:
            with target.store.lock:
                target.store.folders.pop("a", None)
        return None

    target.ways.on_command = vanish
    syncing.run(source, target, "--connections", "1")
    target.ways.on_command = None
    syncing.synced(source, target)
    assert_same(source, target)


def test_keywords_that_are_refused_are_told_and_the_mail_arrives(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(keywords="refused"))
    flagged = [Item(item.raw, ("\\Seen", "Work"), item.date) for item in plain_messages(3)]
    source.fill(Corpus({INBOX: [*flagged, *plain_messages(5, first=4)]}))
    report = syncing.run(source, target)
    assert report.status != OK
    assert report.reasons()["keywords"] == 3
    found = assert_explained(source, target, report)
    assert [one.what for one in found if one.what != "order"] == ["flags"] * 3
    assert all("\\seen" in message.flags for message in target.read().folders[INBOX].messages[:3])
    assert_second_run_writes_nothing(syncing, source, target, status=report.status)


def test_keywords_that_a_folder_cannot_have_are_left_out(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(keywords="none"))
    flagged = [Item(item.raw, ("\\Flagged", "Work"), item.date) for item in plain_messages(3)]
    source.fill(Corpus({INBOX: flagged}))
    report = syncing.run(source, target)
    assert report.reasons()["keywords"] == 3
    assert_explained(source, target, report)
    assert_second_run_writes_nothing(syncing, source, target, status=report.status)


def test_too_many_keywords_cost_keywords_and_no_mail(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(keywords_most=26))
    items = [Item(item.raw, (f"word{n}",)) for n, item in enumerate(plain_messages(40))]
    source.fill(Corpus({INBOX: items}))
    report = syncing.run(source, target)
    assert report.status != OK
    found = assert_explained(source, target, report)
    assert [one.what for one in found if one.what != "order"] == ["flags"] * 14


def test_dates_that_are_refused_are_told_and_the_mail_arrives(syncing, start_fake):
    source = start_fake()
    target = start_fake(Ways(oldest=datetime(1970, 1, 1, tzinfo=timezone.utc)))
    source.fill(Corpus({INBOX: list(dated_messages())}))
    report = syncing.run(source, target)
    assert report.reasons()["date"] == 2
    found = assert_explained(source, target, report, with_zones=True)
    assert [one.what for one in found if one.what != "order"] == ["date"] * 2
    assert_second_run_writes_nothing(syncing, source, target, status=report.status)


def test_a_message_without_a_text_is_told(syncing, start_fake):
    source, target = filled(start_fake(), 5), start_fake()
    source.ways.body = lambda uid, raw: None if b"Subject: a 3\r" in raw else raw
    report = syncing.run(source, target)
    (issue,) = (issue for issue in report.issues if issue["from_uid"])
    assert (issue["folder"], issue["from_uid"]) == ("a", 3)
    assert issue["reason"] == "fetch-nothing"
    source.ways.body = lambda uid, raw: raw
    syncing.synced(source, target)
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}


def test_a_message_that_the_source_refuses_to_give_is_told(syncing, start_fake):
    source, target = filled(start_fake(), 10), start_fake()

    def refuse(number: int, name: str, arguments: str) -> bytes | None:
        found = re.match(r"([\d,:]+) .*BODY", arguments) if name == "UID FETCH" else None
        has_it = found and any(
            int(part.split(":")[0]) <= 4 <= int(part.split(":")[-1]) for part in found[1].split(",")
        )
        return b"NO [SERVERBUG] Message 4 is broken" if has_it else None

    source.ways.on_command = refuse
    report = syncing.run(source, target)
    source.ways.on_command = None
    assert report.status != OK
    assert {i["from_uid"] for i in report.issues if i["reason"] == "fetch-refused"} == {4}
    assert_explained(source, target, report)
    syncing.synced(source, target)


# ---- servers that are tired ----


@pytest.mark.parametrize("side", ["source", "target"])
def test_throttling_is_waited_out(syncing, start_fake, side):
    source, target = filled(start_fake()), start_fake()
    end = {"source": source, "target": target}[side]
    throttled = []

    def throttle(number: int, name: str, arguments: str) -> bytes | None:
        if number % 7 or name in ("LIST", "NAMESPACE", "ENABLE", "ID"):
            return None
        throttled.append(name)
        return b"BAD Request is throttled. Suggested Backoff Time: 100 milliseconds"

    end.ways.on_command = throttle
    report = syncing.run(source, target, "--connections", "1")
    end.ways.on_command = None
    assert throttled
    if report.status != OK:
        syncing.synced(source, target)
    assert_same(source, target)


@pytest.mark.parametrize(
    "word",
    [
        b"NO [UNAVAILABLE] Too many connections",
        b"NO [LIMIT] Maximum number of connections from user+IP exceeded",
        b"* BYE [UNAVAILABLE] Too many connections",
        b"* BYE Too many simultaneous connections",
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_too_many_connections_are_made_fewer(syncing, start_fake, side, word):
    source, target = filled(start_fake()), start_fake()
    end = {"source": source, "target": target}[side]
    end.ways.logins += [b"", word, word, word]
    syncing.synced(source, target)
    end.ways.logins.clear()
    assert_same(source, target)


def test_a_dovecot_that_lets_in_two_at_a_time_is_enough(syncing, folder, start_fake):
    with dovecot(folder, "narrow", driver="sdbox", userip_connections=2) as narrow:
        source, target = filled(start_fake()), narrow.account()
        syncing.synced(source, target, "--connections", "6")
        assert_same(source, target)


@pytest.mark.parametrize("most", [9, 15, 30])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_says_bye_after_some_commands_is_asked_again(syncing, start_fake, side, most):
    source, target = filled(start_fake()), start_fake()
    end = {"source": source, "target": target}[side]
    end.ways.commands_a_connection = most
    report = syncing.run(source, target)
    end.ways.commands_a_connection = None
    if report.status != OK:
        assert most < 15
        syncing.synced(source, target)
    assert_same(source, target)


def test_slow_answers_are_waited_for(syncing, start_fake):
    source, target = filled(start_fake(), 5), start_fake(Ways(delay_s=0.05))
    syncing.synced(source, target)
    assert_same(source, target)


# ---- numbers that change ----


@pytest.mark.parametrize("side", ["source", "target", "both"])
def test_folders_that_were_numbered_anew_are_compared_by_headers(syncing, start_fake, side):
    source, target = filled(start_fake()), start_fake()
    syncing.synced(source, target)
    for name, end in (("source", source), ("target", target)):
        if side in (name, "both"):
            del end.store.folders["a"].messages[4]
            end.store.renumber("a")
    report = syncing.run(source, target)
    assert report.status == OK, report.issues
    assert report.reasons()["uidvalidity"] == 1
    assert report.total("carried") == (1 if side == "target" else 0)
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= ({"extra"} if side == "source" else {"order"})
    assert_second_run_writes_nothing(syncing, source, target)


@pytest.mark.parametrize("at", [3, 6, 9, 12, 15, 18, 21])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_folder_that_is_numbered_anew_meanwhile_gets_nothing_twice(syncing, start_fake, side, at):
    source, target = filled(start_fake()), start_fake()
    end = {"source": source, "target": target}[side]

    def renumber(number: int, name: str, arguments: str) -> bytes | None:
        if number == at:
            with end.store.lock:
                for wire in list(end.store.folders):
                    end.store.renumber(wire)
        return None

    end.ways.on_command = renumber
    report = syncing.run(source, target, "--connections", "1")
    end.ways.on_command = None
    if report.status != OK:
        syncing.synced(source, target)
    found = {difference.what for difference in differences(source.read(), target.read())}
    assert found <= {"order"}


# ---- servers that lie ----


def test_a_message_that_was_taken_and_is_not_there_is_found_missing(syncing, start_fake):
    source, target = filled(start_fake()), start_fake()
    target.ways.stores = lambda raw: None if b"Subject: a 12\r" in raw else raw
    report = syncing.run(source, target)
    assert report.status != OK
    missing = [issue for issue in report.issues if issue["reason"] == "missing"]
    assert [(issue["folder"], issue["from_uid"]) for issue in missing] == [("a", 12)]
    assert missing[0]["subject"] == "a 12"


@pytest.mark.parametrize("without", [[], ["UIDPLUS"]])
def test_bytes_that_the_target_changes_are_found(syncing, start_fake, without):
    source, target = filled(start_fake(), 8), start_fake(Ways(without=without))
    target.ways.stores = lambda raw: raw.replace(b"0123", b"0124") if b"Subject: a 3\r" in raw else raw
    report = syncing.run(source, target)
    assert report.status != OK
    told = {(i["folder"], i["from_uid"], i["reason"]) for i in report.issues if i["from_uid"]}
    assert told == {("a", 3, "bytes-differ")}


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password_is_told_by_the_exit_status(syncing, start_fake, side):
    source, target = filled(start_fake()), start_fake()
    end = {"source": source, "target": target}[side]
    end.fake.password = "another"
    report = syncing.run(source, target)
    assert report.status == (REFUSED_1 if side == "source" else REFUSED_2)


def test_of_two_wrong_passwords_that_of_the_source_is_told(syncing, start_fake):
    """However long the source takes to say so: both are asked at the same time."""
    source, target = start_fake(Ways(delay_s=0.3)), start_fake()
    source.fake.password = target.fake.password = "another"
    assert syncing.run(source, target).status == REFUSED_1


def test_what_is_done_for_both_sides_takes_the_time_of_one(syncing, start_fake):
    """The answers come late, and both servers are asked before the first has answered."""
    ends = start_fake(Ways(delay_s=0.1)), start_fake(Ways(delay_s=0.1))
    order: list[str] = []
    for end in ends:
        end.ways.on_command = lambda number, name, arguments: order.append(name)
    syncing.synced(*ends)
    first = order.index("LIST")
    assert order[first : first + 2] == ["LIST"] * 2, order
    first = min(order.index("EXAMINE"), order.index("SELECT"))
    assert set(order[first : first + 2]) == {"EXAMINE", "SELECT"}, order
    assert end.fake.count("LOGIN", "AUTHENTICATE") <= 2
