"""`usher route`: the way of a user without a running usher, and beside one that must not notice."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from conftest import TOP, configure
from ctl import ask, steer
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import free_address, unprivileged, wait_until
from peers.scripted import silent
from peers.usher import Backend, Listener, Usher, open_state
from way import FAILED, REFUSED, SERVED, USAGE, Answer, directory, on_terminal, page, run, tell

BACKENDS = {name: Backend("127.0.0.2:10143") for name in ("mail1", "mail2", "mail3")}
# What a running usher knows and this cannot.
UNKNOWN = {"live", "affinity", "moving", "queued"}
UNKNOWN_OF_BACKENDS = {"health", "sessions", "weight_now"}


@pytest.fixture
def config(folder, certificate) -> Callable[..., Path]:
    """Writes a configuration, with more text behind it."""

    def write(
        more: str = "", pools: Mapping[str, Mapping[str, object]] | None = None, **settings
    ) -> Path:
        path = folder / "usher.conf"
        given = pools or {"main": BACKENDS}
        path.write_text(configure(folder, certificate, given, **settings) + more)
        return path

    return write


@pytest.fixture
def state(folder) -> Callable[[str], None]:
    """Has statements executed in the state file, which is made as usher makes it."""

    def execute(statements: str) -> None:
        (folder / "state").mkdir(exist_ok=True)
        with closing(sqlite3.connect(folder / "state/usher.db")) as db:
            db.executescript(SCHEMA + statements)

    return execute


SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS placement (pool TEXT, user TEXT, backend TEXT, since INTEGER,
 PRIMARY KEY (pool, user)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pin (user TEXT NOT NULL PRIMARY KEY, backend TEXT, since INTEGER);
CREATE TABLE IF NOT EXISTS hold (user TEXT NOT NULL PRIMARY KEY, since INTEGER);
CREATE TABLE IF NOT EXISTS backend_state (backend TEXT PRIMARY KEY, state TEXT, since INTEGER);
PRAGMA user_version = 1;
"""


def route(config: Path, *words: object, user: str = "ann") -> Answer:
    return tell("route", "-c", config, *words, user)


def snapshot(folder: Path) -> dict[str, tuple]:
    """What a reader must not change: which files there are, whose, and the time of the file."""
    entries = [*os.scandir(folder / "state")]
    found = {entry.name: entry.stat() for entry in entries}
    return {name: (st.st_uid, st.st_gid, st.st_mode) for name, st in found.items()} | {
        "written": (found["usher.db"].st_mtime_ns, found["usher.db"].st_size)
    }


# ---- what the file says ----


