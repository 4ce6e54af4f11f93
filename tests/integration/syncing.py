"""What the tests of `usher sync` share: servers with accounts, runs, and what a run may leave different.

What accounts hold is read by peers/account.py, with Python's imaplib; usher's own word is only ever
compared with that.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from peers.account import (
    INBOX,
    Difference,
    Name,
    Server,
    Snapshot,
    differences,
    name_at,
    snapshot,
    to_utf7,
    told,
)
from peers.corpus import Corpus, Filled, Item, append_all, command, fill
from peers.cyrus import Cyrus
from peers.dovecot import Dovecot
from peers.fakeimap import FakeImap
from peers.fakestore import Store, Ways
from peers.process import free_address
from peers.rawimap import RawImap
from peers.relay import Relay
from peers.usher import SANITIZER
from way import BINARY, plain_env

ACCOUNTS = 40
TIMEOUT_S = 120
PASSWORD = "pass word/with%40 signs"

# Exit statuses of sync/report.h that tests name.
OK, BY_SIGNAL, USAGE, WITH_ERRORS, WITH_ERRORS_MAX = 0, 6, 64, 111, 112
OVERQUOTA, ERR_APPEND, ERR_FETCH, ERR_CREATE, ERR_SELECT = 113, 114, 115, 116, 117
UNREACHED_1, UNREACHED_2, REFUSED_1, REFUSED_2 = 101, 102, 161, 162
NO_SUBFOLDER1 = 21

# By which exceptions and findings of usher a difference that our reader sees is explained.
EXPLAINS = {
    "missing": {
        "too-big", "nul", "bad-message", "over-quota", "append-refused", "fetch-refused",
        "fetch-nothing", "bytes-differ", "lines-differ",
    },
    "extra": {"bytes-differ", "lines-differ", "extra", "ambiguous"},
    "flags": {"keywords", "flags-refused", "flags-differ"},
    "date": {"date", "date-differs"},
    "folder": {"name-collides", "name-unfit", "create-refused", "select-refused"},
    "subscription": {"subscribe-refused"},
}  # fmt: skip

# After which the messages of a folder may stand in another order.
REFUSALS = {
    "too-big", "nul", "bad-message", "over-quota", "append-refused", "keywords", "date",
    "flags-differ",
}  # fmt: skip


# ---- servers ----


@dataclass
class Place:
    """A server with many accounts, each for one test."""

    address: str
    port: int
    prefix: str
    separator: str
    server: object
    used: int = 0

    def account(self) -> Account:
        """One that nobody has used."""
        self.used += 1
        assert self.used <= ACCOUNTS, "more accounts are needed"
        return Account(self, Server(self.address, self.port, user_of(self.used), PASSWORD))


def user_of(number: int) -> str:
    return f"user{number}"


USERS = {user_of(number): PASSWORD for number in range(1, ACCOUNTS + 1)}


@dataclass
class Account:
    """An account of a Place, for usher and for the reader. Reached by way of `relay`, if that is
    given."""

    place: Place
    server: Server
    relay: Relay | None = None

    @property
    def url(self) -> str:
        user = urllib.parse.quote(self.server.user, safe="")
        way = self.relay or self.place
        return f"imap://{user}@{way.address}:{way.port}"

    def through(self, relay: Relay) -> Account:
        return Account(self.place, self.server, relay)

    @contextmanager
    def raw(self) -> Iterator[RawImap]:
        with RawImap(self.place.address, self.place.port, timeout=60) as imap:
            answer = imap.login(self.server.user, self.server.password)
            assert answer.status == "OK", answer
            yield imap

    def fill(self, corpus: Corpus) -> Filled:
        with self.raw() as imap:
            return fill(imap, corpus, self.place.prefix, self.place.separator)

    def add(self, name: Name, items: Iterable[Item]) -> None:
        """More messages, into a folder that is there."""
        with self.raw() as imap:
            assert append_all(imap, self.wire(name), items) == []

    def wire(self, name: Name) -> str:
        return to_utf7(name_at(name, self.place.prefix, self.place.separator))

    def named(self, name: Name) -> str:
        """As usher calls it."""
        return name_at(name, self.place.prefix, self.place.separator)

    def tell(self, *commands: str, select: Name | None = None) -> None:
        """Commands of IMAP, each answered by OK."""
        with self.raw() as imap:
            if select:
                answer = command(imap, b"SELECT", self.wire(select))
                assert answer.status == "OK", answer
            for line in commands:
                answer = imap.command(line.encode())
                assert answer.status == "OK", (line, answer)

    def read(self, **options) -> Snapshot:
        return snapshot(self.server, **options)


@contextmanager
def dovecot(folder: Path, name: str, **options) -> Iterator[Place]:
    """A Dovecot; options are Dovecot's."""
    address = free_address()
    with Dovecot(folder / name, name=name, address=address, users=USERS, **options) as server:
        prefix, separator = options.get("prefix", ""), options.get("separator", "/")
        yield Place(address, server.port, prefix, separator, server)


