"""Worlds by chance whose target is a real server; see sync_worlds.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from peers.corpus import Item
from peers.fakestore import Ways
from sync_worlds import MILD_AT_TARGET, WIRES, Moments, World
from syncing import FakeAccount


class RealTarget(World):
    """A world whose target is a real server: others change it by IMAP, and it fails by its link."""

    has_zones = False

    def be_good(self) -> None:
        for end in (self.source, self.target):
            end.relay.troubles.clear()
        self.source.fake.ways = Ways(**self.steady[0])

    def fill(self) -> None:
        for wire in WIRES:
            self.source.store.fill(wire, self.mail.items(self.draw.choice((5, 15, 40))))

    def hurt(self) -> tuple[dict[str, str], Moments]:
        draw = self.draw
        env: dict[str, str] = {}
        moments = Moments(draw, self)
        if draw.random() < 0.3:
            env["USHER_SYNC_DIE_AT"] = str(draw.randrange(1, 80))
            self.tell(f"dies at {env}")
        for _ in range(draw.choice((0, 0, 1, 2))):
            moments.add(self.source)
        for end in (self.source, self.target):
            if draw.random() < 0.3:
                self.tear(end)
        return env, moments

    def change_target(self, kinds: Sequence[str]) -> None:
        draw = self.draw
        kind = draw.choice(MILD_AT_TARGET)
        name = draw.choice(sorted(self.target.read().folders))
        wire = "/".join(name)
        self.tell(f"target: {kind} {wire}")
        if kind == "foreign":
            items = [
                Item(item.raw, self.others.flags(False), item.date)
                for item in self.others.items(3)
                if item.raw
            ]
            for item in items:
                self.model.is_foreign(wire, item.raw)
            self.target.add(name, items)
            return
        foreign = self.model.foreign.get(wire, Counter())
        own = [m.uid for m in self.target.read().folders[name].messages if m.digest not in foreign]
        chosen = ",".join(str(uid) for uid in own if draw.random() < 0.2)
        if not chosen:
            return
        if kind == "flags":
            flags = " ".join(self.mail.flags(False))
            self.target.tell(f"UID STORE {chosen} FLAGS.SILENT ({flags})", select=name)
        else:
            self.is_ordered = False
            self.target.tell(
                f"UID STORE {chosen} +FLAGS.SILENT (\\Deleted)",
                f"UID EXPUNGE {chosen}",
                select=name,
            )

    def ends(self) -> list[FakeAccount]:
        return [self.source]
