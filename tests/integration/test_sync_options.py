"""`usher sync` as its options say: which folders and messages, what is written, what is told."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from peers.account import INBOX, differences, told
from peers.corpus import MIB, Corpus, Item, plain_messages, usual_messages
from peers.fakestore import Ways
from peers.process import wait_until
from syncing import (
    NO_SUBFOLDER1,
    OK,
    PASSWORD,
    USAGE,
    WITH_ERRORS_MAX,
    assert_explained,
    assert_same,
    finish,
    has_sanitizer,
    memory_env,
    peak_bytes,
)
from way import BINARY

NAMES = [
    INBOX,
    ("Sent",),
    ("Work",),
    ("Work", "2023"),
    ("Work", "2024"),
    ("Work", "2024", "May"),
    ("Workshop",),
    ("Trash",),
]


@pytest.fixture
def source(start_fake):
    made = start_fake()
    made.fill(Corpus({name: list(plain_messages(2, about=name[-1])) for name in NAMES}))
    return made


@pytest.fixture
def target(start_fake):
    return start_fake()


def names_at(account) -> set[str]:
    return {"/".join(name) for name, folder in account.read().folders.items() if folder.messages}


# ---- which folders ----

ALL = {"/".join(name) for name in NAMES}
CHOICES = [
    (["--folder", "Work"], {"Work"}),
    (["--folder", "Work", "--folder=Trash"], {"Work", "Trash"}),
    (["--folder", "inbox"], {"INBOX"}),
    (["--folderrec", "Work"], {"Work", "Work/2023", "Work/2024", "Work/2024/May"}),
    (["--include", "^Work"], {name for name in ALL if name.startswith("Work")}),
    (["--exclude", "2024|Trash"], {n for n in ALL if "2024" not in n and n != "Trash"}),
    (["--folder", "Sent", "--include", "May$"], {"Sent", "Work/2024/May"}),
    (["--folderrec", "Work", "--exclude", "/2023$"], {"Work", "Work/2024", "Work/2024/May"}),
]


@pytest.mark.parametrize(("words", "expected"), CHOICES, ids=[" ".join(row[0]) for row in CHOICES])
def test_chosen_folders_alone_are_carried(syncing, source, target, words, expected):
    syncing.synced(source, target, *words)
    assert names_at(target) == expected
    found = differences(
        source.read(), target.read(), names=lambda n: n if "/".join(n) in expected else None
    )
    assert not found, told(found)


RENAMINGS = [
    (["--f1f2", "Work=Job"], {"Work": "Job"}),
    (["--f1f2", "Work/2024=Old", "--f1f2", "Sent=Gesendet"], {"Work/2024": "Old", "Sent": "Gesendet"}),
    (["--regextrans2", "s/Work/Job/"], {n: n.replace("Work", "Job", 1) for n in ALL}),
    (["--regextrans2", "s,^(?=Work),Attic/,"], {n: f"Attic/{n}" for n in ALL if n[:4] == "Work"}),
    (
        ["--regextrans2", "s,work,a,i", "--regextrans2", "s/a/b/g"],
        {n: re.sub("(?i)work", "a", n, 1).replace("a", "b") for n in ALL if n != "INBOX"},
    ),
    (["--subfolder2", "Old mail"], {n: f"Old mail/{n}" for n in ALL}),
    (["--subfolder2", "X", "--f1f2", "Sent=Sent"], {n: f"X/{n}" for n in ALL if n != "Sent"}),
]


@pytest.mark.parametrize(("words", "changed"), RENAMINGS, ids=[" ".join(row[0]) for row in RENAMINGS])
def test_folders_get_the_names_that_they_shall_have(syncing, source, target, words, changed):
    syncing.synced(source, target, *words)
    expected = {name: changed.get(name, name) for name in ALL}
    assert names_at(target) == set(expected.values())
    rename = {tuple(old.split("/")): tuple(new.split("/")) for old, new in expected.items()}
    found = differences(source.read(), target.read(), names=rename.get)
    assert not found, told(found)
    marks = target.read().marks()
    syncing.synced(source, target, *words)
    assert target.read().marks() == marks


def test_a_subfolder_is_carried_as_if_it_were_the_root(syncing, source, target):
    syncing.synced(source, target, "--subfolder1", "Work")
    expected = {"2023", "2024", "2024/May"}
    assert names_at(target) - {"INBOX", "Work"} == expected
    rename = {("Work", *name.split("/")): tuple(name.split("/")) for name in expected}
    found = differences(source.read(), target.read(), names=rename.get)
    assert [one for one in found if one.what != "extra folder"] == []


def test_a_subfolder_that_there_is_not_has_an_exit_status(syncing, source, target):
    assert syncing.run(source, target, "--subfolder1", "Nowhere").status == NO_SUBFOLDER1
    assert target.fake.writes() == []


def test_a_folder_that_there_is_not_is_told(syncing, source, target):
    report = syncing.run(source, target, "--folder", "Nowhere", "--folder", "Work")
    assert "Nowhere" in report.log + json.dumps(report.told)
    assert names_at(target) == {"Work"}


def test_special_folders_are_mapped_when_that_is_wanted(syncing, source, account, start_fake):
    target = start_fake()
    target.store.create("Gesendete Objekte", "\\Sent")
    target.store.create("Papierkorb", "\\Trash")
    source.store.folders["Sent"].use = "\\Sent"
    source.store.folders["Trash"].use = "\\Trash"
    syncing.synced(source, target, "--automap")
    special = {("Sent",): ("Gesendete Objekte",), ("Trash",): ("Papierkorb",)}
    found = differences(source.read(), target.read(), names=lambda n: special.get(n, n))
    assert not found, told(found)


# ---- which messages ----


def test_messages_are_chosen_by_size(syncing, source, target):
    source.fill(Corpus({("sizes",): list(plain_messages(1, 500)) + list(plain_messages(2, 5000))}))
    more = ("--folder", "sizes")
    sizes = [message.size for message in source.read().folders["sizes",].messages]
    syncing.synced(source, target, *more, "--maxsize", "1k")
    there = target.read().folders["sizes",].messages
    assert [message.size for message in there] == [size for size in sizes if size <= 1024]
    syncing.synced(source, target, *more, "--minsize", "4000")
    assert len(target.read().folders["sizes",].messages) == 3


def test_messages_are_chosen_by_age(syncing, source, target):
    now = datetime.now(timezone.utc)

    def dated(days: float) -> Item:
        date = (now - timedelta(days=days)).strftime("%d-%b-%Y %H:%M:%S +0000")
        return Item(f"Subject: {days}\r\n\r\nx\r\n".encode(), (), date)

    source.fill(Corpus({("ages",): [dated(days) for days in (0.1, 5, 20, 300)]}))
    syncing.synced(source, target, "--folder=ages", "--maxage", "10")
    subjects = {message.subject for message in target.read().folders["ages",].messages}
    assert subjects == {"0.1", "5"}
    syncing.synced(source, target, "--folder=ages", "--minage=100")
    subjects = {message.subject for message in target.read().folders["ages",].messages}
    assert subjects == {"0.1", "5", "300"}


def test_messages_are_chosen_by_a_search(syncing, source, target):
    source.fill(Corpus({("mixed",): list(usual_messages(30))}))
    syncing.synced(source, target, "--folder=mixed", "--search", "SEEN UNFLAGGED")
    found = differences(
        source.read(),
        target.read(),
        names=lambda name: name if name == ("mixed",) else None,
        only=lambda message: "\\seen" in message.flags and "\\flagged" not in message.flags,
    )
    assert not found, told(found)


def test_a_choice_of_messages_deletes_none_of_the_others(syncing, source, target):
    """What was not chosen is at the source all the same."""
    syncing.synced(source, target)
    before = target.read()
    syncing.run(source, target, "--maxsize", "10", "--delete2", "--delete2-share", "100")
    assert target.read().folders == before.folders


# ---- what is written ----


def test_a_dry_run_writes_nothing_and_tells_what_it_would(syncing, source, target):
    target.fill(Corpus({("Work",): [*plain_messages(1, about="Work"), *plain_messages(1, about="own")]}))
    before = target.read()
    report = syncing.run(source, target, "--dry", "--delete2", "--delete2-share=100")
    assert target.read().folders == before.folders
    assert target.fake.writes() == []
    assert not syncing.journal(source, target).exists()
    assert report.told["totals"]["would"]["carry"] == 2 * len(NAMES) - 1
    assert report.folders["Work"]["would"]["delete"] == 1
    assert report.total("carried") == 0


def test_a_login_alone_touches_nothing(syncing, source, target):
    syncing.synced(source, target, "--justlogin")
    for end in (source, target):
        assert end.fake.count("LOGIN", "AUTHENTICATE") == 1
        assert end.fake.count("SELECT", "EXAMINE", "LIST") == 0
        assert end.fake.writes() == []


def test_folders_alone_are_made(syncing, source, target):
    source.store.folders["Sent"].is_subscribed = True
    syncing.synced(source, target, "--justfolders")
    there = target.read()
    assert set(there.folders) == set(NAMES)
    assert there.messages() == 0
    assert there.folders["Sent",].is_subscribed


def test_sizes_alone_are_counted(syncing, source, target):
    report = syncing.synced(source, target, "--justfoldersizes")
    assert target.fake.writes() == []
    assert report.total("from_messages") == 2 * len(NAMES)
    assert report.total("from_bytes") == source.store.bytes()


def test_the_source_is_never_written_to(syncing, source, target):
    before = source.read()
    syncing.synced(source, target, "--full", "--delete2")
    assert source.fake.writes() == []
    assert source.read().folders == before.folders


def test_rights_and_annotations_follow_where_both_servers_have_them(syncing, account):
    source, target = account("sdbox"), account("sdbox")
    source.fill(Corpus({("shared",): list(plain_messages(1))}))
    source.tell('SETACL "shared" friend lr', 'SETMETADATA "shared" (/private/comment "a note")')
    syncing.synced(source, target)
    with target.raw() as imap:
        assert b" friend lr" in imap.command(b"GETACL shared").untagged[0]
        note = imap.command(b"GETMETADATA shared /private/comment").untagged[0]
        assert b"a note" in note
    assert_same(source, target)


# ---- limits ----


def test_it_ends_after_so_many_errors(syncing, source, start_fake):
    target = start_fake(Ways(refuses=lambda raw, flags, date: b"No"))
    report = syncing.run(source, target, "--errorsmax", "3")
    assert report.status == WITH_ERRORS_MAX
    assert len(report.issues) < 2 * len(NAMES)


def test_bytes_a_second_are_kept_to(syncing, start_fake, target):
    source = start_fake()
    source.fill(Corpus({INBOX: list(plain_messages(20, 10_000))}))
    report = syncing.synced(source, target, "--maxbytespersecond", "100k")
    assert_same(source, target)
    assert report.told["seconds"] > 1


@pytest.mark.parametrize("size", [3 * MIB, pytest.param(30 * MIB, marks=pytest.mark.long)])
def test_memory_is_bounded_whatever_the_sizes_are(syncing, start_fake, target, size):
    source = start_fake()
    big = Item(b"Subject: big\r\n\r\n" + b"0123456789abcde\n" * (size // 16))
    source.fill(Corpus({INBOX: [big] * 3}))
    running = syncing.start(source, target, "--memory", "8M", "--full", env=memory_env())
    peak = peak_bytes(running)
    report = finish(running)
    assert_explained(source, target, report)
    # The sanitizers' own memory is more than that.
    assert 0 < peak < (300 << 20 if has_sanitizer() else 80 << 20)


# ---- secrets ----


def test_passwords_are_seen_nowhere(syncing, source, target, folder):
    target.ways.delay_s = 0.1
    log = folder / "log"
    running = syncing.start(source, target, "--log", log)
    wait_until(lambda: target.fake.connections > 0, 20, "the login")
    shown = (open(f"/proc/{running.pid}/{name}", "rb").read() for name in ("cmdline", "environ"))
    for octets in shown:
        assert PASSWORD.encode() not in octets
    target.ways.delay_s = 0
    report = finish(running)
    assert report.status == OK
    for path in folder.iterdir():
        if path != syncing.password_file:
            assert PASSWORD.encode() not in path.read_bytes(), path
    assert log.read_text()


def test_a_password_comes_by_the_environment_or_a_command(syncing, source, target):
    words = [word for word in syncing.words(source, target) if not word.startswith("--passfile")]
    words += ["--password-env1=FIRST", f"--password-command2=cat {syncing.password_file}"]
    done = subprocess.run(
        [BINARY, "sync", "--json", *words],
        env={"FIRST": PASSWORD},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == OK, done.stderr
    assert_same(source, target)


# ---- mistakes ----


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-option"],
        ["--folder"],
        ["--regextrans2", "s/(/x/"],
        ["--include", "("],
        ["--memory", "lots"],
        ["--connections", "0"],
        ["--f1f2", "no equals sign"],
    ],
    ids=" ".join,
)
def test_a_mistake_in_the_options_is_told_before_anything_is_done(syncing, source, target, words):
    report = syncing.run(source, target, *words)
    assert report.status == USAGE
    assert words[0].lstrip("-") in report.log
    assert source.fake.connections == target.fake.connections == 0


def test_options_of_imapsync_serve_as_well(syncing, source, target):
    words = []
    for side, end in ((1, source), (2, target)):
        words += [f"--host{side}", end.place.address, f"--port{side}", str(end.place.port)]
        words += [f"--user{side}", end.server.user, f"--passfile{side}", str(syncing.password_file)]
        words += [f"--nossl{side}", f"--notls{side}"]
    done = subprocess.run(
        [BINARY, "sync", *words, "--no-journal"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == OK, done.stderr
    assert_same(source, target)


def test_another_search_of_the_same_beginning_is_another(syncing, account):
    source, target = account("sdbox"), account("maildir")
    source.fill(Corpus({INBOX: list(plain_messages(4))}))
    beginning = f'NOT SUBJECT "{"x" * 1200}" SUBJECT'
    for n in (1, 2):
        report = syncing.synced(source, target, "--search", f'{beginning} "plain {n}"')
        assert report.total("carried") == 1
    assert [m.subject for m in target.read().folders[INBOX].messages] == ["plain 1", "plain 2"]
