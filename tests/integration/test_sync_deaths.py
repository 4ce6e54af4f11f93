"""`usher sync` that is killed, cut off or left waiting, at every place where that can happen: another
run, or the same one, comes to the same end, nothing twice and nothing lost."""

from __future__ import annotations

import random
import signal

import pytest
from peers.account import INBOX
from peers.corpus import Corpus, plain_messages, usual_messages
from peers.fakestore import Ways
from peers.process import wait_until
from peers.relay import Relay, Trouble
from syncing import BY_SIGNAL, OK, UNREACHED_1, UNREACHED_2, assert_same, finish

LONG = pytest.mark.long
STEPS_MOST = 200


def small_corpus() -> Corpus:
    return Corpus(
        {
            INBOX: list(usual_messages(12)),
            ("a",): list(plain_messages(6, 3000, about="a")),
            ("b", "c"): [*plain_messages(2), *plain_messages(2)],
        },
        subscribed={("a",)},
    )


def changed_corpus() -> Corpus:
    return Corpus({("a",): list(plain_messages(5, about="new")), ("d",): list(plain_messages(4))})


def change(source) -> None:
    """What the next run has to follow: new mail, a new folder, flags, an expunged message."""
    source.fill(changed_corpus())
    source.tell(
        "STORE 2:3 +FLAGS.SILENT (\\Flagged word)",
        "STORE 1 +FLAGS.SILENT (\\Deleted)",
        "EXPUNGE",
        select=INBOX,
    )


def die_everywhere(syncing, make_pair, every: int = 1) -> int:
    """Kills a first run and the one after a change at each `every`th moment before or after a commit
    of the journal; returns how many moments there were."""
    for step in range(1, STEPS_MOST, every):
        source, target = make_pair()
        source.fill(small_corpus())
        died = syncing.run(source, target, env={"USHER_SYNC_DIE_AT": str(step)})
        if died.status == OK:
            return step
        assert died.status == -signal.SIGKILL, (step, died.log)
        syncing.synced(source, target)
        assert_same(source, target)
        change(source)
        died = syncing.run(source, target, "--delete2", env={"USHER_SYNC_DIE_AT": str(step)})
        assert died.status in (OK, -signal.SIGKILL)
        syncing.synced(source, target, "--delete2")
        assert_same(source, target)
        marks = target.read().marks()
        syncing.synced(source, target, "--delete2")
        assert target.read().marks() == marks
    raise AssertionError("there is no end of the journal's steps")


@pytest.mark.parametrize("without", [(), ("UIDPLUS",), ("UIDPLUS", "MULTIAPPEND")], ids=str)
def test_a_kill_after_a_step_of_the_journal_does_no_harm(syncing, start_fake, without):
    def make_pair():
        return start_fake(), start_fake(Ways(without=without))

    assert die_everywhere(syncing, make_pair, every=5) > 10


@LONG
@pytest.mark.parametrize("kinds", [("sdbox", "cyrus"), ("cyrus-dots", "maildir")], ids="-".join)
def test_a_kill_after_each_step_of_the_journal_does_no_harm(syncing, start_fake, account, kinds):
    sources = account(kinds[0])
    sources.fill(small_corpus())

    def make_pair():
        # Accounts of real servers are few: each target serves many deaths, emptied before.
        return start_fake(), start_fake()

    assert die_everywhere(syncing, make_pair) > 10
    for step in range(1, 12):
        target = account(kinds[1])
        died = syncing.run(sources, target, env={"USHER_SYNC_DIE_AT": str(step * 3)})
        assert died.status in (OK, -signal.SIGKILL)
        syncing.synced(sources, target)
        assert_same(sources, target)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_and_the_next_run_goes_on(syncing, start_fake, number):
    source, target = start_fake(), start_fake(Ways(delay_s=0.02))
    source.fill(Corpus({(f"folder {n}",): list(plain_messages(20, 2000)) for n in range(20)}))
    running = syncing.start(source, target)
    wait_until(lambda: target.fake.count("APPEND") > 5, 20, "something is carried")
    running.send_signal(number)
    report = finish(running)
    assert report.status == BY_SIGNAL
    assert report.told["signal"] == number
    target.ways.delay_s = 0
    syncing.synced(source, target)
    assert_same(source, target)


