"""`usher sync` makes what the target lacks: folders, subscriptions, special uses, rights, annotations;
in few round trips however many they are, and as well when something is refused or breaks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Lock

import pytest
from peers.account import INBOX, Name
from peers.corpus import Corpus, plain_messages
from peers.fakestore import Ways
from syncing import ERR_CREATE, OK, WITH_ERRORS, FakeAccount, Report, assert_same

SHARED = ("ACL", "METADATA")
FOLDERS = 40
USES = ("\\Sent", "\\Trash", "\\Junk")


def names(count: int) -> list[Name]:
    """Folders within folders, ten of each parent."""
    return [
        (f"top{n // 10}", f"folder {n}") if n % 10 else (f"top{n // 10}",) for n in range(count)
    ]


def wire(name: Name) -> str:
    return "/".join(name)


def filled(source: FakeAccount, count: int = FOLDERS) -> FakeAccount:
    """An account with subscriptions, special uses, rights and annotations."""
    chosen = names(count)
    source.fill(Corpus({name: [] for name in chosen}, subscribed=set(chosen)))
    for name, use in zip(chosen, USES):
        source.store.folders[wire(name)].use = use
    for name in chosen:
        folder = source.store.folders[wire(name)]
        folder.acl = {"ann": "lrswipkxtea", f"friend of {name[-1]}": "lr"}
        folder.notes = {"/shared/comment": f"about {name[-1]}"}
    return source


def assert_built(source: FakeAccount, target: FakeAccount, without: Collection[str] = ()) -> None:
    """Everything is there, but for some folders."""
    there = {name for name, folder in target.store.folders.items() if folder.is_selectable}
    assert there == {*source.store.folders} - {*without}
    for name in there:
        made, model = target.store.folders[name], source.store.folders[name]
        assert made.is_subscribed == model.is_subscribed
        assert made.notes == model.notes
        assert made.acl == {who: has for who, has in model.acl.items() if who != "ann"}
    assert source.fake.violations == target.fake.violations == []


@pytest.fixture
def pair(start_fake) -> Callable[..., tuple[FakeAccount, FakeAccount]]:
    """A filled source and an empty target. Options are those of the target's ways."""

    def start(count: int = FOLDERS, **options) -> tuple[FakeAccount, FakeAccount]:
        source = filled(start_fake(Ways(offers=SHARED)), count)
        return source, start_fake(Ways(offers=SHARED, **options))

    return start


def build(syncing, source: FakeAccount, target: FakeAccount, *more: str) -> Report:
    return syncing.run(source, target, "--justfolders", *more)


class Once:
    """Does something instead of the command that is the n-th of this name, or is about this folder;
    for Ways.on_command."""

    def __init__(self, name: str, instead: bytes, *, at: int = 0, about: str = "", most: int = 1) -> None:
        self.name, self.instead, self.at, self.about, self.left = name, instead, at, about, most
        self.seen = 0
        self.lock = Lock()

    def __call__(self, number: int, name: str, arguments: str) -> bytes | None:
        with self.lock:
            if name != self.name or self.left == 0:
                return None
            self.seen += 1
            if self.seen < self.at or (self.about and f'"{self.about}"' not in arguments):
                return None
            self.left -= 1
            return self.instead


def always(name: str, instead: bytes, about: str) -> Once:
    return Once(name, instead, about=about, most=1 << 30)


# ---- round trips ----


@pytest.mark.parametrize("without", [[], ["LIST-STATUS"], ["LIST-EXTENDED", "LIST-STATUS", "NAMESPACE"]])
def test_more_folders_take_no_more_round_trips(syncing, pair, without):
    waits = []
    for count in (5, 100):
        source, target = pair(count, without=without)
        source.ways.without = without
        assert build(syncing, source, target).status == OK
        assert_built(source, target)
        waits.append((source.fake.reads, target.fake.reads))
    (few_from, few_to), (many_from, many_to) = waits
    assert many_from <= few_from + 1
    assert many_to <= few_to + 1
    assert many_to <= 12


