"""Upgrade: usher becomes the program that stands where it was started from, while it runs, and goes back in
the same way. Nobody who is connected notices; a program that is no good changes nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from changing import Changing, both, home_of, log_in, starting
from conftest import LISTENERS, TOP
from ctl import BINARY, DONE, steer
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.manager import Manager, passing
from peers.process import chown_tree, free_address, is_alive, stat_fields, unprivileged, wait_until
from peers.program import Installed
from peers.rawimap import RawImap
from peers.usher import Listener
from test_penalties import fail
from tls_peers import client, greeted

STAND_IN = Path(__file__).parent / "stand_in.c"
HIGH_PORT = 10144


@pytest.fixture
def installed(folder) -> Installed:
    return Installed(folder, BINARY)


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes, installed) -> Callable[..., Changing]:
    """Starts the first release before both backends, unless told otherwise; settings are Changing's."""
    begin = starting(stack, folder, certificate=certificate, pools=both(fakes))

    def start(usher: Mapping[str, object] | None = None, **settings: object) -> Changing:
        return begin(usher={"binary": installed.path, **(usher or {})}, **settings)

    return start


def versions(changing: Changing, retired: bool = False) -> set[str]:
    return {row["version"] for row in changing.workers(retired)}


# --- what an upgrade is ---------------------------------------------------------------------------


def test_there_and_back(start, installed):
    changing = start()
    usher = changing.usher
    first, second = installed.versions.values()
    assert usher.find("ready")[0]["version"] == first
    ports = {name: usher.port(name) for name in LISTENERS}
    with log_in(usher, "ann") as ann, log_in(usher, "bob", "imaps", tls=Tls.IMPLICIT) as bob:
        for generation, (before, after) in enumerate([(first, second), (second, first)], 2):
            assert installed.put_other() == after
            event = changing.upgrade()
            assert (event["version"], event["before"]) == (after, before)
            assert event["generation"] == str(generation)
            usher.wait_events("control_begun", generation)
            assert steer(usher, "status").done["version"] == after
            assert versions(changing) == {after}
            assert ann.is_alive() and bob.is_alive()
            assert {row["user"] for row in steer(usher, "sessions").rows} == {"ann", "bob"}
            log_in(usher, "carol", "imap", tls=Tls.STARTTLS).close()
        assert versions(changing, retired=True) == {first}
    # The parent has been this process all the time, by this program now.
    assert usher.process.is_running()
    assert os.path.samefile(f"/proc/{usher.process.pid}/exe", installed.path)
    wait_until(lambda: not changing.workers(retired=True), 20, "workers of before end")
    assert {name: usher.port(name) for name in LISTENERS} == ports
    assert len(usher.find("listening")) == len(LISTENERS)


def test_an_operator_upgrades(start, installed):
    changing = start()
    version = installed.put_other()
    answer = changing.ask("upgrade")
    assert (answer.status, answer.done["generation"]) == (DONE, 2)
    assert steer(changing.usher, "status").done["version"] == version


def test_the_configuration_of_now_is_used(start, fakes, installed):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        installed.put_other()
        address = free_address(HIGH_PORT)
        more = {**LISTENERS, "more": Listener(address=f"{address}:{HIGH_PORT}")}
        changing.write(listeners=more, workers="3")
        changing.upgrade()
        with RawImap(address, HIGH_PORT) as imap:
            assert imap.login("bob", PASSWORD).status == "OK"
        assert len(changing.workers()) == 3
        assert ann.is_alive()
        # The new program's own reload, and the old one's sessions.
        changing.reload(listeners=LISTENERS, workers="1")
        assert len(changing.workers()) == 1
        assert ann.is_alive()


def test_the_same_program_will_do(start):
    """As when only its libraries are new."""
    changing = start()
    with log_in(changing.usher, "ann") as ann:
        for _ in range(3):
            event = changing.upgrade()
            assert event["version"] == event["before"]
        assert ann.is_alive()


def test_a_reload_goes_on_with_the_program_that_runs(start, installed):
    """Whatever was put where it was started from."""
    changing = start()
    installed.put(installed.plain_file(b"", 0o755))
    with log_in(changing.usher, "ann") as ann:
        changing.renew()
        log_in(changing.usher, "bob").close()
        assert ann.is_alive()
    for slot in (0, 1):
        mark = changing.usher.mark()
        (row,) = [row for row in changing.workers() if row["slot"] == slot]
        os.kill(row["pid"], signal.SIGKILL)
        changing.usher.wait_event("process_started", after=mark, role="worker")
    log_in(changing.usher, "ann").close()


