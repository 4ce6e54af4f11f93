"""Usher as a service: what a manager is told and passes, children that hang, containers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import LISTENERS, TOP, configure
from ctl import BINARY
from peers.crowd import Crowd
from peers.fakebackend import PASSWORD, FakeBackend
from peers.manager import Manager, passing
from peers.process import (
    chown_tree,
    free_address,
    is_alive,
    signal_each,
    stat_fields,
    unprivileged,
    wait_until,
)
from peers.rawimap import RawImap
from peers.usher import Backend, Listener, Usher

WORDS = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
READY, NOT_READY, WRONG, NOBODY = range(4)


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


@pytest.fixture
def manager(stack, folder):
    return stack.enter_context(Manager(folder))


@pytest.fixture
def start(stack, folder, certificate, fake) -> Callable[..., Usher]:
    """Starts an usher before `fake`; what Usher takes goes to it, the rest are settings."""

    def start(**options) -> Usher:
        of_usher = {"env", "prefix", "pass_fds", "waits", "account"}
        given = {key: options.pop(key) for key in of_usher & options.keys()}
        text = configure(folder, certificate, {"main": {"fake": Backend(fake.endpoint)}}, **options)
        return stack.enter_context(Usher(folder, text, **given))

    return start


def log_in(usher: Usher, user: str = "fresh") -> str:
    with usher.connect("plain") as imap:
        return imap.login(user, PASSWORD).status


# --- what a manager is told -----------------------------------------------------------------------


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_a_manager_is_told_from_start_to_stop(stack, folder, start, is_abstract):
    manager = stack.enter_context(Manager(folder, is_abstract))
    usher = start(env=manager.env)
    assert manager.next() == {"STATUS": "Starting"}
    ready = manager.next()
    assert ready["READY"] == "1"
    assert "0 connections" in ready["STATUS"]

    before = time.monotonic_ns() // 1000
    usher.renew()
    reloading, again = manager.wait("RELOADING"), manager.next()
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert again["READY"] == "1"

    usher.stop()
    stopping = manager.next()
    assert stopping["STOPPING"] == "1"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 20_000_000


def test_the_status_tells_how_it_goes(manager, start):
    usher = start(env=manager.env)
    assert log_in(usher) == "OK"
    manager.wait("READY")
    assert re.search(r"1 connections, 1 logins, 0 refused", manager.wait("STATUS")["STATUS"])


def test_a_reload_that_is_refused_is_told_until_one_succeeds(manager, start, folder, authority):
    own = authority.issue("renewed", "localhost")
    usher = start(env=manager.env, certificates={"more": own})
    manager.wait("READY")
    good = own.certificate.read_bytes()
    own.certificate.write_bytes(b"no certificate")
    usher.process.send_signal(signal.SIGHUP)
    manager.wait("RELOADING")
    assert "change_refused" in manager.wait("READY")["STATUS"]
    own.certificate.write_bytes(good)
    usher.renew()
    assert "change_refused" not in manager.wait("READY")["STATUS"]


def test_a_start_that_fails_tells_why(stack, manager, start):
    taken = stack.enter_context(listening("127.0.0.1"))
    here = Listener(address="127.0.0.1:%d" % taken.getsockname()[1])
    usher = start(env=manager.env, waits=False, listeners={"plain": here})
    assert usher.wait_end() == 1
    usher.is_killed = True
    assert manager.next() == {"STATUS": "Starting"}
    assert "it is taken by" in manager.next()["STATUS"]


def test_a_manager_that_is_not_there_is_told_of_once(start, folder):
    usher = start(env={"NOTIFY_SOCKET": str(folder / "none")})
    usher.renew()
    assert log_in(usher) == "OK"
    assert len(usher.find("notify_failed")) == 1


def test_the_children_have_no_part_in_it(manager, start):
    usher = start(env={**manager.env, "WATCHDOG_USEC": "60000000", "LISTEN_FDNAMES": "x"})
    for pid in [usher.pid("control"), usher.pid("lookup"), *usher.worker_pids()]:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
        assert not [word for word in WORDS if word in environment]


def test_a_manager_that_watches_hears_of_us_while_the_loop_turns(manager, start):
    usher = start(env={**manager.env, "WATCHDOG_USEC": "400000"})
    for _ in range(5):
        assert manager.wait("WATCHDOG", 5)["WATCHDOG"] == "1"
    os.kill(usher.process.pid, signal.SIGSTOP)
    wait_until(lambda: stat_fields(usher.process.pid)[0] == "T", 10, "the parent stops")
    manager.drain()
    with pytest.raises(TimeoutError):
        manager.wait("WATCHDOG", 1)
    os.kill(usher.process.pid, signal.SIGCONT)
    manager.wait("WATCHDOG")


def test_a_watch_over_another_process_is_not_ours(manager, start):
    start(env={**manager.env, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
    manager.wait("READY")
    with pytest.raises(TimeoutError):
        manager.wait("WATCHDOG", 1)


# --- children that hang ---------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["control", "lookup", "worker"])
def test_a_process_that_hangs_is_killed_and_replaced(stack, start, role):
    usher = start(watchdog="4s")
    crowd = stack.enter_context(Crowd())
    crowd.enter(20, "127.0.0.1", usher.port("plain"), user="u{}".format, password=PASSWORD)
    slot = 0 if role == "worker" else None
    sessions = {event["id"]: event["user"] for event in usher.wait_events("login", 20)}
    pid, mark = usher.pid(role, slot), usher.mark()
    os.kill(pid, signal.SIGSTOP)
    # Some of these lie in the socket of the worker that hangs.
    comers = [
        stack.enter_context(usher.connect("plain", reads_greeting=False)) for _ in range(10)
    ]

    stuck = usher.wait_event("process_stuck", after=mark)
    assert (stuck["role"], int(stuck["pid"])) == (role, pid)
    assert int(stuck["silent_ms"]) > 4000
    assert usher.wait_event("process_ended", after=mark, pid=pid)["signal"] in ("6", "9")
    usher.wait_event("process_started", after=mark, role=role)
    for imap in comers:
        assert imap.response().startswith(b"* OK")
        assert imap.login("ann", PASSWORD).status == "OK"

    lost = set()
    if role == "worker":
        # Processes are numbered as they are started.
        number = 1 + [int(event["pid"]) for event in usher.find("process_started")].index(pid)
        lost = {user for key, user in sessions.items() if key.startswith(f"{number}.")}
        assert lost
    assert {member.user for member in crowd.alive()} == set(sessions.values()) - lost
    usher.stuck = 1


def test_a_process_that_hangs_tells_where(start):
    usher = start(watchdog="4s")
    pid, mark = usher.pid("lookup"), usher.mark()
    os.kill(pid, signal.SIGSTOP)
    usher.wait_event("process_stuck", after=mark)
    # What was sent to a stopped process meets it when it goes on, as it meets an endless loop.
    os.kill(pid, signal.SIGCONT)
    assert usher.wait_event("process_ended", after=mark, pid=pid)["signal"] == "6"
    crashed = usher.find("crashed", after=mark)
    assert [event["role"] for event in crashed] in ([], ["lookup"])
    usher.wait_event("process_started", after=mark, role="lookup")
    usher.stuck = 1


@pytest.mark.parametrize("who", ["all", "parent"])
def test_a_machine_that_stood_still_costs_nobody(start, who):
    usher = start(watchdog="4s")
    everybody = usher.process_ids() if who == "all" else [usher.process.pid]
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        signal_each(everybody, signal.SIGSTOP)
        time.sleep(6)
        # The parent goes on first, and finds that nobody has said a word.
        signal_each(everybody, signal.SIGCONT)
        assert imap.is_alive()
        mark = usher.mark()
        usher.renew()
        assert log_in(usher) == "OK"
        assert not usher.find("process_ended", after=mark)
        assert imap.is_alive()


# --- passed sockets -------------------------------------------------------------------------------


def listening(address: str, port: int = 0, shares: bool = False) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shares:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    made.listen(128)
    return made


def come(to: socket.socket) -> RawImap:
    return RawImap(*to.getsockname())


def test_a_passed_socket_is_the_listeners_of_its_name(stack, start):
    passed = stack.enter_context(listening("127.0.0.1"))
    usher = start(**passing([passed], "plain"))
    (event,) = usher.find("listening", listener="plain")
    assert event["address"] == f"127.0.0.1:{passed.getsockname()[1]}"
    assert event["passed"] == "1"
    with come(passed) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    # The others are opened as ever.
    assert "passed" not in usher.find("listening", listener="imaps")[0].fields
    assert usher.port("imaps") != usher.port("plain")


def test_a_passed_socket_is_the_listeners_of_its_address(stack, start):
    address = free_address(10143)
    passed = stack.enter_context(listening(address, 10143))
    listeners = {**LISTENERS, "here": Listener(address=f"{address}:10143")}
    usher = start(listeners=listeners, **passing([passed], "usher.socket"))
    assert usher.find("listening", listener="here")[0]["passed"] == "1"
    with come(passed) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


def test_a_socket_for_both_families_is_the_wildcards(stack, start):
    passed = stack.enter_context(
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    )
    port = passed.getsockname()[1]
    listeners = {**LISTENERS, "any": Listener(address=f"*:{port}")}
    usher = start(listeners=listeners, **passing([passed], "usher.socket"))
    assert usher.find("listening", listener="any")[0]["address"] == f"[::]:{port}"
    for address, user in (("127.0.0.1", "ann"), ("::1", "bob")):
        with RawImap(address, port) as imap:
            assert imap.login(user, PASSWORD).status == "OK"
        client = usher.wait_event("login", user=user)["client"]
        assert client.rpartition(":")[0].strip("[]") == address


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_workers_share_passed_sockets_whatever_their_number(stack, start, count):
    first = stack.enter_context(listening("127.0.0.1", shares=True))
    port = first.getsockname()[1]
    more = [stack.enter_context(listening("127.0.0.1", port, True)) for _ in range(count - 1)]
    usher = start(**passing([first, *more], ":".join(["plain"] * count)))
    assert usher.find("listening", listener="plain")[0]["passed"] == str(count)
    for imap in [stack.enter_context(come(first)) for _ in range(30)]:
        assert imap.login("ann", PASSWORD).status == "OK"


def test_a_worker_that_hangs_keeps_nobody_from_a_shared_socket(stack, start):
    passed = stack.enter_context(listening("127.0.0.1"))
    usher = start(**passing([passed], "plain"))
    for slot in range(2):
        pid = usher.pid("worker", slot)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(5):
                with come(passed) as imap:
                    assert imap.login("ann", PASSWORD).status == "OK"
        finally:
            os.kill(pid, signal.SIGCONT)


def test_who_waits_in_a_passed_socket_outlives_usher(stack, start):
    passed = stack.enter_context(listening("127.0.0.1"))
    start(**passing([passed], "plain")).stop()
    waiting = stack.enter_context(RawImap(*passed.getsockname(), reads_greeting=False))
    start(**passing([passed], "plain"))
    assert waiting.response().startswith(b"* OK")
    assert waiting.login("ann", PASSWORD).status == "OK"


@pytest.mark.root
def test_a_port_below_1024_needs_no_rights_when_it_is_passed(stack, start, folder, certificate):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    passed = stack.enter_context(listening(free_address(143), 143))
    usher = start(account=account, **passing([passed], "plain"))
    status = Path(f"/proc/{usher.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    for pid in usher.worker_pids():
        os.kill(pid, signal.SIGKILL)
    usher.wait_events("process_started", 4, role="worker")
    with come(passed) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


def bound(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.bind(("127.0.0.1", 0))
    return made


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (lambda: bound(socket.SOCK_DGRAM), "plain", "UDP"),
        (lambda: bound(socket.SOCK_STREAM), "plain", "does not listen"),
        (lambda: socket.socket(socket.AF_UNIX), "plain", "unix socket"),
        (lambda: listening("127.0.0.1"), "pop3", "fits no listener"),
        (lambda: listening("127.0.0.1"), "-", "fits no listener"),
        (lambda: listening("127.0.0.1"), "plain:imap", "LISTEN_FDNAMES"),
    ],
)
def test_a_socket_that_is_wrong_is_told(stack, start, make, name, words):
    usher = start(waits=False, **passing([stack.enter_context(make())], name))
    assert usher.wait_end() == 1
    usher.is_killed = True
    (fatal,) = usher.find("fatal")
    assert words in fatal["detail"]


def test_systemd_socket_activate_starts_it_at_the_first_connection(start):
    address = free_address(10143)
    prefix = ["systemd-socket-activate", "-l", f"{address}:10143", "--fdname=plain"]
    usher = start(waits=False, prefix=prefix)
    wait_until(lambda: any("Listening on" in line for line in usher.stray), 10, "it listens")
    with RawImap(address, 10143) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    # They are systemd's own.
    usher.stray[:] = [line for line in usher.stray if not re.match("Listening|Commun|Execing", line)]


# --- containers -----------------------------------------------------------------------------------


def children_of(pid: int) -> dict[int, str]:
    """The children of a process, dead ones included, each with its state."""
    found = {}
    for entry in os.listdir("/proc"):
        fields = stat_fields(int(entry)) if entry.isdigit() else []
        if fields and int(fields[1]) == pid:
            found[int(entry)] = fields[0]
    return found


@pytest.mark.root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_1_of_a_container_reaps_orphans_and_stops(start, number):
    usher = start(prefix=["unshare", "--pid", "--fork", "--kill-child"])
    (first,) = children_of(usher.process.pid)
    assert "NSpid:\t%d\t1\n" % first in Path(f"/proc/{first}/status").read_text()
    own = set(children_of(first))
    orphan = "sleep 0.5 & exec true"
    subprocess.run(["nsenter", "--target", str(first), "--pid", "sh", "-c", orphan], check=True)
    wait_until(lambda: set(children_of(first)) - own, 10, "the orphan is usher's child")
    wait_until(lambda: set(children_of(first)) == own, 10, "the orphan is reaped")
    assert log_in(usher) == "OK"
    os.kill(first, number)
    assert usher.process.wait(30) == 0
    assert not is_alive(first)
    assert not usher.find("process_ended")
    usher.kill()


READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -o remount,bind,ro /
shift
exec setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set=-all "$@"
"""