def test_nothing_is_asked_about_what_hangs_on_folders_that_have_not_changed(syncing, pair):
    source, target = pair()
    syncing.synced(source, target)
    assert_built(source, target)
    for end in (source, target):
        end.fake.log.clear()
    syncing.synced(source, target)
    assert source.fake.count("GETACL", "GETMETADATA") == 0
    assert target.fake.count("GETACL", "GETMETADATA", "CREATE", "SUBSCRIBE") == 0
    source.store.folders["top1"].acl["eve"] = "l"
    source.store.fill("top1", plain_messages(1))
    source.fake.log.clear()
    syncing.synced(source, target)
    assert source.fake.count("GETACL", "GETMETADATA") == 2
    assert target.store.folders["top1"].acl["eve"] == "l"
    target.fake.log.clear()
    source.store.folders["top2"].acl["eve"] = "l"
    syncing.synced(source, target, "--full")
    assert target.fake.count("SETACL") == 1


# ---- refusals ----


@pytest.mark.parametrize("code", ["", "[CANNOT] ", "[LIMIT] ", "[OVERQUOTA] "])
def test_a_folder_that_is_refused_among_many_is_told_and_the_others_are_made(syncing, pair, code):
    source, target = pair()
    refused = wire(names(FOLDERS)[17])
    target.ways.on_command = always("CREATE", f"NO {code}Not this one".encode(), refused)
    report = build(syncing, source, target)
    assert report.status == ERR_CREATE
    assert [(issue["reason"], issue["folder"], issue["text"]) for issue in report.issues] == [
        ("create-refused", refused, f"{code}Not this one")
    ]
    assert_built(source, target, {refused})


def test_a_target_without_room_for_more_folders_is_told_of_each(syncing, pair):
    source, target = pair()
    target.ways.on_command = Once("CREATE", b"NO [LIMIT] Enough", at=31, most=1 << 30)
    report = build(syncing, source, target)
    lost = {issue["folder"] for issue in report.issues if issue["reason"] == "create-refused"}
    assert len(lost) == FOLDERS - 30 == len(report.issues)
    assert_built(source, target, lost)


@pytest.mark.parametrize("code", [b"", b"[ALREADYEXISTS] "])
def test_parents_that_a_server_makes_by_itself_are_as_good_as_made(syncing, start_fake, code):
    source, target = start_fake(), start_fake()
    source.fill(Corpus({(name,): list(plain_messages(1)) for name in ("a", "b", "c")}))

    def on_command(number: int, name: str, arguments: str) -> bytes | None:
        if name == "CREATE" and '"p/' in arguments and not target.store.find("p"):
            target.store.create("p")
        if name == "CREATE" and arguments == '"p"' and target.store.find("p"):
            return b"NO " + code + b"It is there"
        return None

    target.ways.on_command = on_command
    syncing.synced(source, target, "--f1f2", "a=p/child", "--f1f2", "b=p")
    assert {*target.store.folders} == {"INBOX", "p", "p/child", "c"}
    assert all(len(target.store.folders[name].messages) == 1 for name in ("p", "p/child", "c"))


def test_a_special_use_that_is_refused_costs_no_folder(syncing, pair):
    source, target = pair()

    def on_command(number: int, name: str, arguments: str) -> bytes | None:
        return b"NO [USEATTR] Not here" if name == "CREATE" and "\\Trash" in arguments else None

    target.ways.on_command = on_command
    report = build(syncing, source, target)
    assert report.status == OK
    assert report.reasons() == {"special-use": 1}
    assert_built(source, target)
    uses = [target.store.folders[wire(name)].use for name in names(3)]
    assert uses == ["\\Sent", "", "\\Junk"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [("SUBSCRIBE", "subscribe-refused"), ("SETACL", "acl"), ("GETACL", "acl"), ("SETMETADATA", "metadata")],
)
def test_what_is_refused_for_one_folder_is_told_and_done_for_the_others(syncing, pair, command, reason):
    source, target = pair()
    refused = wire(names(FOLDERS)[23])
    target.ways.on_command = always(command, b"NO Not this one", refused)
    report = build(syncing, source, target)
    assert [(issue["reason"], issue["folder"]) for issue in report.issues] == [(reason, refused)]
    made, model = target.store.folders[refused], source.store.folders[refused]
    model.is_subscribed, model.acl, model.notes = made.is_subscribed, made.acl, made.notes
    assert_built(source, target)


# ---- breaks ----