@pytest.mark.parametrize("role", ["control", "lookup", "worker"])
def test_what_dies_behind_an_upgrade_is_replaced_by_the_new_program(start, installed, role):
    changing = start()
    usher = changing.usher
    version = installed.put_other()
    with log_in(usher, "ann") as ann:
        changing.upgrade()
        usher.wait_events("worker_retired", 2)
        # Whatever stands there by now.
        installed.put(installed.plain_file(b"", 0o755))
        mark = usher.mark()
        pid = changing.workers()[0]["pid"] if role == "worker" else usher.pid(role)
        os.kill(pid, signal.SIGKILL)
        usher.wait_event("process_ended", after=mark, pid=pid)
        usher.wait_event("process_started", after=mark, role=role)
        log_in(usher, "bob").close()
        assert ann.is_alive()
        wait_until(lambda: len(changing.workers()) == 2, 20, "both workers are there")
        assert versions(changing) == {version}


def test_a_reload_and_an_upgrade_at_once_are_done_one_after_the_other(start, installed):
    changing = start()
    usher = changing.usher
    version = installed.put_other()
    mark = usher.mark()
    changing.write(idle_timeout="32m")
    for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
        usher.process.send_signal(number)
    assert usher.wait_event("upgraded", after=mark)["version"] == version
    usher.wait_event("reloaded", after=mark)
    wait_until(lambda: changing.ask("status").done.get("version") == version, 20, "it is the new one")
    assert not usher.find("change_refused")
    log_in(usher).close()


def test_a_signal_that_comes_during_the_upgrade_is_not_lost(start, installed):
    """Also while this process is neither the old program nor the new one."""
    changing = start()
    usher = changing.usher
    for _ in range(5):
        installed.put_other()
        mark = usher.mark()
        usher.process.send_signal(signal.SIGUSR2)
        changing.write(idle_timeout=changing.next_patience())
        usher.process.send_signal(signal.SIGHUP)
        usher.wait_event("upgraded", after=mark)
        wait_until(lambda: usher.find("reloaded", mark), 30, "it was reloaded, too")
    log_in(usher).close()


@pytest.mark.parametrize("is_late", [False, True], ids=["preparing", "with-candidates"])
def test_usher_stops_in_the_middle_of_an_upgrade(start, installed, is_late):
    changing = start()
    usher = changing.usher
    installed.put_other()
    mark = usher.mark()
    usher.process.send_signal(signal.SIGUSR2)
    if is_late:
        usher.wait_event("process_started", after=mark, role="worker")
    usher.stop()
    assert not usher.process_ids()


def test_a_stop_behind_an_upgrade_ends_everybody(start, installed):
    changing = start()
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        installed.put_other()
        changing.upgrade()
        with log_in(usher, "bob") as bob:
            usher.process.send_signal(signal.SIGTERM)
            assert b"* BYE" in ann.rest()
            assert b"* BYE" in bob.rest()
    usher.stop()
    totals = usher.find("stopped")[0]
    assert (totals["sessions"], totals["logins"]) == ("2", "2")


def test_where_it_was_started_from_may_be_a_link(start, installed):
    """Whoever installs turns the link: that of the first start, whatever it pointed to."""
    link = installed.folder / "current"
    link.symlink_to(installed.first)
    changing = start(usher={"binary": link})
    with log_in(changing.usher, "ann") as ann:
        for program in (installed.second, installed.first):
            turned = installed.folder / "turned"
            turned.symlink_to(program)
            turned.rename(link)
            assert changing.upgrade()["version"] == installed.versions[program]
        assert ann.is_alive()


def test_it_may_have_been_started_by_relative_paths(start, installed):
    """They still mean what they meant then."""
    words = 'cd "$0" && shift && exec ./usher serve -c ../usher.conf'
    changing = start(usher={"prefix": ["sh", "-c", words, installed.folder]})
    for _ in range(2):
        version = installed.put_other()
        assert changing.upgrade()["version"] == version
        changing.renew()
    log_in(changing.usher).close()


# --- programs that are no good --------------------------------------------------------------------


def stand_in(act: str, role: str = "") -> Callable[[Installed], Path]:
    def make(installed: Installed) -> Path:
        words = {"ROLE": f'"{role}"', "ACT": act, "REAL": f'"{installed.second}"'}
        return installed.compiled(STAND_IN, TOP / "src", [f"{key}={word}" for key, word in words.items()])

    return make