@contextmanager
def cyrus(tree: Path, folder: Path, **options) -> Iterator[Place]:
    """A Cyrus; options are Cyrus'."""
    address = free_address()
    with Cyrus(tree, folder / "cyrus", address=address, users=USERS, **options) as server:
        separator = "/" if options.get("unix_separator", True) else "."
        prefix = "" if options.get("alternative", True) else f"INBOX{separator}"
        yield Place(address, server.port, prefix, separator, server)


@contextmanager
def fake(ways: Ways | None = None, store: Store | None = None) -> Iterator[FakeAccount]:
    """The one account of a fake server of its own."""
    with FakeImap(store, ways, password=PASSWORD) as server:
        place = Place(
            server.address, server.port, server.store.prefix, server.store.separator, server
        )
        yield FakeAccount(
            place, Server(server.address, server.port, server.user, PASSWORD), fake=server
        )


@dataclass
class FakeAccount(Account):
    fake: FakeImap = field(kw_only=True)

    @property
    def store(self) -> Store:
        return self.fake.store

    @property
    def ways(self) -> Ways:
        return self.fake.ways

    def through(self, relay: Relay) -> FakeAccount:
        return FakeAccount(self.place, self.server, relay, fake=self.fake)

    def fill(self, corpus: Corpus) -> Filled:
        """Without IMAP: whatever is in the corpus is there then."""
        for name, items in corpus.folders.items():
            folder = self.store.fill(self.wire(name), items)
            folder.is_subscribed = name in corpus.subscribed
        return Filled()


# ---- runs ----


@dataclass
class Report:
    """What a run has told."""

    status: int
    told: dict
    log: str

    @property
    def issues(self) -> list[dict]:
        return self.told["issues"]

    @property
    def folders(self) -> dict[str, dict]:
        """By their names at the source."""
        return {folder["from"]: folder for folder in self.told["folders"]}

    def reasons(self) -> Counter[str]:
        """How often each reason was told."""
        return Counter(issue["reason"] for issue in self.issues)

    def total(self, key: str) -> int:
        return sum(folder[key] for folder in self.told["folders"])


class Syncing:
    """Runs of usher between accounts. A pair of them has one journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD + "\n")
        self.password_file.chmod(0o600)

    def journal(self, source: Account, target: Account) -> Path:
        ends = "-".join(
            re.sub(r"\W", "_", f"{end.server.user}@{end.place.address}") for end in (source, target)
        )
        return self.folder / f"{ends}.journal"

    def words(self, source: Account, target: Account, *more: object) -> list[str]:
        """The command line behind "sync" or "verify"."""
        journal = ["--journal", self.journal(source, target)]
        if {"--no-journal", "--journal"} & set(more):
            journal = []
        passwords = [f"--passfile{side}={self.password_file}" for side in (1, 2)]
        return [str(word) for word in (source.url, target.url, *passwords, *journal, *more)]

    def start(
        self,
        source: Account,
        target: Account,
        *more: object,
        verb: str = "sync",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """A run that goes on; finish() waits for it."""
        return subprocess.Popen(
            [BINARY, verb, "--json", *self.words(source, target, *more)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**plain_env(), **(env or {})},
        )

    def run(self, source: Account, target: Account, *more: object, **options) -> Report:
        """A run to its end; options are start()'s."""
        return finish(self.start(source, target, *more, **options))

    def synced(self, source: Account, target: Account, *more: object, **options) -> Report:
        """One that must end well."""
        report = self.run(source, target, *more, **options)
        assert report.status == OK, (report.status, report.issues[:5], report.log)
        return report

    def verify(self, source: Account, target: Account, *more: object, **options) -> Report:
        return self.run(source, target, *more, verb="verify", **options)