@pytest.mark.parametrize("at", [1, 20, FOLDERS])
@pytest.mark.parametrize("command", ["CREATE", "SUBSCRIBE", "GETACL", "SETACL", "GETMETADATA"])
def test_a_link_that_breaks_amid_many_goes_on_where_it_was(syncing, pair, command, at):
    source, target = pair()
    target.ways.on_command = Once(command, b"", at=at)
    report = build(syncing, source, target)
    assert (report.status, report.issues) == (OK, [])
    assert target.ways.on_command.left == 0
    assert target.fake.connections == 2
    assert_built(source, target)
    if command == "CREATE":
        assert target.fake.count("CREATE") <= FOLDERS + 1


def test_a_source_that_breaks_amid_rights_goes_on(syncing, pair):
    source, target = pair()
    source.ways.on_command = Once("GETACL", b"", at=20)
    assert build(syncing, source, target).issues == []
    assert_built(source, target)


def test_what_was_made_when_the_answer_was_lost_is_found(syncing, pair):
    source, target = pair()

    def on_command(number: int, name: str, arguments: str) -> bytes | None:
        if name != "CREATE" or target.fake.count("CREATE") != 20:
            return None
        target.store.create(arguments.split('"')[1])
        return b""

    target.ways.on_command = on_command
    assert build(syncing, source, target).issues == []
    assert_built(source, target)


@pytest.mark.parametrize("at", [0, 18, FOLDERS - 1])
def test_a_name_that_ends_every_connection_is_refused_and_costs_no_other(syncing, pair, at):
    source, target = pair()
    deadly = wire(names(FOLDERS)[at])
    target.ways.on_command = always("CREATE", b"", deadly)
    report = build(syncing, source, target)
    assert report.status == ERR_CREATE
    assert [(issue["reason"], issue["folder"]) for issue in report.issues] == [("create-refused", deadly)]
    assert "the connection broke twice over it" in report.issues[0]["text"]
    assert target.fake.connections == 4  # amid the others, twice alone, and the rest
    assert_built(source, target, {deadly})


@pytest.mark.parametrize(
    ("command", "reason"),
    [("SUBSCRIBE", "subscribe-refused"), ("SETACL", "acl"), ("SETMETADATA", "metadata")],
)
def test_what_ends_every_connection_over_a_folder_costs_not_the_folder(syncing, pair, command, reason):
    source, target = pair(count=6)
    deadly = wire(names(6)[3])
    source.store.fill(deadly, plain_messages(1))
    target.ways.on_command = always(command, b"", deadly)
    report = syncing.run(source, target)
    assert report.status in (OK, WITH_ERRORS)
    assert [(issue["reason"], issue["folder"]) for issue in report.issues] == [(reason, deadly)]
    assert len(target.store.folders[deadly].messages) == 1


@pytest.mark.parametrize("most", [9, 17])
def test_a_server_that_ends_after_a_few_commands_gets_all_folders(syncing, pair, most):
    source, target = pair(count=20, commands_a_connection=most)
    assert build(syncing, source, target, "--no-acl", "--no-metadata").issues == []
    target.ways.commands_a_connection = None
    assert {*target.store.folders} == {*source.store.folders}
    assert all(target.store.folders[wire(name)].is_subscribed for name in names(20))


# ---- real servers ----


@pytest.mark.parametrize("kind", ["sdbox", "maildir", "mdbox", "cyrus", "cyrus-dots"])
def test_many_folders_are_made_by_real_servers(syncing, start_fake, account, kind):
    source, target = start_fake(), account(kind)
    chosen = [*names(FOLDERS), ("é",), ("é", "ü & more")]
    corpus = Corpus({INBOX: [], **{name: [] for name in chosen}}, subscribed=set(chosen[::2]))
    source.fill(corpus)
    syncing.synced(source, target)
    assert_same(source, target)
    there = target.read().folders
    assert [there[name].is_subscribed for name in chosen] == [name in corpus.subscribed for name in chosen]
    assert "made the folder" not in syncing.synced(source, target).log


@pytest.mark.parametrize("kind", ["sdbox", "cyrus"])
def test_rights_and_annotations_of_many_folders_reach_real_servers(syncing, start_fake, account, kind):
    source, target = filled(start_fake(Ways(offers=SHARED))), account(kind)
    report = syncing.run(source, target, "--no-metadata" if kind == "cyrus" else "--justfolders")
    assert report.reasons().keys() <= {"special-use", "acl"}, report.issues
    with target.raw() as imap:
        for name in names(FOLDERS):
            told = b"".join(imap.command(f'GETACL "{target.wire(name)}"'.encode()).untagged)
            assert f'"friend of {name[-1]}" lr'.encode() in told, (told, report.issues)
