"""Worlds by chance for the tests of `usher sync`: two fake servers, mail, changes and faults, all drawn
from one seed, and a model that says what must have come of it.

The model knows what was ever at the source and what others have put to the target; what is there is
read by peers/account.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from peers.account import Difference, differences, told
from peers.corpus import KEYWORDS, SYSTEM, Item
from peers.fakestore import CAPABILITIES, StoredFolder, Ways
from peers.relay import Relay, Trouble
from syncing import OK, FakeAccount, Report, Syncing, finish

WIRES = ("INBOX", "a", "b", "b/c", "d e")
OPTIONAL = [word for word in CAPABILITIES if word not in ("IMAP4rev1", "AUTH=PLAIN")]
DATES = (
    "07-Feb-2024 21:52:25 -0800",
    "29-Feb-2000 23:30:00 +1400",
    "01-Jan-1970 00:00:01 +0000",
    " 1-Mar-2021 08:00:00 +0530",
)
MILD_AT_SOURCE = ("append", "append", "append", "flags", "flags", "expunge", "move")
AT_SOURCE = (*MILD_AT_SOURCE, "folder", "rename", "delete", "renumber")
MILD_AT_TARGET = ("foreign", "flags", "expunge", "expunge")
AT_TARGET = (*MILD_AT_TARGET, "renumber", "delete")
REFUSALS = (
    b"NO Not now",
    b"NO [OVERQUOTA] No room is left",
    b"NO [LIMIT] Too much. Suggested Backoff Time: 20 milliseconds",
    b"NO [UNAVAILABLE] Try again in 30 ms",
    b"BAD Request is throttled. Suggested Backoff Time: 20 milliseconds",
    b"BAD What is that?",
    b"",
)


def digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def is_weak(raw: bytes) -> bool:
    """Whether too little is told for a message to be known by its header."""
    return b"Message-ID:" not in raw and not (b"Date:" in raw and b"From:" in raw)


class Mail:
    """Messages of all kinds; some are equal, or have equal headers."""

    def __init__(self, draw: random.Random, about: str) -> None:
        self.draw = draw
        self.about = about
        self.made = 0
        self.before: list[bytes] = []

    def raw(self) -> bytes:
        draw, self.made = self.draw, self.made + 1
        kind = draw.random()
        if self.before and kind < 0.12:
            return draw.choice(self.before)
        head = (
            f"From: {self.about}@example.org\r\nDate: Wed, 7 Feb 2024 21:00:00 -0800\r\n"
            f"Message-ID: <{self.made}.{self.about}@example.org>\r\nSubject: mail {self.made}\r\n"
        ).encode()
        if self.before and kind < 0.22:
            # A header that was there before, with another body, as long as the other or not.
            head, gap, body = draw.choice(self.before).partition(b"\r\n\r\n")
            raw = head + gap + (body.swapcase() if draw.random() < 0.5 else body + b"more\r\n")
        elif kind < 0.3:
            about = f"{self.about} {draw.randrange(3)}"
            raw = f"Subject: {about}\r\n\r\n{draw.randrange(4)}\r\n".encode()
        elif kind < 0.34:
            about = self.about.encode()
            raw = draw.choice((about, b"\r\n" + about, head, head[:-2]))
        elif kind < 0.36:
            raw = head + b"\r\n" + bytes(draw.choices(range(32, 256), k=200)) + b"\r\n"
        elif kind < 0.40:
            raw = head + b"\r\n" + b"a line of many\r\n" * draw.randrange(2000, 20_000)
        else:
            raw = head + b"\r\n" + b"body %d\r\n" % self.made * draw.randrange(300)
        self.before.append(raw)
        return raw

    def flags(self, can_delete: bool = True) -> tuple[str, ...]:
        draw = self.draw
        words = [word for word in SYSTEM if can_delete or word != "\\Deleted"]
        chosen = {word for word in words if draw.random() < 0.25}
        return (*sorted(chosen), *draw.sample(KEYWORDS, draw.choice((0, 0, 0, 1, 3))))

    def item(self) -> Item:
        """Equal messages have one date: which of them is which cannot be known."""
        raw = self.raw()
        return Item(raw, self.flags(), DATES[int(digest(raw), 16) % len(DATES)])

    def items(self, most: int) -> list[Item]:
        return [self.item() for _ in range(self.draw.randrange(most + 1))]


@dataclass
class Model:
    """What may be at the target beside the source's mail, by folder and digest: `gone` was at the
    source once, `foreign` is others'."""

    gone: dict[str, Counter[str]] = field(default_factory=dict)
    foreign: dict[str, Counter[str]] = field(default_factory=dict)
    weak: set[str] = field(default_factory=set)
    was_folder: set[str] = field(default_factory=set)

    def leaves(self, wire: str, raw: bytes) -> None:
        self.gone.setdefault(wire, Counter())[digest(raw)] += 1
        self.note(raw)

    def is_foreign(self, wire: str, raw: bytes) -> None:
        self.foreign.setdefault(wire, Counter())[digest(raw)] += 1
        self.note(raw)

    def note(self, raw: bytes) -> None:
        if is_weak(raw):
            self.weak.add(digest(raw))

    def loses_folder(self, folder: StoredFolder) -> None:
        self.was_folder.add(folder.wire)
        for one in folder.messages:
            self.leaves(folder.wire, one.raw)