@pytest.mark.long  # where the root is no mount of its own, as in a chroot, it cannot be made so
@pytest.mark.root
def test_a_read_only_root_and_no_rights_are_enough(start, folder, certificate):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    usher = start(prefix=["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(folder)])
    assert log_in(usher) == "OK"
    assert not usher.find("state_failed")
    assert (folder / "state/usher.db").stat().st_uid == account.pw_uid


def health(usher: Usher) -> int:
    done = subprocess.run(
        [BINARY, "health", "-c", usher.config], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout == "ready\n") == (done.returncode == READY)
    assert bool(done.stderr) == (done.returncode != READY)
    return done.returncode


def test_health_tells_probes_how_it_is(start):
    usher = start()
    assert health(usher) == READY
    # A worker that hangs keeps the next control from knowing who is where.
    worker = usher.pid("worker", 0)
    os.kill(worker, signal.SIGSTOP)
    os.kill(usher.pid("control"), signal.SIGKILL)
    usher.wait_event("control_begun", epoch=2)
    wait_until(lambda: health(usher) == NOT_READY, 10, "it is not ready")
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: health(usher) == READY, 10, "it is ready")
    usher.stop()
    assert health(usher) == NOBODY


def test_health_does_not_wait_for_an_usher_that_hangs(start):
    usher = start()
    control = usher.pid("control")
    os.kill(control, signal.SIGSTOP)
    assert health(usher) == NOBODY
    os.kill(control, signal.SIGCONT)


# --- the unit -------------------------------------------------------------------------------------


@pytest.fixture
def unit(folder) -> Path:
    """The unit as it is installed, with the program that is tested."""
    text = (TOP / "packaging/systemd/usher.service.in").read_text()
    path = folder / "usher.service"
    path.write_text(text.replace("@sbindir@/usher", str(BINARY.resolve())))
    return path


def analyze(*words: str | Path) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_understands_the_unit(unit):
    assert unit.name not in analyze("verify", "--man=no", unit)


@pytest.mark.root
def test_the_units_capabilities_are_enough(stack, start, unit):
    """To bind, to make the socket in a directory of another account, to end what hangs there."""
    (line,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit.read_text(), re.MULTILINE)
    kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in line.split())
    listeners = {"plain": Listener(address=f"{free_address(143)}:143")}
    prefix = ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", "--"]
    start(prefix=prefix, listeners=listeners).stop()
    usher = start(prefix=prefix, listeners=listeners, watchdog="4s")
    assert health(usher) == READY
    os.kill(usher.pid("lookup"), signal.SIGSTOP)
    usher.wait_events("process_started", 2, role="lookup")
    usher.stuck = 1


@pytest.mark.root
def test_one_capability_is_enough_without_root(start, folder, certificate):
    """As the drop-in has it; and the parent alone has even that."""
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    one = "-all,+net_bind_service"
    whom = ["--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs"]
    caps = [f"--{kind}={one}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    listeners = {"plain": Listener(address=f"{free_address(143)}:143")}
    usher = start(prefix=["setpriv", *whom, *caps, "--"], listeners=listeners)

    def capabilities(pid: int) -> int:
        return int(re.search(r"CapPrm:\t(\w+)", Path(f"/proc/{pid}/status").read_text())[1], 16)

    assert capabilities(usher.process.pid) == 1 << 10
    for pid in [usher.pid("control"), usher.pid("lookup"), *usher.worker_pids()]:
        assert capabilities(pid) == 0
    assert health(usher) == READY


def test_the_unit_keeps_usher_within_bounds(unit):
    """systemd's own measure: 0 is shut in, 10 is free."""
    rating = re.search(r"exposure level for usher.service: (\d+\.\d)", analyze("security", "--offline=true", unit))
    assert float(rating[1]) <= 3.0
