"""usher ctl where directories have a say, backends are ill, and logins wait for room."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import USERS
from ctl import DONE, FAILED, WRONG, ask, page, steer
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import wait_until
from peers.scripted import GREETING, Connection, serve
from peers.socketmap import SocketMap
from peers.usher import Backend, Listener, Usher

LISTENERS = {"imap": Listener()}
POOLS = {"main": ("mail1", "mail2"), "other": ("mail3",)}
# So that an outage is seen within a second.
CHECKS = {
    "check": "tcp",
    "check_interval": "200ms",
    "check_fast_interval": "100ms",
    "check_fall": "2",
    "slow_start": "1m",
}


@pytest.fixture
def server(stack) -> SocketMap:
    return stack.enter_context(SocketMap())


@pytest.fixture
def fakes(stack) -> dict[str, FakeBackend]:
    names = [name for pool in POOLS.values() for name in pool]
    return {name: stack.enter_context(FakeBackend(name)) for name in names}


@pytest.fixture
def start(start_usher, fakes) -> Callable[..., Usher]:
    """Pools main and other, whose tag is gold."""

    def started(directories: dict[str, dict[str, object]], **settings) -> Usher:
        pools = {pool: {name: fakes[name] for name in names} for pool, names in POOLS.items()}
        usual = {"listeners": {"imap": Listener(pool="main")}, "directory_timeout": "20s"}
        return start_usher(
            pools=pools,
            directories=directories,
            pool_settings={"other": {"tags": ["gold"]}},
            **{**usual, **settings},
        )

    return started


def by(server: SocketMap, **settings: object) -> dict[str, dict[str, object]]:
    return {"people": {"driver": "socketmap", "address": server.endpoint, **settings}}


def route(usher: Usher, *words: str) -> dict:
    return steer(usher, "route", *words).done


def row_of(usher: Usher, backend: str) -> dict:
    return steer(usher, "backends").row(backend=backend)


# --- what directories say -------------------------------------------------------------------------


def test_a_login_goes_where_the_route_says(start_dovecot, start_usher, folder):
    """With a map in a file, before real servers."""
    users = folder / "users.map"
    users.write_text("ann backend=mail2\nbob backend=mail1 max_sessions=3\neve disabled=yes\n")
    users.chmod(0o644)
    servers = {name: start_dovecot(name) for name in ("mail1", "mail2")}
    usher = start_usher(
        servers, listeners=LISTENERS, directories={"people": {"driver": "file", "path": users}}
    )
    for user, backend in (("ann", "mail2"), ("bob", "mail1"), ("carol", None)):
        told = route(usher, user)
        assert told["told"] == backend
        assert told["directory"] == ("people" if backend else None)
        with usher.connect() as imap:
            assert imap.login(user, USERS[user]).status == "OK"
        assert usher.wait_event("login", user=user)["backend"] == told["chosen"]
    assert route(usher, "bob")["facts"] == {"backend": "mail1", "max_sessions": "3"}
    told = route(usher, "eve")
    assert (told["chosen"], told["disabled"]) == (None, True)
    assert "NO [CONTACTADMIN]" in told["why"]
    with usher.connect() as imap:
        assert imap.login("eve", USERS["eve"]).code == "CONTACTADMIN"


def test_a_route_tells_how_the_pool_was_found(start, server):
    server.answers = {"ann": "tag=gold", "bob": "pool=other", "carol": "backend=mail3", "dave": ""}
    server.answers["eve"] = "max_sessions=7"
    usher = start(by(server))
    found = {user: route(usher, user) for user in ("ann", "bob", "carol", "eve", "frank")}
    assert {user: told["pool_by"] for user, told in found.items()} == {
        "ann": "tag",
        "bob": "pool",
        "carol": "backend",
        "eve": "first listener",
        "frank": "first listener",
    }
    assert {told["pool"] for user, told in found.items() if user < "d"} == {"other"}
    assert (found["frank"]["directory"], found["frank"]["facts"]) == (None, None)
    asked = route(usher, "eve", "other")
    assert (asked["pool"], asked["pool_by"]) == ("other", "option")
    assert "by the directory's tag=gold" in page(usher, "route", "ann")


def test_a_name_is_what_a_login_would_make_of_it(start, server):
    server.answers = {"ann@a.test": "pool=other"}
    usher = start(by(server), username_domain="a.test")
    assert route(usher, "Ann")["user"] == "ann@a.test"
    assert route(usher, "ANN@A.TEST")["pool"] == "other"
    assert set(server.asked) == {"ann@a.test"}
    steer(usher, "pin", "Ann", "mail1")
    assert steer(usher, "pins").rows[0]["user"] == "ann@a.test"
    steer(usher, "unpin", "aNN")
    assert not steer(usher, "pins").rows


def test_no_secret_is_shown(start, server):
    server.answers = {
        "ann": "password_hash=$6$salt$hash master_user=root master_password=Geheim backend_user=a1"
    }
    usher = start(by(server))
    shown = page(usher, "route", "ann") + page(usher, "directory", "lookup", "ann")
    for secret in ("$6$", "Geheim", "master"):
        assert secret not in shown
    facts = steer(usher, "directory", "lookup", "ann").done["facts"]
    assert facts == {"backend_user": "a1", "password_hash": "set"}


def test_what_is_of_no_use_here_is_told(start, server):
    server.answers = {"ann": "backend=mail9", "bob": "nonsense"}
    usher = start(by(server))
    told = route(usher, "ann")
    assert told["chosen"] is None
    assert told["why"].startswith("directory people: backend=mail9 is not in the configuration")
    assert told["why"].endswith("a login would get NO [UNAVAILABLE]")
    assert told["hash"]
    assert "[UNAVAILABLE]" in route(usher, "bob")["why"]
    answer = ask(usher, "directory", "lookup", "bob")
    assert (answer.status, answer.code) == (FAILED, "failed")
    assert answer.error.startswith("directory people: ")


def test_a_directory_that_is_gone_is_told(start, server):
    server.stop()
    usher = start(by(server), directory_timeout="1s")
    told = route(usher, "ann")
    assert (told["chosen"], told["queued"]) == (None, None)
    assert told["why"].startswith("directory people: ")
    assert told["why"].endswith("; a login would get NO [UNAVAILABLE]")
    with usher.connect() as imap:
        assert imap.login("ann", PASSWORD).code == "UNAVAILABLE"
    assert ask(usher, "directory", "lookup", "ann").status == FAILED
    server.start()
    wait_until(lambda: route(usher, "ann")["chosen"], 20, "the directory answers again")


def test_lookups_are_fresh_and_routes_may_be_kept(start, server):
    server.answers = {"ann": "backend=mail1"}
    usher = start(by(server, cache_time="1h"))
    assert route(usher, "ann")["age"] is None
    server.answers["ann"] = "backend=mail2"
    told = route(usher, "ann")
    assert (told["told"], told["age"] is None) == ("mail1", False)
    assert steer(usher, "directory", "lookup", "ann").done == {
        "user": "ann",
        "known": True,
        "directory": "people",
        "facts": {"backend": "mail2"},
    }
    assert route(usher, "ann")["told"] == "mail2"  # the fresh answer is kept
    assert steer(usher, "directory", "lookup", "bob").done["known"] is False


@pytest.mark.parametrize("words", [["ANN"], []], ids=["one", "all"])
def test_what_was_kept_is_forgotten(words, start, server):
    server.answers = {"ann": "backend=mail1", "bob": "backend=mail1"}
    usher = start(by(server, cache_time="1h"))
    for user in ("ann", "bob"):
        route(usher, user)
        server.answers[user] = "backend=mail2"
    steer(usher, "directory", "flush", *words)
    assert route(usher, "ann")["told"] == "mail2"
    assert route(usher, "bob")["told"] == ("mail1" if words else "mail2")
    event = usher.wait_event("steered", command="directory flush")
    assert event.get("user") == "".join(words).lower()


def test_without_directories_there_is_nothing_to_look_up(start):
    usher = start({})
    assert ask(usher, "directory", "lookup", "ann").status == WRONG
    assert ask(usher, "directory", "flush").status == WRONG
    assert route(usher, "ann")["chosen"]


# --- while directories are asked ------------------------------------------------------------------


def test_others_are_served_while_a_directory_takes_its_time(start, server):
    server.answers = {"ann": "backend=mail2", "bob": "backend=mail1"}
    usher = start(by(server))
    server.hang()
    with ThreadPoolExecutor(4) as operators, usher.connect() as imap:
        tag = imap.start(f'LOGIN "ann" "{PASSWORD}"'.encode())
        routes = [operators.submit(route, usher, user) for user in ("ann", "bob", "Ann")]
        wait_until(lambda: server.asked, 10, "it is asked")
        for _ in range(5):
            assert steer(usher, "status").done["sessions"] == 1
        wait_until(lambda: steer(usher, "sessions").rows[0]["stage"] == "looking", 10, "it waits")
        assert not any(one.done() for one in routes)
        server.release()
        assert [one.result()["told"] for one in routes] == ["mail2", "mail1", "mail2"]
        assert imap.finish(tag).status == "OK"
    assert server.asked["ann"] == 1  # the login and the operators wait for the same answer


def test_operators_who_hang_up_while_a_directory_is_asked_are_forgotten(start, server, folder):
    usher = start(by(server))
    server.hang()
    for number in range(40):  # more than there is room for
        with socket.socket(socket.AF_UNIX) as operator:
            operator.connect(str(folder / "state/ctl"))
            operator.sendall(b'{"command": "route", "user": "user%d"}\n' % number)
    server.release()
    wait_until(lambda: ask(usher, "status").status == DONE, 10, "there is room again")
    assert steer(usher, "status").done["epoch"] == 1


def test_a_question_outlives_the_lookup_process(start, server):
    server.answers = {"ann": "backend=mail2"}
    usher = start(by(server))
    server.hang()
    with ThreadPoolExecutor(1) as operators:
        asked = operators.submit(route, usher, "ann")
        wait_until(lambda: server.asked["ann"] == 1, 10, "it is asked")
        os.kill(usher.pid("lookup"), signal.SIGKILL)
        wait_until(lambda: server.asked["ann"] == 2, 20, "it is asked again")
        server.release()
        assert asked.result()["told"] == "mail2"


# --- backends -------------------------------------------------------------------------------------


def test_health_is_told_beside_what_operators_say(start_usher, fakes):
    usher = start_usher(
        {name: fakes[name] for name in ("mail1", "mail2")},
        listeners=LISTENERS,
        storage="shared",
        pool_settings={"main": CHECKS},
    )
    steer(usher, "backend", "drain", "mail1")
    before = row_of(usher, "mail2")
    assert (before["state"], before["health"], before["weight_now"]) == ("up", "up", 1)
    assert steer(usher, "status").done["unhealthy"] == []
    address = fakes["mail1"].address
    fakes["mail1"].stop()
    wait_until(lambda: row_of(usher, "mail1")["health"] == "down", 20, "mail1 is down")
    assert row_of(usher, "mail1")["state"] == "drain"
    assert steer(usher, "status").done["unhealthy"] == ["mail1"]
    assert "unhealthy" in page(usher, "status")
    (ill,) = (one for one in route(usher, "ann")["hash"] if one["backend"] == "mail1")
    assert (ill["state"], ill["health"], ill["may_serve"]) == ("drain", "down", False)
    steer(usher, "backend", "up", "mail1")
    assert (row_of(usher, "mail1")["state"], row_of(usher, "mail1")["health"]) == ("up", "down")
    with FakeBackend("mail1", address):
        wait_until(lambda: row_of(usher, "mail1")["health"] == "up", 20, "mail1 is up")
        # It starts slowly, and is shown so.
        wait_until(lambda: row_of(usher, "mail1")["weight_now"] < 1, 10, "it has less weight")
        assert row_of(usher, "mail1")["since"] < 20
        assert "WEIGHT NOW" in page(usher, "backends")


def test_pools_tell_where_new_users_go_and_how_backends_are_probed(start_usher, fakes):
    usher = start_usher(
        pools={"main": {"mail1": fakes["mail1"]}, "other": {"mail3": fakes["mail3"]}},
        listeners={"imap": Listener(pool="main")},
        pool_settings={"main": {"place": "try"}, "other": {"storage": "shared", **CHECKS}},
    )
    pools = steer(usher, "pools")
    main, other = pools.row(pool="main"), pools.row(pool="other")
    assert (main["place"], main["check"]) == ("try", "off")
    assert (other["place"], other["check"]) == (None, "tcp")
    # Where nobody looks there is no health.
    assert (row_of(usher, "mail1")["health"], row_of(usher, "mail1")["since"]) == (None, None)


def test_who_waits_for_room_is_shown(start_usher, start_scripted, folder: Path):
    may_answer = threading.Event()

    def slow(connection: Connection) -> None:
        connection.send(GREETING)
        may_answer.wait(30)
        serve(connection)

    backend = start_scripted(slow)
    usher = start_usher(
        {"mail1": Backend(backend.endpoint, max_connecting=1, max_sessions=20, login_rate=100)},
        listeners=LISTENERS,
    )
    with usher.connect() as ann, usher.connect() as bob:
        tags = {ann: ann.start(b"LOGIN ann secret")}
        wait_until(lambda: row_of(usher, "mail1")["connecting"] == 1, 10, "ann is on the way")
        tags[bob] = bob.start(b"LOGIN bob secret")
        wait_until(lambda: row_of(usher, "mail1")["queued"] == 1, 10, "bob waits")
        row = row_of(usher, "mail1")
        limits = ("max_sessions", "max_connecting", "login_rate")
        assert [row[name] for name in limits] == [20, 1, 100]
        assert (row["sessions"], row["users"]) == (1, 1)
        assert steer(usher, "status").done["queued"] == 1
        assert steer(usher, "sessions").row(user="bob")["stage"] == "queued"
        assert route(usher, "carol")["queued"] == 1
        assert "1 login waits for room" in page(usher, "route", "carol")
        title, shown = page(usher, "backends").splitlines()
        assert title.split()[-5:] == ["USERS", "CONNECTING", "QUEUED", "LOGIN", "RATE"]
        assert shown.split()[-5:] == ["1/20", "1", "1/1", "1", "100"]
        may_answer.set()
        for imap, tag in tags.items():
            assert imap.finish(tag).status == "OK"
        assert "QUEUED" not in page(usher, "backends")