def test_without_a_state_file_the_hash_decides_and_no_file_is_made(config, folder):
    answer = route(config())
    assert (answer.status, answer.rows) == (SERVED, [])
    done = answer.done
    assert done["chosen"] == done["hash"][0]["backend"]
    assert done["state_file"] is False and not (folder / "state").exists()
    scores = [choice["score"] for choice in done["hash"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_placement_and_a_pin_are_found(config, state, backend):
    state(f"INSERT INTO placement VALUES ('main', 'ann', '{backend}', 0)")
    done = route(config()).done
    assert (done["chosen"], done["placed"], done["pin"]) == (backend, backend, None)
    assert "placed on" in done["why"]
    other = "mail2" if backend == "mail1" else "mail1"
    state(f"INSERT INTO pin VALUES ('ann', '{other}', 0)")
    done = route(config()).done
    assert (done["chosen"], done["placed"], done["pin"]) == (other, backend, other)


def test_another_user_is_another(config, state):
    state("INSERT INTO placement VALUES ('main', 'bob', 'mail1', 0), ('main', 'ann', 'mail2', 0)")
    assert route(config(), user="bob").done["placed"] == "mail1"
    assert route(config(), user="ann").done["placed"] == "mail2"


def test_a_hold_is_told_with_where_the_user_would_go_then(config, state):
    state("INSERT INTO hold VALUES ('ann', 0)")
    answer = route(config())
    assert answer.status == SERVED and answer.done["held"]
    assert "would wait" in page("route", "-c", config(), "ann")


def test_what_operators_took_out_is_not_chosen(config, state):
    first = route(config()).done["hash"][0]["backend"]
    state(f"INSERT INTO backend_state VALUES ('{first}', 'drain', 0)")
    done = route(config()).done
    assert done["chosen"] == done["hash"][1]["backend"]
    assert (done["hash"][0]["state"], done["hash"][0]["may_serve"]) == ("drain", False)


def test_a_user_whose_backend_is_down_is_refused(config, state):
    state("INSERT INTO placement VALUES ('main', 'ann', 'mail1', 0);"
          "INSERT INTO backend_state VALUES ('mail1', 'down', 0)")  # fmt: skip
    answer = route(config())
    assert (answer.status, answer.done["chosen"]) == (REFUSED, None)
    assert "down by an operator's order" in answer.done["why"]


def test_tables_that_are_not_laid_out_yet_hold_nothing(config, folder):
    (folder / "state").mkdir()
    with closing(sqlite3.connect(folder / "state/usher.db")) as db:
        db.executescript("CREATE TABLE pin (user TEXT, backend TEXT); INSERT INTO pin VALUES ('ann', 'mail3')")
    assert route(config()).done["pin"] == "mail3"


def test_a_newer_file_is_not_read_as_if_it_were_ours(config, state):
    state("PRAGMA user_version = 99")
    answer = route(config())
    assert answer.status == FAILED and "is of version 99" in answer.error


def test_a_broken_file_is_told_and_nothing_is_guessed(config, folder):
    (folder / "state").mkdir()
    (folder / "state/usher.db").write_bytes(b"this is no database" * 1000)
    answer = route(config())
    assert (answer.status, answer.done) == (FAILED, {})
    assert "usher.db" in answer.error


@pytest.mark.root
def test_who_may_not_read_the_file_is_told_so(config, state, folder):
    state("INSERT INTO placement VALUES ('main', 'ann', 'mail1', 0)")
    (folder / "state").chmod(0o700)
    path = config()
    path.chmod(0o644)
    done = run("route", "-c", path, "ann", account=unprivileged("nobody"))
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert "usher.db: Permission denied" in done.stderr


def test_a_folder_with_odd_letters_is_found(config, folder):
    odd = folder / "a%20b?c#d"
    odd.mkdir()
    with closing(sqlite3.connect(odd / "usher.db")) as db:
        db.executescript(SCHEMA + "INSERT INTO pin VALUES ('ann', 'mail3', 0)")
    path = config()
    path.write_text(path.read_text().replace(str(folder / "state"), str(odd)))
    assert route(path).done["pin"] == "mail3"


# ---- beside usher ----


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def log_in(usher: Usher, user: str) -> None:
    with usher.connect("plain") as imap:
        assert imap.login(user, PASSWORD).status == "OK"


def test_it_sees_what_usher_has_just_written_and_disturbs_nothing(start_usher, fake, folder):
    usher = start_usher({"mail1": fake, "mail2": fake})
    steer(usher, "pin", "ann", "mail2")
    before = snapshot(folder)
    for number in range(15):
        log_in(usher, f"user{number}")
        assert route(usher.config).done["pin"] == "mail2"
    wait_until(lambda: len(placed(folder)) == 15, 10, "all are placed")
    for user, backend in placed(folder).items():
        assert route(usher.config, user=user).done["placed"] == backend
    after = snapshot(folder)
    assert {name: after[name] for name in before if name != "written"} == {
        name: before[name] for name in before if name != "written"
    }
    usher.stop()
    assert not usher.find("state_failed")
    assert [entry.name for entry in os.scandir(folder / "state")] == ["usher.db"]


def placed(folder: Path) -> dict[str, str]:
    with open_state(folder / "state") as db:
        return dict(db.execute("SELECT user, backend FROM placement").fetchall())


def test_it_agrees_with_a_running_usher(start_usher, fake, folder):
    rules = ["bob backend=mail2", "carol disabled=yes", "dave tag=eu backend_user=d"]
    usher = start_usher(
        pools={"main": {"mail1": fake, "mail2": fake}, "other": {"mail3": fake}},
        pool_settings={"other": {"tags": ["eu"]}},
    )
    with usher.config.open("a") as config:
        config.write(directory("people", driver="static", rules=rules))
    usher.stop()
    usher = Usher(folder, usher.config.read_text())
    try:
        steer(usher, "pin", "eve", "mail1")
        steer(usher, "hold", "frank")
        steer(usher, "backend", "drain", "mail2")
        for user in ("ann", "BOB", "carol", "dave", "eve", "frank"):
            running = ask(usher, "route", user).done
            alone = route(usher.config, user=user).done
            assert running.keys() <= alone.keys()
            for key in running.keys() - UNKNOWN - {"hash"}:
                assert alone[key] == running[key], (user, key)
            assert all(alone[key] is None for key in UNKNOWN)
            for here, there in zip(alone["hash"], running["hash"], strict=True):
                assert here.keys() == there.keys()
                for key in here.keys() - UNKNOWN_OF_BACKENDS:
                    assert here[key] == there[key], (user, key)
    finally:
        usher.stop()


def crash(usher: Usher, folder: Path) -> None:
    """Ends usher and leaves its files as they were, as if it had been killed."""
    state, kept = folder / "state", folder / "kept"
    shutil.copytree(state, kept, ignore=shutil.ignore_patterns("ctl"))
    for file in kept.glob("usher.db*"):
        owner = (state / file.name).stat()
        os.chown(file, owner.st_uid, owner.st_gid)
    usher.stop()
    for file in kept.glob("usher.db*"):
        os.rename(file, state / file.name)


def test_after_a_crash_it_reads_what_was_not_in_the_file_yet(start_usher, fake, folder):
    usher = start_usher({"mail1": fake, "mail2": fake})
    steer(usher, "pin", "ann", "mail2")
    crash(usher, folder)
    before = snapshot(folder)
    assert {"usher.db-wal", "usher.db-shm"} <= before.keys()
    assert route(usher.config).done["pin"] == "mail2"
    assert snapshot(folder) == before
    again = start_usher({"mail1": fake, "mail2": fake})
    assert ask(again, "route", "ann").done["pin"] == "mail2"
    log_in(again, "bob")
    again.stop()
    assert not again.find("state_failed")


def test_an_index_that_is_missing_is_made_for_the_owner_of_the_file(start_usher, fake, folder):
    usher = start_usher({"mail1": fake})
    steer(usher, "pin", "ann", "mail1")
    crash(usher, folder)
    (folder / "state/usher.db-shm").unlink()
    assert route(usher.config).done["pin"] == "mail1"
    owners = {name: what[0] for name, what in snapshot(folder).items() if name != "written"}
    assert len(set(owners.values())) == 1, owners
    again = start_usher({"mail1": fake})
    steer(again, "unpin", "ann")
    again.stop()
    assert not again.find("state_failed")


def test_a_file_that_nobody_has_open_is_left_as_it_is(start_usher, fake, folder):
    usher = start_usher({"mail1": fake})
    steer(usher, "pin", "ann", "mail1")
    usher.stop()
    before = snapshot(folder)
    assert before.keys() == {"usher.db", "written"}
    assert route(usher.config).done["pin"] == "mail1"
    assert snapshot(folder) == before


def test_a_locked_file_does_not_hold_it_up(start_usher, fake, folder):
    usher = start_usher({"mail1": fake})
    with closing(sqlite3.connect(folder / "state/usher.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert route(usher.config).status == SERVED
        other.rollback()


def test_no_backend_is_spoken_to(config, start_scripted):
    server = start_scripted(silent)
    assert route(config(pools={"main": {"mail1": server}})).status == SERVED
    assert server.connections == 0


# ---- names, pools and directories ----


def test_the_name_is_the_one_that_usher_makes_of_it(config):
    done = route(config(username_domain="example.org"), user="Ann").done
    assert (done["user"], done["given"]) == ("ann@example.org", "Ann")
    shown = page("route", "-c", config(username_domain="example.org"), "Ann")
    assert re.search(r"given as +Ann, by the settings username_\*\n", shown)


POOLS = {"main": BACKENDS, "other": {"b1": Backend("127.0.0.3:10143")}}
DOORS = {"imap": Listener(), "eu": Listener(pool="other")}


def test_the_listener_gives_the_pool_unless_a_directory_does(config):
    path = config(pools=POOLS, listeners=DOORS)
    assert (route(path).done["pool"], route(path).done["pool_by"]) == ("main", "first listener")
    done = route(path, "--listener", "eu").done
    assert (done["pool"], done["pool_by"]) == ("other", "listener")
    done = route(path, "--pool", "other").done
    assert (done["pool"], done["pool_by"]) == ("other", "option")
    path = config(
        directory("people", driver="static", rules=["ann pool=main"]), pools=POOLS, listeners=DOORS
    )
    done = route(path, "--pool", "other").done
    assert (done["pool"], done["pool_by"], done["directory"]) == ("main", "pool", "people")


def test_the_directory_that_answers_is_named_with_its_facts(config):
    path = config(
        directory("few", driver="static", rules=["bob pool=main"])
        + directory("all", driver="static", rules=["ann backend=mail3 max_sessions=7"])
    )
    done = route(path).done
    assert (done["directory"], done["chosen"], done["told"]) == ("all", "mail3", "mail3")
    assert done["facts"] == {"backend": "mail3", "max_sessions": "7"}
    assert "all: backend=mail3 max_sessions=7" in page("route", "-c", path, "ann")
    unknown = route(path, user="zoe").done
    assert (unknown["directory"], unknown["facts"]) == (None, None)


SECRETS = {
    "password_hash": "$6$salt$" + "x" * 86,
    "master_user": "overlord",
    "master_password": "sesame",
}


def test_secrets_are_never_shown(config):
    rule = "ann " + " ".join(f"{key}={value}" for key, value in SECRETS.items())
    path = config(directory("people", driver="static", rules=[rule]))
    answer = route(path)
    assert answer.done["facts"] == {key: "set" for key in SECRETS}
    shown = page("route", "-c", path, "ann")
    for secret in SECRETS.values():
        assert secret not in shown + str(answer)
    assert "password_hash=(set)" in shown


def test_a_disabled_user_is_refused(config):
    path = config(directory("people", driver="static", rules=["ann disabled=yes"]))
    answer = route(path)
    assert (answer.status, answer.done["chosen"], answer.done["disabled"]) == (REFUSED, None, True)
    assert "NO [CONTACTADMIN]" in answer.done["why"]


def test_facts_that_are_of_no_use_are_told(config, folder):
    (folder / "users.map").write_text("ann pool=nowhere\n")
    path = config(directory("people", driver="file", path=folder / "users.map"))
    answer = route(path)
    assert (answer.status, answer.done["chosen"]) == (REFUSED, None)
    assert "pool=nowhere is not in the configuration" in answer.done["why"]


def test_a_directory_that_fails_leaves_it_open(config):
    path = config(
        directory("far", driver="socketmap", address=f"{free_address()}:2222"), directory_timeout="1s"
    )
    answer = route(path)
    assert (answer.status, answer.done["chosen"]) == (FAILED, None)
    assert answer.done["why"].startswith("directory far: ")


def test_the_names_of_the_answer_are_those_of_the_table(config):
    table = (TOP / "src/tables/answers.def").read_text()
    (names,) = re.findall(r'^ANSWER\("route", "done", "([^"]*)"', table, re.MULTILINE)
    assert set(names.split()) <= set(route(config()).done)


# ---- words ----


@pytest.mark.parametrize(
    "words, told",
    [
        (["--pool", "mian", "ann"], 'no pool "mian"; did you mean "main"?'),
        (["--listener", "imps", "ann"], 'no listener "imps"; did you mean "imaps"?'),
        (["--jsom", "ann"], "unknown option --jsom; did you mean --json?"),
        (["-x", "ann"], "unknown option -x"),
        (["--backend", "mail1", "ann"], "unknown option --backend"),
        (["--pool"], "a value is missing behind --pool"),
        ([], "Name a user"),
        (["ann", "bob"], "one user at a time, not also bob"),
        (["a\rb"], "is not a user's name"),
    ],
)
def test_wrong_words_are_told(config, words, told):
    done = run("route", "-c", config(), *words)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert told in done.stderr and "\r" not in done.stderr, done.stderr


def test_a_user_like_an_option_stands_behind_two_dashes(config):
    assert route(config(), "--", user="--json").done["user"] == "--json"


def test_a_bad_configuration_is_told(config):
    path = config("no_such_setting = 1\n")
    done = run("route", "-c", path, "ann")
    assert (done.returncode, done.stdout) == (USAGE, "") and f"{path}:" in done.stderr


def test_a_terminal_has_colours_and_a_pipe_has_none(config):
    path = config()
    assert "\x1b" not in page("route", "-c", path, "ann")
    with on_terminal("route", "-c", path, "ann") as terminal:
        assert terminal.end() == SERVED
        assert "\x1b[1mann\x1b[0m of pool main would go to \x1b[32m" in terminal.shown
        assert "usher ctl route ann" in terminal.shown


def test_help_explains_both_commands():
    for command in ("route", "login"):
        done = run("help", command)
        assert done.stdout.startswith(f"usage: usher {command} ") and "Exit status" in done.stdout