BROKEN = {
    "exits": (stand_in("leave"), "ended with status 1"),
    "hangs": (stand_in("hang"), "reload_timeout"),
    "another protocol": (stand_in("be_a_stranger"), "version"),
    "a script": (lambda installed: installed.script("exit 1"), "new program"),
    "another program": (lambda installed: Path("/bin/true"), "ended with status"),
    "not executable": (lambda installed: installed.plain_file(b"\x7fELF", 0o644), "execute"),
    "no program": (lambda installed: installed.plain_file(b"\x7fELF", 0o755), "execute"),
    "empty": (lambda installed: installed.plain_file(b"", 0o755), "execute"),
    "a worker exits": (stand_in("leave", "worker"), "worker"),
    "a control exits": (stand_in("leave", "control"), "control"),
    "a lookup exits": (stand_in("leave", "lookup"), "lookup"),
    "a worker hangs": (stand_in("hang", "worker"), "reload_timeout"),
    "a control hangs": (stand_in("hang", "control"), "reload_timeout"),
    "a control of another protocol hangs": (stand_in("be_a_stranger", "control"), "nothing was changed"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_program_that_is_no_good_changes_nothing(start, installed, fault):
    make, words = BROKEN[fault]
    changing = start(reload_timeout="1s" if "hangs" in fault else "30s")
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        before = set(usher.process_ids())
        installed.put(make(installed))
        refused = usher.change(signal.SIGUSR2)
        assert (refused.name, refused["what"]) == ("change_refused", "upgrade")
        assert words in refused["detail"]
        answer = changing.ask_refused("upgrade")
        assert words in answer.error
        wait_until(lambda: set(usher.process_ids()) == before, 20, "nobody else is there")
        assert steer(usher, "status").done["epoch"] == 1
        log_in(usher, "bob").close()
        # And a good one is taken.
        installed.put(installed.second)
        if "hangs" in fault:
            changing.reload(reload_timeout="30s")
        changing.upgrade()
        assert ann.is_alive()


def test_a_program_that_is_not_there_changes_nothing(start, installed):
    changing = start()
    usher = changing.usher
    installed.path.unlink()
    refused = usher.change(signal.SIGUSR2)
    assert refused.name == "change_refused"
    assert str(installed.path) in refused["detail"]
    log_in(usher).close()
    installed.put(installed.second)
    changing.upgrade()


def test_a_configuration_that_the_new_program_refuses_changes_nothing(start, installed):
    changing = start()
    usher = changing.usher
    before = installed.versions[installed.first]
    installed.put_other()
    mark = usher.mark()
    changing.refused(signal.SIGUSR2, login_timeout="soon")
    log = "\n".join(str(event.fields) for event in usher.events_after(mark))
    assert f"{usher.config}:" in log and "login_timeout" in log
    assert steer(usher, "status").done["version"] == before
    changing.write()
    changing.upgrade()


@pytest.mark.parametrize("role", ["control", "lookup", "worker", "prepare"])
def test_a_candidate_that_is_killed_changes_nothing(start, installed, role):
    """Or dies as one that serves already, and is replaced."""
    changing = start()
    usher = changing.usher
    installed.put_other()
    with log_in(usher, "ann") as ann:
        mark = usher.mark()
        usher.process.send_signal(signal.SIGUSR2)
        pid = int(usher.wait_event("process_started", after=mark, role=role)["pid"])
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            assert role == "prepare"
        how = usher.wait_change(mark)
        assert how.name == "upgraded" or "signal 9" in how["detail"]
        assert ann.is_alive()
        log_in(usher, "bob").close()
        changing.upgrade()
        assert ann.is_alive()
        log_in(usher, "carol").close()


def test_a_control_that_hangs_does_not_hinder_it(start, installed):
    changing = start()
    usher = changing.usher
    installed.put_other()
    with log_in(usher, "ann") as ann:
        hanging = usher.control_pid()
        os.kill(hanging, signal.SIGSTOP)
        changing.upgrade()
        usher.wait_events("control_begun", 2)
        wait_until(lambda: not is_alive(hanging), 20, "the old control is gone")
        log_in(usher, "bob").close()
        assert {row["user"] for row in steer(usher, "sessions").rows} >= {"ann"}
        assert ann.is_alive()
    usher.stuck = len(usher.find("process_stuck"))


# --- what goes on ---------------------------------------------------------------------------------


def test_what_control_knows_is_kept(start, fakes, installed):
    """Affinity, operators' states, failed logins."""
    changing = start(
        listeners={"plain": Listener(), "imap": Listener()},
        storage="shared",
        penalty_exempt=["127.0.0.1"],
        penalty_delay="50ms",
        penalty_refuse_address="4",
    )
    usher = changing.usher
    users = [f"user{number}" for number in range(10)]
    steer(usher, "backend", "down", "mail1")
    assert {home_of(usher, user) for user in users} == {"mail2"}
    steer(usher, "backend", "up", "mail1")
    steer(usher, "hold", "carol")
    fail(usher, 4)
    for _ in range(2):
        installed.put_other()
        changing.upgrade()
        assert {home_of(usher, user) for user in users} == {"mail2"}
    steer(usher, "backend", "drain", "mail2")
    for number in range(2):
        installed.put_other()
        changing.upgrade()
        assert changing.ask("backends").row(backend="mail2")["state"] == "drain"
        assert home_of(usher, f"new{number}") == "mail1"
        assert changing.ask("pins").row(user="carol")["held"]
        with usher.connect("imap", source="127.0.1.1") as imap:
            answer = imap.login("ann", PASSWORD)
            assert answer.status == "NO" and answer.code != "AUTHENTICATIONFAILED"


def test_placements_are_kept(start, installed):
    changing = start()
    usher = changing.usher
    homes = {user: home_of(usher, user) for user in map("user{}".format, range(10))}
    installed.put_other()
    changing.upgrade()
    assert {user: home_of(usher, user) for user in homes} == homes
    assert len(usher.find("placed")) == len(homes)


def test_tickets_of_before_are_taken(start, installed, authority):
    changing = start()
    usher = changing.usher
    context = client(authority)
    with greeted(usher, context) as secured:
        session = secured.session
    installed.put_other()
    changing.upgrade()
    wait_until(lambda: usher.find("control_begun")[1:], 20, "the new control decides")
    with greeted(usher, context, session=session) as secured:
        assert secured.session_reused


def test_nothing_is_left_over(start, installed):
    """Descriptors of the parent, processes, files of the state directory."""
    changing = start()
    usher = changing.usher
    parent = usher.process.pid

    def settled() -> tuple[int, int]:
        wait_until(lambda: not changing.workers(retired=True), 20, "workers of before end")
        wait_until(lambda: len(usher.process_ids()) == 5, 20, "five processes are left")
        return len(os.listdir(f"/proc/{parent}/fd")), len(list((changing.folder / "state").iterdir()))

    installed.put_other()
    changing.upgrade()
    before = settled()
    for _ in range(4):
        installed.put_other()
        changing.upgrade()
        changing.renew()
        installed.put(installed.plain_file(b"", 0o755))
        assert usher.change(signal.SIGUSR2).name == "change_refused"
        installed.put(installed.first)
    assert settled() == before


# --- as a service ---------------------------------------------------------------------------------


def test_a_manager_is_told_of_an_upgrade(stack, folder, start, installed):
    manager = stack.enter_context(Manager(folder))
    changing = start(usher={"env": {**manager.env, "WATCHDOG_USEC": "2000000"}})
    manager.wait("READY")
    installed.put_other()
    changing.upgrade()
    assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > 0
    manager.wait("READY")
    # The new program goes on with it.
    manager.wait("WATCHDOG")
    changing.usher.stop()
    manager.wait("STOPPING")


def test_passed_sockets_are_kept(stack, start, installed):
    address = free_address(HIGH_PORT)
    passed = stack.enter_context(socket.create_server((address, HIGH_PORT), backlog=128))
    listeners = {"plain": Listener(address=f"{address}:{HIGH_PORT}")}
    changing = start(listeners=listeners, usher=passing([passed], "plain"))
    for _ in range(2):
        installed.put_other()
        changing.upgrade()
        for number in range(6):
            with RawImap(address, HIGH_PORT) as imap:
                assert imap.login(f"user{number}", PASSWORD).status == "OK"
    changing.renew()
    with RawImap(address, HIGH_PORT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.root
def test_without_rights(start, folder, certificate, installed):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    changing = start(usher={"account": account})
    usher = changing.usher
    with log_in(usher, "ann") as ann:
        for _ in range(2):
            installed.put_other()
            changing.upgrade()
            log_in(usher, "bob").close()
            assert ann.is_alive()
    status = Path(f"/proc/{usher.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


@pytest.mark.root
def test_process_1_of_a_container(start, installed):
    changing = start(usher={"prefix": ["unshare", "--pid", "--fork", "--kill-child"]})
    usher = changing.usher
    children = [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
    (first,) = [pid for pid in children if stat_fields(pid)[1:2] == [str(usher.process.pid)]]
    with log_in(usher, "ann") as ann:
        installed.put_other()
        mark = usher.mark()
        os.kill(first, signal.SIGUSR2)
        assert usher.wait_change(mark).name == "upgraded"
        log_in(usher, "bob").close()
        assert ann.is_alive()
    orphan = "sleep 0.2 & exec true"
    subprocess.run(["nsenter", "--target", str(first), "--pid", "sh", "-c", orphan], check=True)

    def has_dead() -> bool:
        found = [stat_fields(int(entry)) for entry in os.listdir("/proc") if entry.isdigit()]
        return any(fields[1:2] == [str(first)] and fields[0] == "Z" for fields in found)

    wait_until(lambda: not has_dead(), 10, "orphans are reaped")
    os.kill(first, signal.SIGTERM)
    assert usher.process.wait(30) == 0
    usher.kill()