class World:
    """Two servers and all that befalls them, drawn from `seed`. `story` tells it."""

    has_zones = True  # the target keeps those of dates

    def __init__(
        self,
        seed: int,
        stack: ExitStack,
        syncing: Syncing,
        source: FakeAccount,
        target: FakeAccount,
    ) -> None:
        self.draw = random.Random(seed)
        self.syncing = syncing
        # By relays all the time: a journal is for these addresses.
        self.source, self.target = (
            end.through(stack.enter_context(Relay((end.place.address, end.place.port))))
            for end in (source, target)
        )
        self.model = Model()
        self.mail = Mail(self.draw, "own")
        self.others = Mail(self.draw, "foreign")
        self.lock = threading.Lock()
        self.story: list[str] = [f"seed {seed}"]
        self.is_ordered = True
        self.deletes = self.draw.random() < 0.4
        self.has_journal = self.draw.random() < 0.75
        self.source_without = self.capabilities()
        self.target_without = self.capabilities()
        self.steady = self.steady_ways()
        self.be_good()

    # ---- servers ----

    def capabilities(self) -> list[str]:
        """What a server does not have."""
        kind = self.draw.random()
        if kind < 0.3:
            return []
        if kind < 0.4:
            return OPTIONAL
        return [word for word in OPTIONAL if self.draw.random() < 0.3]

    def steady_ways(self) -> list[dict]:
        """Of source and target, for all of their lives."""
        draw = self.draw
        ways: list[dict] = []
        for without in (self.source_without, self.target_without):
            lacks_plus = "LITERAL+" in without
            offers = ["LITERAL-"] if lacks_plus and draw.random() < 0.5 else []
            ways.append({"without": without, "offers": offers})
            ways[-1]["uid_is_last"] = draw.random() < 0.15
            if not {"CONDSTORE", "ENABLE"} & set(without) and draw.random() < 0.5:
                offers.append("QRESYNC")
        ways[1]["tells_appenduid"] = draw.random() < 0.85
        ways[1]["answers_early"] = draw.random() < 0.3
        self.tell(f"source {ways[0]}, target {ways[1]}")
        return ways

    def be_good(self) -> None:
        for end in (self.source, self.target):
            end.relay.troubles.clear()
        self.source.fake.ways, self.target.fake.ways = (Ways(**ways) for ways in self.steady)

    def tell(self, what: str) -> None:
        self.story.append(what)

    # ---- mail ----

    def fill(self) -> None:
        """What is there before the first run: half of it may be at the target, by other hands."""
        has_some = self.draw.random() < 0.3
        most = self.draw.choice((5, 15, 40))
        for wire in WIRES:
            items = self.mail.items(most)
            self.source.store.fill(wire, items)
            if has_some:
                there = [item for item in items if self.draw.random() < 0.5]
                self.draw.shuffle(there)
                self.target.store.fill(wire, there)
                self.is_ordered = False
        self.tell(f"{most} messages a folder at most, some at the target: {has_some}")

    def change(self, is_from: bool, is_mild: bool = False) -> None:
        """Folders stay what they are if it `is_mild`. Threads of servers may come at the same time."""
        with self.lock:
            if is_from:
                self.change_source(MILD_AT_SOURCE if is_mild else AT_SOURCE)
            else:
                self.change_target(MILD_AT_TARGET if is_mild else AT_TARGET)

    def change_source(self, kinds: Sequence[str]) -> None:
        draw, store = self.draw, self.source.store
        with store.lock:
            wire = draw.choice(sorted(store.folders))
            folder = store.folders[wire]
            kind = draw.choice(kinds)
            self.tell(f"source: {kind} {wire}")
            if kind == "append":
                store.fill(wire, self.mail.items(6))
            elif kind == "flags":
                self.change_flags(folder)
            elif kind == "expunge":
                self.expunge(folder, lambda raw: self.model.leaves(wire, raw))
            elif kind == "move" and folder.messages:
                one = folder.messages.pop(draw.randrange(len(folder.messages)))
                folder.modseq += 1
                self.model.leaves(wire, one.raw)
                store.folders[draw.choice(sorted(store.folders))].add(one.raw, one.flags, one.date)
            elif kind == "folder":
                store.fill(f"new {draw.randrange(4)}", self.mail.items(5))
            elif kind in ("rename", "delete") and wire != "INBOX":
                self.is_ordered = False
                self.model.loses_folder(folder)
                del store.folders[wire]
                if kind == "rename":
                    folder.wire = f"renamed {draw.randrange(1000)}"
                    store.folders[folder.wire] = folder
            elif kind == "renumber":
                store.renumber(wire)

    def change_target(self, kinds: Sequence[str]) -> None:
        """By others; foreign mail stays, so that it is known how much there must be."""
        draw, store = self.draw, self.target.store
        with store.lock:
            wire = draw.choice(sorted(store.folders))
            folder = store.folders[wire]
            kind = draw.choice(kinds)
            self.tell(f"target: {kind} {wire}")
            if kind == "foreign":
                for item in self.others.items(3):
                    self.model.is_foreign(wire, item.raw)
                    store.fill(wire, [Item(item.raw, self.others.flags(False), item.date)])
            elif kind == "flags":
                self.change_flags(folder)
            elif kind == "expunge":
                self.is_ordered = False
                foreign = self.model.foreign.get(wire, Counter())
                self.expunge(folder, lambda raw: None, lambda raw: digest(raw) not in foreign)
            elif kind == "renumber":
                store.renumber(wire)
            elif wire != "INBOX" and wire not in self.model.foreign:
                del store.folders[wire]

    def change_flags(self, folder: StoredFolder) -> None:
        for one in folder.messages:
            if self.draw.random() < 0.3:
                one.flags = set(self.mail.flags())
                folder.touch(one)

    def expunge(
        self,
        folder: StoredFolder,
        heed: Callable[[bytes], None],
        may_go: Callable[[bytes], bool] = lambda raw: True,
    ) -> None:
        kept = []
        for one in folder.messages:
            if may_go(one.raw) and self.draw.random() < 0.2:
                heed(one.raw)
            else:
                kept.append(one)
        folder.messages = kept
        folder.modseq += 1

    # ---- runs ----

    def options(self, is_good: bool = False) -> list[object]:
        """Some bad runs are without the journal. No good ones: of equal messages others may be each
        other's copies then, whose flags are made the same."""
        draw = self.draw
        more: list[object] = ["--connections", draw.randrange(1, 5)]
        if draw.random() < 0.3:
            more += ["--memory", "4M"]
        if not self.has_journal or (not is_good and draw.random() < 0.1):
            more.append("--no-journal")
        if self.deletes:
            more += ["--delete2", "--delete2-share", "100"]
        return more

    def hurt(self) -> tuple[dict[str, str], Moments]:
        """Environment and moments of a run with some faults."""
        draw = self.draw
        ways = self.target.fake.ways
        env: dict[str, str] = {}
        moments = Moments(draw, self)
        if draw.random() < 0.2:
            env["USHER_SYNC_DIE_AT"] = str(draw.randrange(1, 80))
            self.tell(f"dies at {env}")
        for _ in range(draw.choice((0, 0, 1, 2))):
            moments.add()
        if draw.random() < 0.2:
            moments.be_busy()
        for end in (self.source, self.target):
            if draw.random() < 0.3:
                self.tear(end)
        if draw.random() < 0.2:
            bad = draw.randrange(16)
            words = draw.choice((b"Not this", b"[OVERQUOTA] Full", b"[LIMIT] in 20 ms", b"bad date"))
            self.tell(f"refuses {bad}/16 with {words}")
            ways.refuses = lambda raw, flags, date: (
                words if digest(raw)[0] == f"{bad:x}" else None
            )
        if draw.random() < 0.1:
            ways.quota = draw.randrange(1 + 2 * self.source.store.bytes())
        if draw.random() < 0.1:
            ways.batch_most = draw.randrange(1, 20)
        return env, moments

    def tear(self, end: FakeAccount) -> None:
        draw = self.draw
        most = self.source.store.bytes() + 8000
        places = (800, 3000, most, 3 * most)
        troubles = [
            Trouble(**{draw.choice(("cut_up", "cut_down")): draw.randrange(draw.choice(places))})
            for _ in range(draw.randrange(1, 5))
        ]
        self.tell(f"{'source' if end is self.source else 'target'} torn: {troubles}")
        end.relay.troubles.extend(troubles)

    def bad_run(self) -> None:
        """A run in which anything may happen, and any status is right."""
        env, moments = self.hurt()
        more = self.options()
        self.tell(f"run {more}")
        running = self.syncing.start(self.source, self.target, *more, "--timeout", "5", env=env)
        moments.begin(running)
        report = finish(running)
        self.is_ordered = False
        self.tell(f"ended with {report.status}")
        # A second SIGINT ends it at once.
        assert report.status >= 0 or -report.status in (signal.SIGKILL, signal.SIGINT), report.log
        self.be_good()
        self.wait_for_quiet()

    def ends(self) -> list[FakeAccount]:
        """Those that are fake."""
        return [self.source, self.target]

    def wait_for_quiet(self) -> None:
        """What was sent before a run died is done, or never will be."""
        for end in self.ends():
            end.fake.wait_connected(0)

    def good_run(self) -> Report:
        more = self.options(is_good=True)
        self.tell(f"good run {more}")
        report = self.syncing.run(self.source, self.target, *more)
        self.tell(f"ended with {report.status}: {report.log}")
        self.wait_for_quiet()
        return report

    # ---- what must have come of it ----

    def live(self) -> None:
        """All of it."""
        with self.telling():
            self.fill()
            for _ in range(self.draw.randrange(1, 5)):
                if self.draw.random() < 0.3:
                    self.check()
                else:
                    self.bad_run()
                for _ in range(self.draw.randrange(4)):
                    self.change(is_from=self.draw.random() < 0.65)
            self.check()

    def check(self) -> None:
        """A run without troubles, and all that is to be true then."""
        report = self.good_run()
        assert report.status == OK or self.is_excused(report), (report.told, report.log)
        self.check_end(report)
        before = self.target.read().folders
        again = self.good_run()
        assert self.target.read().folders == before, again.log
        assert again.total("carried") == 0 and again.total("flags_set") == 0
        self.check_verify()
        for end in self.ends():
            assert end.fake.violations == []

    def is_excused(self, report: Report) -> bool:
        """Without UIDPLUS nothing is expunged beside what others have marked."""
        return set(report.reasons()) <= {"delete-unsafe", "ambiguous", "uidvalidity"}

    def check_end(self, report: Report) -> None:
        before, after = self.source.read(), self.target.read()
        found = differences(before, after, with_zones=self.has_zones)
        allowed = {"extra", "extra folder"} | (set() if self.is_ordered else {"order"})
        hidden = [one for one in found if one.what not in allowed]
        assert not hidden, told(hidden)
        for one in found:
            if one.what == "extra folder":
                wire = "/".join(one.folder)
                assert wire in self.model.was_folder or self.model.foreign.get(wire), one
        self.check_extra(found, "delete-unsafe" in report.reasons())
        for name, folder in after.folders.items():
            there = Counter(message.digest for message in folder.messages)
            wire = "/".join(name)
            was_carried = name in before.folders or wire in self.model.was_folder
            self.check_foreign(wire, there, was_carried)

    def check_extra(self, found: list[Difference], is_unsafe: bool) -> None:
        """All that is at the target alone was at the source, or is others'."""
        extra: dict[str, Counter[str]] = {}
        for one in found:
            if one.what == "extra" and one.target:
                extra.setdefault("/".join(one.folder), Counter())[one.target.digest] += 1
        for wire, counted in extra.items():
            may_be = self.model.gone.get(wire, Counter()) + self.model.foreign.get(wire, Counter())
            too_many = counted - may_be
            assert not too_many, (wire, self.subjects(found, too_many))
            if self.deletes and not is_unsafe:
                left = {word for word in counted if word not in self.model.weak}
                assert not left, (wire, self.subjects(found, left))

    def subjects(self, found: list[Difference], digests: object) -> list[str]:
        return [str(one) for one in found if one.target and one.target.digest in digests]

    def check_foreign(self, wire: str, there: Counter[str], was_carried: bool) -> None:
        """Others' mail is there as before; with --delete2 what is too weak to be known."""
        for word, count in self.model.foreign.get(wire, Counter()).items():
            is_kept = not self.deletes or word in self.model.weak or not was_carried
            if is_kept:
                assert there[word] >= count, (wire, word, there[word], count)

    def check_verify(self) -> None:
        before, after = self.source.read(), self.target.read()
        found = differences(before, after)
        names = set(before.folders)
        extra = sum(one.what == "extra" and one.folder in names for one in found)
        report = self.syncing.verify(
            self.source, self.target, "--full", *([] if self.has_journal else ["--no-journal"])
        )
        assert report.status == OK, (report.status, report.issues[:5], report.log)
        assert report.reasons()["extra"] == extra
        paired = sum(folder["proof"]["paired"] for folder in report.told["folders"])
        assert paired == before.messages()

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise AssertionError("\n".join([*self.story, repr(error)])) from error


