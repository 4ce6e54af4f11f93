"""One folder over several connections to a source that gives each of them little: what arrives is the
same, in the same order, whatever befalls the further ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from peers.account import INBOX, differences
from peers.corpus import MIB, Corpus, plain_messages
from peers.process import wait_until
from peers.relay import Relay, Trouble
from syncing import OK, Account, FakeAccount, Report, assert_same, finish

# What a connection gives in a second, and what of it may be on the way without being read.
RATE, QUEUED = 2 * MIB, 64 << 10
MESSAGES = 240
SOUND = Trouble()


def mail(messages: int = MESSAGES, size: int = 50_000) -> list:
    return list(plain_messages(messages, size))


@pytest.fixture
def slowly(stack: ExitStack) -> Callable[..., Account | FakeAccount]:
    """An account by way of a relay that lets little through a connection; troubles are for the first
    connections."""

    def slow(account: Account, *troubles: Trouble) -> Account:
        server = (account.place.address, account.place.port)
        relay = Relay(server, rate=RATE, queued=QUEUED, troubles=list(troubles))
        return account.through(stack.enter_context(relay))

    return slow


@pytest.fixture
def fakes(start_fake, slowly) -> Callable[..., tuple[FakeAccount, FakeAccount]]:
    """A slow source with one large folder, and a target."""

    def start(*troubles: Trouble) -> tuple[FakeAccount, FakeAccount]:
        source = slowly(start_fake(), *troubles)
        source.fill(Corpus({INBOX: mail()}))
        return source, start_fake()

    return start


def widths(report: Report) -> list[int]:
    """How many connections to the source there were, one after the other."""
    return [int(found) for found in re.findall(r"(\d+) connections? to the source\n", report.log)]


class AtSecond:
    """For Ways.on_command: does something before the second command of a name."""

    def __init__(self, name: str, act: Callable[[], bytes | None]) -> None:
        self.name, self.act, self.count = name, act, 0

    def __call__(self, number: int, name: str, arguments: str) -> bytes | None:
        self.count += name == self.name
        return self.act() if name == self.name and self.count == 2 else None


@pytest.mark.parametrize("kind", ["sdbox", pytest.param("cyrus", marks=pytest.mark.long)])
def test_a_slow_source_is_asked_over_several_connections(syncing, account, slowly, kind):
    source, target = slowly(account(kind)), account("maildir")
    source.fill(Corpus({INBOX: mail()}))
    report = syncing.synced(source, target, "--connections", "4")
    assert widths(report)[:1] == [2]
    assert 2 <= source.relay.most <= 4
    assert_same(source, target)


def test_it_takes_less_time(syncing, fakes):
    source, target = fakes()
    report = syncing.synced(source, target)
    assert source.relay.most > 1
    assert report.told["seconds"] < 0.85 * report.total("carried_bytes") / RATE
    assert_same(source, target)


def test_with_one_connection_there_is_one(syncing, fakes):
    source, target = fakes()
    report = syncing.synced(source, target, "--connections", "1")
    assert source.relay.connections == 1
    assert widths(report) == []


def test_a_fast_source_is_asked_over_one(syncing, start_fake, stack):
    source, target = start_fake(), start_fake()
    relay = stack.enter_context(Relay((source.place.address, source.place.port)))
    source.fill(Corpus({INBOX: mail()}))
    syncing.synced(source.through(relay), target)
    assert relay.connections == 1


def test_all_folders_together_have_no_more_than_allowed(syncing, start_fake, slowly):
    source, target = slowly(start_fake()), start_fake()
    source.fill(Corpus({INBOX: mail(), ("small",): mail(20)}))
    syncing.synced(source, target, "--connections", "2")
    assert source.relay.connections == 3  # that of the small folder is free then
    assert source.relay.most == 2
    assert_same(source, target)


def test_what_is_compressed_comes_over_several(syncing, account, slowly):
    source, target = slowly(account("mdbox")), account("maildir")
    source.fill(Corpus({INBOX: mail(2000, 40_000)}))
    source.relay.rate = RATE / 16
    report = syncing.synced(source, target, "--compress", "yes")
    assert report.told["wire_bytes"]["from"] < report.total("carried_bytes") / 4
    assert_same(source, target)


def test_a_server_that_lets_no_more_in_is_left_alone(syncing, fakes):
    source, target = fakes()
    source.ways.logins += [b"", b"NO [LIMIT] Maximum number of connections exceeded"]
    report = syncing.synced(source, target)
    assert "one connection less: the server refuses the login" in report.log
    assert source.relay.connections == 2
    assert_same(source, target)


TROUBLES = {
    "refused": Trouble(is_refused=True),
    "cut in the middle": Trouble(cut_down=700_000),
    "stalled in the middle": Trouble(stall_down=700_000),
    "cut at once": Trouble(cut_down=0),
    "cut in the first message": Trouble(cut_down=20_000),
    "stalled at once": Trouble(stall_down=0),
}
OFTEN = 3


@pytest.mark.parametrize(
    "trouble",
    [pytest.param(word, marks=pytest.mark.long if i >= OFTEN else ()) for i, word in enumerate(TROUBLES)],
)
def test_trouble_of_a_further_connection_does_no_harm(syncing, fakes, trouble):
    source, target = fakes(SOUND, TROUBLES[trouble])
    report = syncing.synced(source, target, "--timeout", "1")
    assert source.relay.connections > 1
    assert re.search("one connection( to the source)? less|going on where it was", report.log)
    assert report.total("carried") == MESSAGES
    assert_same(source, target)


def test_a_kill_in_the_middle_does_no_harm(syncing, fakes):
    source, target = fakes()
    running = syncing.start(source, target)
    wait_until(lambda: source.relay.most > 1 and source.fake.count("UID FETCH") > 20, 20, "it is wide")
    running.kill()
    finish(running)
    syncing.synced(source, target)
    assert_same(source, target)


def test_a_folder_that_is_numbered_anew_is_not_mixed(syncing, fakes):
    source, target = fakes()
    renumber = AtSecond("EXAMINE", lambda: source.store.renumber("INBOX"))
    source.ways.on_command = renumber
    report = syncing.synced(source, target)
    assert renumber.count >= 2
    assert "one connection less: UIDVALIDITY" in report.log
    assert_same(source, target)


def test_what_goes_meanwhile_leaves_the_rest_in_order(syncing, account, slowly, start_fake):
    source, target = slowly(account("sdbox")), start_fake()
    source.fill(Corpus({INBOX: mail()}))
    running = syncing.start(source, target)
    wait_until(lambda: source.relay.most > 1, 20, "there are several connections")
    gone = ",".join(str(uid) for uid in range(100, 240, 9))
    source.tell(f"UID STORE {gone} +FLAGS.SILENT (\\Deleted)", "EXPUNGE", select=INBOX)
    report = finish(running)
    assert report.status == OK
    assert {one.what for one in differences(source.read(), target.read())} <= {"extra"}
    syncing.synced(source, target, "--delete2")
    assert_same(source, target)