def test_a_kill_in_the_middle_does_no_harm(syncing, start_fake):
    source, target = start_fake(), start_fake(Ways(delay_s=0.005))
    source.fill(Corpus({(f"folder {n}",): list(plain_messages(20, 2000)) for n in range(10)}))
    for moment in range(3, 30, 6):
        running = syncing.start(source, target)
        before = target.fake.count("APPEND")
        wait_until(
            lambda: target.fake.count("APPEND") > before + moment or running.poll() is not None,
            20,
            "something is carried",
        )
        running.kill()
        finish(running)
    target.ways.delay_s = 0
    syncing.synced(source, target)
    assert_same(source, target)


# ---- links ----


def clean_run(syncing, source, target) -> tuple[Relay, Relay]:
    """Relays that have counted what a run without troubles takes."""
    with Relay((source.place.address, source.place.port)) as one:
        with Relay((target.place.address, target.place.port)) as other:
            syncing.synced(source.through(one), target.through(other), "--connections", "1")
    return one, other


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_a_link_that_breaks_at_some_byte_is_made_anew(syncing, start_fake, side, way, kind):
    break_everywhere(syncing, start_fake, side, way, kind, cuts=4 if kind == "cut" else 1)


@LONG
@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_a_link_that_breaks_at_any_byte_is_made_anew(syncing, start_fake, side, way, kind):
    break_everywhere(syncing, start_fake, side, way, kind, cuts=100 if kind == "cut" else 8)


def break_everywhere(syncing, start_fake, side: str, way: str, kind: str, cuts: int) -> None:
    source = start_fake()
    source.fill(small_corpus())
    one, other = clean_run(syncing, source, start_fake())
    total = getattr(one if side == "source" else other, way)
    draw = random.Random(f"{side} {way} {kind}")
    for _ in range(cuts):
        target = start_fake()
        trouble = Trouble(**{f"{kind}_{way}": draw.randrange(total)})
        end = source if side == "source" else target
        with Relay((end.place.address, end.place.port), troubles=[trouble]) as relay:
            ends = {"source": source, "target": target, side: end.through(relay)}
            more = ("--connections", "1", "--timeout", "1" if kind == "stall" else "20")
            report = syncing.run(ends["source"], ends["target"], *more)
            if report.status != OK:
                # Nobody begins anew before the first login.
                assert report.status in (10, 16, UNREACHED_1, UNREACHED_2), (trouble, report.log)
                syncing.synced(ends["source"], ends["target"])
        assert_same(source, target)


@LONG
def test_a_link_that_breaks_again_and_again_ends_in_words(syncing, start_fake):
    source, target = start_fake(), start_fake()
    source.fill(Corpus({INBOX: list(plain_messages(3, 200_000))}))
    troubles = [Trouble(cut_down=100_000) for _ in range(200)]
    with Relay((source.place.address, source.place.port), troubles=troubles) as relay:
        report = syncing.run(source.through(relay), target, "--connections", "1")
        assert relay.connections < 60
        assert report.status != OK
        assert report.reasons()
        relay.troubles.clear()
        syncing.synced(source.through(relay), target)
    assert_same(source, target)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_that_cannot_be_reached_is_told_by_the_exit_status(syncing, start_fake, side):
    source, target = start_fake(), start_fake()
    ends = {"source": source, "target": target}
    ends[side].fake.stop_listening()
    report = syncing.run(source, target)
    assert report.status == (UNREACHED_1 if side == "source" else UNREACHED_2)


@pytest.mark.parametrize("side", ["source", "target"])
def test_connections_that_are_refused_at_first_are_tried_again(syncing, start_fake, side):
    source, target = start_fake(), start_fake()
    source.fill(small_corpus())
    end = {"source": source, "target": target}[side]
    # The first is let in, so that who is refused was there before.
    troubles = [Trouble(cut_down=3000), Trouble(is_refused=True), Trouble(is_refused=True)]
    with Relay((end.place.address, end.place.port), troubles=troubles) as relay:
        ends = {"source": source, "target": target, side: end.through(relay)}
        syncing.synced(ends["source"], ends["target"], "--connections", "1")
    assert_same(source, target)