def finish(process: subprocess.Popen[bytes], timeout_s: float = TIMEOUT_S) -> Report:
    """What a run has told when it has ended, however it did."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    log = err.decode("utf-8", "replace")
    assert not SANITIZER.search(log), log
    assert PASSWORD not in log and PASSWORD.encode() not in out
    return Report(process.returncode, json.loads(out) if out.strip() else {}, log)


# ---- what came of it ----


def renamed(source: Account, target: Account):
    """What a folder of the source is called at the target, by the rules of names: a separator of the
    target in a level becomes "_"."""

    def rename(name: Name) -> Name:
        if source.place.separator == target.place.separator:
            return name
        return tuple(level.replace(target.place.separator, "_") for level in name)

    return rename


def assert_same(source: Account, target: Account, **options) -> None:
    """The target has all of the source and nothing else. Options are differences()'s."""
    options = {"names": renamed(source, target), **options}
    found = differences(source.read(), target.read(), **options)
    assert not found, told(found)


def unexplained(
    found: Iterable[Difference], report: Report, source: Snapshot
) -> tuple[list[Difference], list[dict]]:
    """Differences that the report does not tell of, and exceptions of messages that name none."""
    by_place: dict[tuple[str, int], set[str]] = {}
    at_target: dict[tuple[str, int], set[str]] = {}
    for issue in report.issues:
        by_place.setdefault((issue["folder"], issue["from_uid"] or 0), set()).add(issue["reason"])
        at_target.setdefault((issue["folder"], issue["to_uid"] or 0), set()).add(issue["reason"])
    # What stands around a message that was refused is tried again in smaller pieces.
    refused = {i["folder"] for i in report.issues if i["reason"] in REFUSALS and i["from_uid"]}
    hidden = []
    seen = set()
    for difference in found:
        name = source.name_of(difference.folder)
        uid = difference.source.uid if difference.source else 0
        reasons = by_place.get((name, uid), set())
        if difference.what == "extra" and difference.target:
            reasons = at_target.get((name, difference.target.uid), set())
        if difference.what == "order" and name in refused:
            continue
        if not reasons & EXPLAINS.get(difference.what, set()):
            hidden.append(difference)
        seen.add((name, uid, difference.what))
    invented = [
        issue
        for issue in report.issues
        for what in ("missing", "flags", "date", "folder")
        if issue["reason"] in EXPLAINS[what]
        and (issue["folder"], issue["from_uid"] or 0, what) not in seen
    ]
    return hidden, invented


def assert_explained(source: Account, target: Account, report: Report, **options) -> list[Difference]:
    """All that differs was told, and all that was told does differ; returns it."""
    options = {"names": renamed(source, target), **options}
    before = source.read()
    found = differences(before, target.read(), **options)
    hidden, invented = unexplained(found, report, before)
    assert not hidden, told(hidden)
    assert not invented, invented
    return found


def assert_second_run_writes_nothing(
    syncing: Syncing, source: Account, target: Account, *more: object, status: int = OK
) -> Report:
    """By the target's UIDNEXT and MODSEQ in all folders."""
    before = target.read()
    report = syncing.run(source, target, *more)
    assert report.status == status, (report.status, report.issues[:5], report.log)
    after = target.read()
    assert after.marks() == before.marks()
    assert after.folders == before.folders
    assert report.total("carried") == 0
    return report


def peak_bytes(running: subprocess.Popen) -> int:
    """The most memory that a program has had, looked at until it ends."""
    peak = 0
    while running.poll() is None:
        with open(f"/proc/{running.pid}/status") as status:
            found = re.search(r"VmHWM:\s+(\d+)", status.read())
        peak = max(peak, int(found[1]) << 10 if found else 0)
        time.sleep(0.005)
    return peak


def has_sanitizer() -> bool:
    return b"__asan_init" in Path(BINARY).read_bytes()


def memory_env() -> dict[str, str]:
    """What AddressSanitizer keeps of freed memory would look like growth."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return {"ASAN_OPTIONS": f"{options}:quarantine_size_mb=1"}


__all__ = [
    "INBOX", "Account", "FakeAccount", "Place", "Report", "Syncing", "assert_explained",
    "assert_same", "assert_second_run_writes_nothing", "cyrus", "dovecot", "fake", "finish",
    "has_sanitizer", "memory_env", "peak_bytes", "renamed", "unexplained",
]  # fmt: skip
