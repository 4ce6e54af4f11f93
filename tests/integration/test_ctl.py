"""usher ctl before three real servers: what is seen is what is there, and what is steered happens."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from grp import getgrgid
from pathlib import Path
from pwd import getpwnam

import pytest
from conftest import TOP, USERS
from ctl import DONE, FAILED, NOBODY, WRONG, Answer, ask, page, run_ctl, steer
from peers.dovecot import Dovecot
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import free_address, is_alive, wait_until
from peers.rawimap import RawImap
from peers.usher import Listener, Usher, open_state

NAMES = ("mail1", "mail2", "mail3")
LISTENERS = {"imap": Listener()}


@pytest.fixture(scope="module")
def servers(session_folder: Path) -> Iterator[dict[str, dict[str, Dovecot]]]:
    """Three with mail of their own, and three that share theirs; for all tests here, since no test
    changes their mail."""
    with ExitStack() as started:
        yield {
            storage: {
                name: started.enter_context(
                    Dovecot(
                        session_folder / storage / name,
                        name=name,
                        address=free_address(),
                        users=USERS,
                        mail=session_folder / "shared-mail" if storage == "shared" else None,
                        clients_per_process=10,
                    )
                )
                for name in NAMES
            }
            for storage in ("own", "shared")
        }


@pytest.fixture(params=["own", "shared"])
def storage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def start(start_usher, servers) -> Callable[..., Usher]:
    def started(storage: str, **settings) -> Usher:
        return start_usher(servers[storage], storage=storage, listeners=LISTENERS, **settings)

    return started


@pytest.fixture
def fakes(stack) -> dict[str, FakeBackend]:
    """The same three, cheaper, that know every user."""
    return {name: stack.enter_context(FakeBackend(name)) for name in NAMES}


@pytest.fixture
def start_fakes(start_usher, fakes) -> Callable[..., Usher]:
    def started(storage: str = "own", **settings) -> Usher:
        return start_usher(fakes, storage=storage, listeners=LISTENERS, **settings)

    return started


def enter(usher: Usher, user: str, password: str = "") -> RawImap:
    """A client that is logged in, and of whom control knows that."""
    imap = usher.connect()
    answer = imap.login(user, password or USERS[user])
    assert answer.status == "OK", answer
    assert imap.is_alive()
    return imap


def home(usher: Usher, user: str) -> str:
    return steer(usher, "route", user).done["chosen"]


def other_than(name: str) -> str:
    return next(other for other in NAMES if other != name)


def wait_sessions(usher: Usher, n: int, *words: str) -> Answer:
    """Waits until so many sessions fit: workers tell control of ends a little later."""
    answer: list[Answer] = []

    def are_there() -> bool:
        answer[:] = [steer(usher, "sessions", *words)]
        return len(answer[0].rows) == n

    wait_until(are_there, 10, f"{n} sessions {words}")
    return answer[0]


# --- seeing ---------------------------------------------------------------------------------------


def test_what_is_seen_is_what_is_there(start, storage, stack):
    usher = start(storage)
    for user in ("ann", "ann", "bob"):
        stack.enter_context(enter(usher, user))
    where = {user: home(usher, user) for user in ("ann", "bob")}

    sessions = wait_sessions(usher, 3)
    assert {row["stage"] for row in sessions.rows} == {"logged in"}
    assert {row["client"] for row in sessions.rows} == {"127.0.0.1"}
    assert [row["user"] for row in sessions.rows].count("ann") == 2
    logged = {event["id"]: event["backend"] for event in usher.wait_events("login", 3)}
    assert {row["id"]: row["backend"] for row in sessions.rows} == logged

    users = steer(usher, "users")
    assert users.row(user="ann", backend=where["ann"])["sessions"] == 2
    assert users.row(user="bob")["placed"] == (where["bob"] if storage == "own" else None)

    backends = {row["backend"]: row for row in steer(usher, "backends").rows}
    assert set(backends) == set(NAMES)
    assert {row["state"] for row in backends.values()} == {"up"}
    assert sum(row["sessions"] for row in backends.values()) == 3
    assert backends[where["ann"]]["users"] == 1 + (where["ann"] == where["bob"])

    pool = steer(usher, "pools").row(pool="main")
    assert (pool["storage"], pool["backends"], pool["sessions"]) == (storage, 3, 3)
    status = steer(usher, "status").done
    assert (status["sessions"], status["users"], status["epoch"]) == (3, 2, 1)
    assert status["recovered"] is True


def test_lists_are_of_what_fits(start, stack):
    usher = start("own")
    for user in ("ann", "ann", "bob"):
        stack.enter_context(enter(usher, user))
    one = wait_sessions(usher, 2, "--user", "ann").rows[0]
    assert steer(usher, "session", one["id"]).done == one
    assert ask(usher, "session", "99.99").status == FAILED
    assert len(steer(usher, "sessions", "--address", "127.0.0.1").rows) == 3
    assert not steer(usher, "sessions", "--address", "192.0.2.1").rows
    assert {row["user"] for row in steer(usher, "users", "--user", "bob").rows} == {"bob"}
    at = home(usher, "ann")
    assert {row["backend"] for row in steer(usher, "sessions", "--backend", at).rows} == {at}
    assert "ann" in page(usher, "users", "--backend", at)
    assert page(usher, "sessions", "--user", "nobody") == "none\n"


def test_the_page_of_a_route_points_at_where_the_login_goes(start, storage):
    usher = start(storage)
    at = home(usher, "ann")
    (arrow,) = [line for line in page(usher, "route", "ann").splitlines() if "→" in line]
    assert arrow.split()[1] == at
    with enter(usher, "ann"):
        assert usher.wait_event("login")["backend"] == at


def test_what_there_is_not_is_told_with_what_may_be_meant(start_fakes):
    usher = start_fakes()
    answer = ask(usher, "backend", "down", "mial1")
    assert (answer.status, answer.code) == (WRONG, "usage")
    assert "mail1" in answer.error
    assert "main" in ask(usher, "route", "ann", "mian").error
    for words in (["move", "ann"], ["kick"], ["sessions", "--address", "x"], ["session", "x"]):
        assert ask(usher, *words).status == WRONG, words


def test_without_a_door_nobody_gets_in(start_fakes, folder):
    usher = start_fakes(admin_socket="off")
    assert ask(usher, "status").status == NOBODY
    assert not (folder / "state/ctl").exists()


# --- backends taken out ---------------------------------------------------------------------------


def test_a_drained_backend_keeps_its_users_and_gets_no_others(start, storage, stack):
    usher = start(storage)
    stack.enter_context(enter(usher, "ann"))
    at = home(usher, "ann")
    steer(usher, "backend", "drain", at)
    assert steer(usher, "backends").row(backend=at)["state"] == "drain"
    with enter(usher, "ann"):
        assert len(steer(usher, "sessions", "--backend", at).rows) == 2
    for user in ("bob", "carol", "dave", "eve"):
        with enter(usher, user):
            assert home(usher, user) != at
    steer(usher, "backend", "up", at)
    assert steer(usher, "backends").row(backend=at)["state"] == "up"


def test_nobody_is_sent_to_a_backend_that_is_down(start, storage, stack):
    usher = start(storage)
    client = stack.enter_context(enter(usher, "ann"))
    at = home(usher, "ann")
    steer(usher, "backend", "down", at)
    assert client.is_alive()
    with usher.connect() as imap:
        assert imap.login("ann", USERS["ann"]).code == "UNAVAILABLE"
    steer(usher, "kick", "--backend", at)
    assert client.rest().startswith(b"* BYE")
    wait_sessions(usher, 0, "--backend", at)
    with usher.connect() as imap:
        answer = imap.login("ann", USERS["ann"])
        if storage == "own":
            assert answer.code == "UNAVAILABLE"
        else:
            assert answer.status == "OK"
    steer(usher, "backend", "up", at)
    wait_sessions(usher, 0)
    with enter(usher, "ann"):
        pass


@pytest.mark.parametrize("death", ["restart", "kill of control"])
def test_orders_outlive(death, start_fakes, stack):
    usher = start_fakes()
    for state, name in (("drain", "mail1"), ("down", "mail2")):
        steer(usher, "backend", state, name)
    steer(usher, "pin", "ann", "mail3")
    steer(usher, "place", "bob", "mail1")
    steer(usher, "hold", "carol")
    if death == "restart":
        usher.stop()
        usher = start_fakes()
    else:
        os.kill(usher.pid("control"), signal.SIGKILL)
        usher.wait_event("control_recovered")
    states = {row["backend"]: row["state"] for row in steer(usher, "backends").rows}
    assert states == {"mail1": "drain", "mail2": "down", "mail3": "up"}
    pins = steer(usher, "pins")
    assert pins.row(user="ann") == {"user": "ann", "pin": "mail3", "held": False}
    assert pins.row(user="carol")["held"] is True
    assert home(usher, "bob") == "mail1"


# --- users ----------------------------------------------------------------------------------------


def test_a_pin_counts_until_it_is_taken_away(start, storage):
    usher = start(storage)
    at = home(usher, "ann")
    steer(usher, "pin", "ann", other_than(at))
    assert steer(usher, "route", "ann").done["pin"] == other_than(at)
    with enter(usher, "ann"):
        assert wait_sessions(usher, 1).rows[0]["backend"] == other_than(at)
    wait_sessions(usher, 0)
    steer(usher, "unpin", "ann")
    assert not steer(usher, "pins").rows
    assert "none" in page(usher, "pins")


def test_a_placement_is_recorded_by_hand(start_fakes, folder):
    usher = start_fakes()
    at = home(usher, "ann")
    steer(usher, "place", "ann", other_than(at))
    with enter(usher, "ann", PASSWORD):
        assert wait_sessions(usher, 1).rows[0]["backend"] == other_than(at)
    usher.stop()
    with open_state(folder / "state") as state:
        rows = state.execute("SELECT user, backend FROM placement").fetchall()
    assert rows == [("ann", other_than(at))]


def test_with_shared_storage_there_are_no_placements(start_fakes):
    usher = start_fakes("shared")
    answer = ask(usher, "place", "ann", "mail1")
    assert answer.status != DONE
    assert "shared" in answer.error


def test_a_held_login_waits_for_the_release(start_fakes, stack):
    usher = start_fakes(hold_timeout="30s")
    before = stack.enter_context(enter(usher, "ann", PASSWORD))
    steer(usher, "hold", "ann")
    with usher.connect() as imap:
        tag = imap.start(f'LOGIN "ann" "{PASSWORD}"'.encode())
        usher.wait_event("held", user="ann")
        assert [row["stage"] for row in wait_sessions(usher, 2).rows].count("held") == 1
        assert steer(usher, "status").done["held"] == 1
        assert steer(usher, "users").row(user="ann")["held"] is True
        assert before.is_alive()
        steer(usher, "release", "ann")
        assert imap.finish(tag).status == "OK"


def test_a_hold_that_lasts_is_told_as_in_use(start_fakes):
    usher = start_fakes(hold_timeout="300ms")
    steer(usher, "hold", "ann")
    with usher.connect() as imap:
        assert imap.login("ann", PASSWORD).code == "INUSE"
    with enter(usher, "bob", PASSWORD):
        pass


def test_who_is_kicked_hears_bye_and_may_come_again(start, storage):
    usher = start(storage)
    with enter(usher, "ann") as one, enter(usher, "ann") as other, enter(usher, "bob") as bob:
        one.start(b"NOOP")
        wait_sessions(usher, 3)
        assert steer(usher, "kick", "ann").done["sessions"] == 2
        assert b"* BYE" in one.rest()
        assert other.rest().startswith(b"* BYE")
        assert bob.is_alive()
    assert len(usher.wait_events("session_end", 2, user="ann", reason="kicked")) == 2
    with enter(usher, "ann") as again:
        assert again.command(b"SELECT INBOX").status == "OK"


def test_one_session_is_kicked(start_fakes, stack):
    usher = start_fakes()
    for _ in range(3):
        stack.enter_context(enter(usher, "ann", PASSWORD))
    chosen = wait_sessions(usher, 3).rows[1]["id"]
    steer(usher, "kick", "--session", chosen)
    assert usher.wait_event("session_end")["id"] == chosen
    wait_sessions(usher, 2)
    assert ask(usher, "kick", "--session", chosen).status == FAILED


def test_what_was_remembered_is_forgotten(start_fakes):
    usher = start_fakes("shared")
    by_hash = home(usher, "ann")
    steer(usher, "backend", "drain", by_hash)
    with enter(usher, "ann", PASSWORD):
        at = wait_sessions(usher, 1).rows[0]["backend"]
        assert at != by_hash
    wait_sessions(usher, 0)
    steer(usher, "backend", "up", by_hash)
    assert home(usher, "ann") == at
    assert steer(usher, "flush", "ann").done["users"] == 1
    assert home(usher, "ann") == by_hash


def test_all_of_a_backend_are_forgotten(start_fakes):
    usher = start_fakes("shared")
    users = [f"user{number}" for number in range(12)]
    steer(usher, "backend", "drain", "mail1")
    for user in users:
        with enter(usher, user, PASSWORD):
            pass
    wait_sessions(usher, 0)
    steer(usher, "backend", "up", "mail1")
    before = {user: home(usher, user) for user in users}
    on_mail2 = [user for user in users if before[user] == "mail2"]
    assert steer(usher, "flush", "--backend", "mail2").done["users"] == len(on_mail2)
    assert not [user for user in users if steer(usher, "route", user).done["affinity"] == "mail2"]


def test_penalties_are_shown_and_forgotten(start_fakes):
    usher = start_fakes(
        penalty_exempt=[], penalty_delay="10ms", penalty_refuse_address="3"
    )
    for _ in range(3):
        with usher.connect() as imap:
            assert imap.login("ann", "wrong").status == "NO"
    usher.wait_events("auth_failed", 3)
    with usher.connect() as imap:
        assert imap.login("ann", PASSWORD).code == "LIMIT"
    assert steer(usher, "penalties", "ann").done["user_failures"] >= 3
    assert steer(usher, "penalties", "--address", "127.0.0.1").done["address_failures"] >= 3
    steer(usher, "penalties", "clear", "--address", "127.0.0.1")
    event = usher.wait_event("steered", command="penalties clear")
    assert event["detail"] == "forgot the failed logins from 127.0.0.1"
    steer(usher, "penalties", "clear", "ann")
    assert steer(usher, "penalties", "ann", "--address", "127.0.0.1").done["address_failures"] == 0
    with enter(usher, "ann", PASSWORD):
        pass


def test_what_was_steered_is_in_the_log_and_what_was_seen_is_not(start_fakes):
    usher = start_fakes()
    steer(usher, "status")
    steer(usher, "pin", "ann", "mail2")
    assert ask(usher, "pin", "ann", "mial2").status == WRONG
    event = usher.wait_event("steered", command="pin", backend="mail2")
    assert (event["uid"], event["user"]) == (str(os.getuid()), "ann")
    assert not usher.find("steered", command="status")


# --- rights ---------------------------------------------------------------------------------------

STRANGER = "games"


@pytest.mark.root
def test_a_stranger_is_refused(start_fakes, folder):
    usher = start_fakes(admin_socket=str(folder / "ctl"))
    account = getpwnam(STRANGER)
    for words in (["status"], ["pin", "ann", "mail1"]):
        answer = ask(folder / "ctl", *words, account=account)
        assert (answer.status, answer.code) == (FAILED, "denied"), words
    assert not steer(usher, "pins").rows


@pytest.mark.root
def test_the_usual_socket_is_out_of_a_strangers_reach(start_fakes, folder):
    start_fakes()
    ran = run_ctl("--socket", folder / "state/ctl", "status", account=getpwnam(STRANGER))
    assert ran.returncode == FAILED
    assert "admin_see" in ran.stderr


@pytest.mark.root
@pytest.mark.parametrize("how", ["by name", "by group", "by a further group"])
@pytest.mark.parametrize("right", ["see", "steer"])
def test_rights_are_given(right, how, start_fakes, folder):
    account = getpwnam(STRANGER)
    group = {"by group": account.pw_gid, "by a further group": getpwnam("daemon").pw_gid}.get(how)
    who = STRANGER if group is None else f"@{getgrgid(group).gr_name}"
    groups = (group,) if how == "by a further group" else ()
    start_fakes(admin_socket=str(folder / "ctl"), **{f"admin_{right}": [who]})

    def asked(*words: str) -> Answer:
        return ask(folder / "ctl", *words, account=account, groups=groups)

    assert asked("status").status == DONE
    answer = asked("pin", "ann", "mail1")
    assert (answer.status, answer.code) == ((DONE, "") if right == "steer" else (FAILED, "denied"))


@pytest.mark.root
def test_the_account_that_usher_runs_as_may_steer(start_fakes):
    usher = start_fakes()
    assert ask(usher, "pin", "ann", "mail1", account=getpwnam("nobody")).status == DONE


@pytest.mark.root
def test_the_account_of_the_workers_may_nothing(start_fakes, folder):
    usher = start_fakes(worker_user="daemon", admin_socket=folder / "ctl")
    answer = ask(folder / "ctl", "status", account=getpwnam("daemon"))
    assert (answer.status, answer.code) == (FAILED, "denied")
    assert not usher.find("steered")


# --- hostile --------------------------------------------------------------------------------------

GARBAGE = [
    b"\0" * 70_000,
    b"[" * 60_000 + b"\n",
    b'{"command": ' * 5000 + b"\n",
    b'{"command": "status"}\n' * 5000,
    b'{"command": "sessions", "user": 7}\n{"command": null}\n{}\n[]\n\n',
    b'{"command": "pin", "user": "a\\u0000b", "backend": "mail1"}\n',
    b'{"command": "kick", "user": "\xff\xfe"}\n',
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100,
    b"a LOGIN ann secret\r\n" * 100,
]


def pour(path: Path, octets: bytes, stop: threading.Event) -> None:
    """Again and again, reading nothing."""
    while not stop.is_set():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(path))
                client.sendall(octets)
                client.recv(100)
            except OSError:
                pass


def test_logins_go_on_while_garbage_pours_into_the_socket(start_fakes, folder):
    usher = start_fakes()
    stop = threading.Event()
    pouring = [
        threading.Thread(target=pour, args=(folder / "state/ctl", octets, stop))
        for octets in GARBAGE
    ]
    for thread in pouring:
        thread.start()
    try:
        for number in range(60):
            began = time.monotonic()
            with enter(usher, f"user{number}", PASSWORD):
                assert time.monotonic() - began < 10
    finally:
        stop.set()
        for thread in pouring:
            thread.join()
    assert steer(usher, "status").done["epoch"] == 1
    assert not steer(usher, "pins").rows


def test_more_silent_operators_than_there_is_room_for_are_no_harm(start_fakes, folder):
    usher = start_fakes()
    with ExitStack() as silent:
        for _ in range(50):
            client = silent.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(folder / "state/ctl"))
        with enter(usher, "ann", PASSWORD):
            pass
    wait_until(lambda: ask(usher, "status").status == DONE, 10, "there is room again")


def test_who_asks_while_control_is_replaced_is_answered_by_the_next(start_fakes):
    usher = start_fakes()
    control = usher.pid("control")
    os.kill(control, signal.SIGKILL)
    wait_until(lambda: not is_alive(control), 10, "control is dead")
    assert steer(usher, "status").done["epoch"] == 2


def test_an_answer_in_pieces_is_whole(start_fakes, stack):
    """More sessions than rows of one piece, read by somebody slow."""
    usher = start_fakes()
    for number in range(150):
        stack.enter_context(enter(usher, f"user{number}", PASSWORD))
    assert len(wait_sessions(usher, 150).rows) == 150
    assert len(steer(usher, "users").rows) == 150
    assert {row["user"] for row in steer(usher, "users").rows} == {f"user{n}" for n in range(150)}


def test_the_names_that_scripts_use_are_told(start_fakes, stack):
    """docs/operating.md lists them."""
    told = (TOP / "docs/operating.md").read_text().partition("## For scripts")[2]
    usher = start_fakes()
    stack.enter_context(enter(usher, "ann", PASSWORD))
    steer(usher, "pin", "bob", "mail1")
    for words in (["status"], ["sessions"], ["users"], ["backends"], ["pools"], ["pins"],
                  ["route", "ann"], ["penalties", "ann"], ["hold", "ann"]):  # fmt: skip
        answer = steer(usher, *words)
        first = "those that steer" if words[0] == "hold" else f"`{words[0]}`"
        (line,) = [line for line in told.splitlines() if line.startswith(f"| {first}")]
        for name in (answer.rows or [answer.done])[0]:
            assert f"`{name}`" in line, (words, name)