class Moments:
    """What happens at chosen commands of a run."""

    def __init__(self, draw: random.Random, world: World) -> None:
        self.draw = draw
        self.world = world
        self.running: subprocess.Popen[bytes] | None = None
        self.has_begun = threading.Event()

    def begin(self, running: subprocess.Popen[bytes]) -> None:
        self.running = running
        self.has_begun.set()

    def be_busy(self) -> None:
        """Others work on both accounts all the time."""
        self.world.tell("others are busy")
        for end in (self.world.source, self.world.target):
            end.fake.ways.on_command = self.busy_at(end is self.world.source)

    def busy_at(self, is_from: bool) -> Callable[[int, str, str], None]:
        chance = random.Random(self.draw.random())

        def act(count: int, name: str, arguments: str) -> None:
            if chance.random() < 0.15:
                self.world.change(is_from, is_mild=True)

        return act

    def add(self, end: FakeAccount | None = None) -> None:
        draw, world = self.draw, self.world
        end = end or (world.source if draw.random() < 0.4 else world.target)
        is_from = end is world.source
        first = len(end.fake.log) + draw.choice((draw.randrange(1, 15), draw.randrange(1, 60)))
        last = first + draw.choice((0, 0, 0, 1, 4))
        kind = draw.choice(("refuse", "refuse", "source", "source", "target", "target", "signal"))
        answer = draw.choice(REFUSALS)
        number = draw.choice((signal.SIGINT, signal.SIGKILL))
        before = end.fake.ways.on_command
        world.tell(f"at command {first}-{last} of {'source' if is_from else 'target'}: {kind} "
                   f"{answer!r} {number.name}")  # fmt: skip

        def act(count: int, name: str, arguments: str) -> bytes | None:
            if before and (said := before(count, name, arguments)) is not None:
                return said
            if not first <= count <= last:
                return None
            self.has_begun.wait(5)
            world.tell(f"({count} is {name} {arguments[:60]})")
            if kind == "refuse":
                return answer
            if kind == "signal" and self.running:
                self.running.send_signal(number)
            elif kind in ("source", "target"):
                world.change(is_from=kind == "source")
            return None

        end.fake.ways.on_command = act
