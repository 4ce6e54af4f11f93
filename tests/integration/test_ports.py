"""`usher ports`: what it finds out about sockets, processes and namespaces of this machine."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import configure
from peers.process import Process, free_address, is_root, own_account, unprivileged, wait_until
from peers.nginx import Service
from peers.usher import ACCOUNT, Backend, Listener
from ports import (
    FAILED,
    FOUND,
    NONE,
    listeners_at,
    listening,
    processes_of,
    quiet_place,
    quiet_port,
    show,
    tell,
    tell_port,
    usher_ports,
)

# Listens on the address and port that it is given, and says its port.
LISTENER = (
    "import socket, sys, time\n"
    "s = socket.create_server((sys.argv[1], int(sys.argv[2])))\n"
    "print(s.getsockname()[1], flush=True)\n"
    "time.sleep(600)\n"
)


@contextmanager
def listening_process(address: str, port: int = 0, *, prefix=(), **options):
    """A process that listens, and the port that it has."""
    python = "/usr/bin/python3"
    argv = [*prefix, python, "-I", "-c", LISTENER, address, str(port)]
    process = Process(argv, stdout=subprocess.PIPE, **options)
    try:
        yield process, int(process.popen.stdout.readline())
    finally:
        process.kill()
        process.popen.stdout.close()


def own_name() -> str:
    return Path("/proc/self/comm").read_text().rstrip("\n")


# ---- One listener ----


@pytest.mark.parametrize("haproxy", [False, True])
def test_a_dovecot_is_told_with_its_processes_and_users(start_dovecot, haproxy):
    dovecot = start_dovecot("mail1", haproxy=haproxy)
    port = tell_port(dovecot.endpoint)
    assert port["tcp"] == {"state": "taken", "error": None}
    (listener,) = port["listeners"]
    assert (listener["address"], listener["port"], listener["family"]) == (dovecot.address, 10143, "ipv4")
    assert (listener["queue"], listener["sharing"], listener["namespace"]) == (0, 1, None)
    assert listener["backlog"] > 0 and listener["uid"] == os.geteuid()
    users = {process["name"]: process["user"] for process in listener["processes"]}
    master = [process for process in listener["processes"] if process["pid"] == dovecot.process.pid]
    assert [process["user"] for process in master] == [own_account().pw_name]
    assert users["imap-login"] == unprivileged("dovenull").pw_name


def test_a_dovecot_is_shown_to_people(start_dovecot):
    dovecot = start_dovecot("mail1")
    text = show(dovecot.endpoint)
    assert text.startswith(f"Port 10143 (imap-backend) at {dovecot.address}: taken\n")
    row = next(line for line in text.splitlines() if line.split()[:1] == [dovecot.endpoint])
    assert [own_account().pw_name, str(dovecot.process.pid), "dovecot"] == row.split()[4:7]
    assert "neighbours are 10129 bmc-gms and 10160 qb-db-server" in text
    assert "IMAP for a proxy in front, which must begin with a PROXY header" in text


def test_a_mail_server_and_a_web_server_are_told(start_exim, start_nginx):
    exim, nginx = start_exim(), start_nginx({10080: Service("http")})
    answer = tell(f"{exim.address}:{exim.port}", f"{nginx.address}:10080")
    of_exim, of_nginx = answer["ports"]
    assert {process["name"] for process in processes_of(of_exim["listeners"])} == {"exim4"}
    # The master and its worker, each with the same socket.
    by_pid = {process["pid"]: process for process in processes_of(of_nginx["listeners"])}
    assert {process["name"] for process in by_pid.values()} == {"nginx"} and len(by_pid) == 2
    assert {process["user"] for process in by_pid.values()} == {
        own_account().pw_name,
        unprivileged("www-data").pw_name,
    }
    if is_root():
        assert of_exim["port"] == 25 and of_exim["privileged"]
        smtp = {"protocol": "tcp", "service": "smtp", "description": "Simple Mail Transfer"}
        assert smtp in of_exim["iana"]


def test_an_address_where_nobody_listens_is_free():
    address, port = quiet_place()
    told = tell_port(f"{address}:{port}", status=NONE)
    assert told["tcp"] == {"state": "free", "error": None}
    assert told["listeners"] == [] and told["connections"] == {} and told["udp"] is None
    with listening(address, port):
        assert tell_port(f"{address}:{port}")["tcp"]["state"] == "taken"
        assert tell_port(str(port))["tcp"]["state"] == "taken"
        other = tell_port(f"{free_address(port)}:{port}", status=NONE)
        assert other["tcp"]["state"] == "free" and other["listeners"] == []


def test_an_address_of_another_machine_is_told():
    told = tell_port("192.0.2.1:143", status=FAILED)
    assert told["tcp"] == {"state": "elsewhere", "error": "Cannot assign requested address"}
    assert "this machine does not have the address; --probe asks it" in show(
        "192.0.2.1:143", status=FAILED
    )


@pytest.mark.parametrize("every", ["0.0.0.0", "::"])
def test_a_listener_on_every_address_is_not_at_another_machines(every):
    with listening(every, v6only=False) as listener:
        port = listener.getsockname()[1]
        told = tell_port(f"192.0.2.1:{port}", status=FAILED)
        assert (told["tcp"]["state"], told["listeners"]) == ("elsewhere", [])
        assert tell_port(f"127.0.0.1:{port}")["tcp"]["state"] == "taken"


def test_connections_and_blocked_ports_are_told_in_a_range():
    port = quiet_port(3)
    bound = socket.socket()
    with bound, listening("127.0.0.1", port) as listener, socket.create_connection(listener.getsockname()):
        bound.bind(("127.0.0.1", port + 2))
        first, second, third = tell(f"{port}-{port + 2}")["ports"]
        assert first["connections"] == {"established": 1}
        assert [one["tcp"]["state"] for one in (first, second)] == ["taken", "free"]
        # Kernels since 6.8 tell of a socket that is bound and does not listen.
        assert third["tcp"]["state"] in ("blocked", "taken")
        assert "3 ports" in show(f"{port}-{port + 2}")


# ---- Families ----


def test_ipv6_alone_and_both_families_are_told_apart():
    with listening("::", v6only=True) as alone, listening("::", v6only=False) as both:
        for listener, dual in ((alone, False), (both, True)):
            port = listener.getsockname()[1]
            (told,) = listeners_at(tell_port(str(port)), "::")
            assert (told["family"], told["dual_stack"]) == ("ipv6", dual)
            assert bool(listeners_at(tell_port(f"127.0.0.1:{port}", status=NONE - dual), "::")) == dual
            row = next(line for line in show(str(port)).splitlines() if f"[::]:{port} " in line)
            assert row.split()[2] == ("4+6" if dual else "6")


def test_an_address_of_ipv6_is_asked_for_in_brackets():
    with listening("::1") as listener:
        port = listener.getsockname()[1]
        told = tell_port(f"[::1]:{port}")
        assert (told["host"], told["tcp"]["state"]) == ("::1", "taken")
        (one,) = listeners_at(told, "::1")
        assert os.getpid() in [process["pid"] for process in one["processes"]]
        assert tell_port(f"127.0.0.1:{port}", status=NONE)["listeners"] == []


def test_a_socket_of_all_addresses_serves_each():
    with listening("0.0.0.0") as listener:
        port = listener.getsockname()[1]
        for word in (f"{free_address(port + 1)}:{port}", f"0.0.0.0:{port}", f"*:{port}"):
            assert listeners_at(tell_port(word), "0.0.0.0"), word


def test_udp_is_looked_at_when_it_is_asked_for():
    address, port = quiet_place()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, port))
        word = f"{address}:{port}"
        assert tell_port(word, status=NONE)["listeners"] == []
        told = tell_port(word, "--udp")
        assert (told["tcp"]["state"], told["udp"]["state"]) == ("free", "taken")
        (one,) = told["listeners"]
        assert one["protocol"] == "udp" and one["processes"][0]["pid"] == os.getpid()
        assert f"at {address}: tcp free, udp taken\n" in show(word, "--udp")


# ---- Sharing, queues, connections ----


def test_sockets_that_share_an_address_are_counted_and_shown_as_one():
    address, port = quiet_place()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(listening(address, port, shares=True))
        place = f"{address}:{port}"
        told = tell_port(place)
        assert [one["sharing"] for one in told["listeners"]] == [3, 3, 3]
        assert len({one["inode"] for one in told["listeners"]}) == 3
        rows = [line.split() for line in show(place).splitlines() if place in line]
        assert [row[:4] for row in rows] == [[place, "tcp", "4", "3"]]
        assert show(place).count(f" {os.getpid()} ") == 1


def test_a_socket_that_a_child_has_too_names_both():
    address, port = quiet_place()
    with listening(address, port) as listener:
        os.set_inheritable(listener.fileno(), True)
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
        try:
            wait_until(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n", 10, "sleep")
            (one,) = tell_port(f"{address}:{port}")["listeners"]
            named = {process["pid"]: process["name"] for process in one["processes"]}
            assert named == {os.getpid(): own_name(), child.pid: "sleep"} and one["sharing"] == 1
            assert re.search(rf" {child.pid} +sleep", show(f"{address}:{port}"))
        finally:
            child.kill()
            child.wait()


def test_a_full_queue_is_told():
    address, port = quiet_place()
    with listening(address, port, backlog=1), ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection((address, port), timeout=10))
        told = tell_port(f"{address}:{port}")
        assert (told["listeners"][0]["queue"], told["listeners"][0]["backlog"]) == (2, 1)
        assert told["connections"] == {"established": 2}
        word = f"{address}:{port}"
        assert " 2/1 " in show(word)
        assert "\033[31m2/1\033[0m" in show(word, env={"CLICOLOR_FORCE": "1"})


def test_connections_are_counted_by_state_and_time_wait_leaves_a_port_free():
    address, port = quiet_place()
    with listening(address, port) as listener:
        for _ in range(3):
            with socket.create_connection((address, port), timeout=10) as client:
                accepted, _ = listener.accept()
                accepted.close()  # who closes first has to wait
                assert client.recv(1) == b""
        with socket.create_connection((address, port), timeout=10):
            assert tell_port(f"{address}:{port}")["connections"] == {"established": 1, "time-wait": 3}
            assert "1 established, 3 time-wait" in show(f"{address}:{port}")
    # What nobody had accepted is gone without waiting.
    told = tell_port(f"{address}:{port}", status=NONE)
    assert (told["tcp"]["state"], told["connections"]) == ("free", {"time-wait": 3})


def test_a_socket_that_is_bound_and_does_not_listen_blocks_the_port():
    address, port = quiet_place()
    with socket.socket() as bound:
        bound.bind((address, port))
        told = tell_port(f"{address}:{port}")
        assert told["tcp"] == {"state": "blocked", "error": "Address already in use"}
        assert told["listeners"] == []
        text = show(str(port))
        assert f"Port {port}" in text and ": blocked\n" in text
        assert f"ss -anp 'sport = :{port}'" in text


# ---- Many ports ----


def test_a_range_tells_each_of_its_ports():
    first = quiet_port(4)
    last = first + 3
    address = free_address(first)
    with listening(address, first), listening(address, first + 2):
        told = tell(f"{first}-{last}")["ports"]
        assert [port["port"] for port in told] == list(range(first, last + 1))
        assert [port["tcp"]["state"] for port in told] == ["taken", "free", "taken", "free"]
        text = show(f"{first}-{last}")
        assert f"2 of the 4 ports from {first} to {last} are taken." in text
        assert text.count(f"{address}:") == 2
    text = show(f"{first}-{last}", status=NONE)
    assert f"0 of the 4 ports from {first} to {last} are taken." in text


@pytest.mark.parametrize(
    ("word", "port"),
    [("imap", 143), ("IMAPS", 993), ("imap-backend", 10143), ("submissions", 465), ("*:sieve", 4190)],
)
def test_services_are_asked_for_by_name(word, port):
    done = usher_ports("--json", word)
    assert done.returncode in (FOUND, NONE) and f'{{"port": {port}, ' in done.stdout


def test_a_host_is_asked_for_by_name():
    with listening("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        try:
            both = listening("::1", port)
        except OSError:
            both = socket.socket()  # no IPv6 here, or the port is taken there
        with both:
            told = tell_port(f"localhost:{port}")
            assert told["host"] == "localhost" and told["listeners"]
            assert {one["address"] for one in told["listeners"]} <= {"127.0.0.1", "::1"}
            heading = show(f"localhost:{port}").splitlines()[0]
            assert re.search(rf"^Port {port}\b.* at localhost \(\S+:{port}\): taken$", heading)


def test_the_overview_has_the_ports_of_mail_and_of_the_configuration(folder, certificate):
    address, port = quiet_place()
    config = folder / "usher.conf"
    backends = {"main": {"mail1": Backend("127.0.0.2:12345")}}
    listeners = {"in": Listener(f"{address}:{port}")}
    config.write_text(configure(folder, certificate, backends, listeners=listeners))
    with listening(address, port):
        told = {one["port"]: one for one in tell("-c", config)["ports"]}
        assert {24, 25, 110, 143, 465, 587, 993, 995, 4190, 10143, 10993, 12345, port} == set(told)
        assert listeners_at(told[port], address)
        row = rf"^ *{port} .*taken +{re.escape(address)}:{port} "
        assert re.search(row, show("-c", config), re.MULTILINE)


def test_a_configuration_with_a_mistake_is_told(folder):
    config = folder / "usher.conf"
    config.write_text("no_such_setting = 1\n")
    done = usher_ports("-c", config)
    assert (done.returncode, done.stdout) == (FAILED, "") and f"{config}:1" in done.stderr


def test_unix_sockets_of_a_dovecot_are_in_the_overview(start_dovecot):
    dovecot = start_dovecot("mail1")
    told = tell(status=FOUND)
    place = (dovecot.temporary or dovecot.folder) / "run"
    (login,) = [one for one in told["unix"] if one["path"] == f"{place}/login/imap"]
    assert login["protocol"] == "unix" and login["backlog"] > 0
    assert dovecot.process.pid in [process["pid"] for process in login["processes"]]
    assert re.search(rf"^{re.escape(str(place))}/login/imap +0/\d+ ", show(), re.MULTILINE)


# ---- Others' ----


@pytest.mark.root
def test_a_listener_of_another_user_is_shown_to_a_plain_user():
    address, port = quiet_place()
    with listening(address, port):
        options = {"account": unprivileged(ACCOUNT)}
        told = tell(f"{address}:{port}", **options)
        (one,) = told["ports"][0]["listeners"]
        assert (one["uid"], one["processes"]) == (0, []) and told["hidden_processes"] > 0
        text = show(f"{address}:{port}", **options)
        assert re.search(rf"^ +{re.escape(address)}:{port} +tcp +4 +0/16 +root +\?", text, re.MULTILINE)
        assert "The processes of other users are hidden from us" in text and "sudo usher ports" in text
        assert "hidden" not in show(f"{address}:{port}")


@pytest.mark.root
def test_a_listener_of_the_host_is_shown_within_a_container():
    address, port = quiet_place()
    inside = ["unshare", "--pid", "--fork", "--propagation", "unchanged", "--mount-proc", "--"]
    with listening(address, port):
        (one,) = tell_port(f"{address}:{port}", prefix=inside)["listeners"]
        assert (one["uid"], one["processes"]) == (0, [])
        text = show(f"{address}:{port}", prefix=inside)
        assert "A socket without a process is the kernel's own, or of a process that is hidden" in text


@pytest.mark.root
def test_root_sees_the_listener_of_a_plain_user():
    address, port = quiet_place()
    account = unprivileged(ACCOUNT)
    with listening_process(address, port, account=account) as (process, _):
        (one,) = tell_port(f"{address}:{port}")["listeners"]
        (owner,) = one["processes"]
        assert (one["uid"], owner["pid"]) == (account.pw_uid, process.pid)
        assert (owner["user"], owner["name"]) == (account.pw_name, "python3")
        assert owner["command"].startswith("/usr/bin/python3 -I -c import socket")


@pytest.mark.root
def test_a_listener_in_another_namespace_is_named_and_does_not_take_the_port(folder):
    port = quiet_port()
    with listening_process("0.0.0.0", port, prefix=["unshare", "-n", "--"]) as (process, _):
        told = tell_port(str(port), status=NONE)
        assert told["tcp"]["state"] == "free"
        (one,) = told["listeners"]
        inode = os.stat(f"/proc/{process.pid}/ns/net").st_ino
        assert one["namespace"]["inode"] == inode and one["namespace"]["ours"] is False
        assert process.pid in [owner["pid"] for owner in one["processes"]]
        assert f"net:[{inode}]" in show(str(port), status=NONE)
        with listening("0.0.0.0", port):
            here, there = tell_port(str(port))["listeners"]
            assert (here["namespace"], there["namespace"]["inode"]) == (None, inode)


@pytest.mark.root
def test_a_namespace_has_the_name_that_ip_gives_it():
    port, name = quiet_port(), f"u-test-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with listening_process("0.0.0.0", port, prefix=["nsenter", f"--net=/run/netns/{name}", "--"]):
            (one,) = tell_port(str(port), status=NONE)["listeners"]
            assert one["namespace"]["name"] == name
            assert re.search(rf" {name} ", show(str(port), status=NONE))
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def may_have_user_namespaces(account) -> bool:
    """Whether kernel and container let the account have them: some do not."""
    process = Process(["unshare", "-Urn", "true"], account=account)
    return process.wait(20) == 0


def in_a_user_namespace(port: int, account):
    """A process of the account that listens in a network and a user namespace of its own."""
    return listening_process("0.0.0.0", port, prefix=["unshare", "-Urn", "--"], account=account)


def test_who_may_not_look_into_a_namespace_is_told_of_it():
    account, port = unprivileged(ACCOUNT), quiet_port()
    if not may_have_user_namespaces(account):
        return
    with in_a_user_namespace(port, account):
        told = tell(str(port), status=NONE, account=account)
        assert told["ports"][0]["listeners"] == [] and told["hidden_namespaces"] >= 1
        text = show(str(port), status=NONE, account=account)
        assert re.search(r"^Other network namespaces .*, \d+ in all; root may look", text, re.MULTILINE)


def test_who_could_not_come_back_from_a_namespace_does_not_go():
    """In a user namespace of one's own what is below it may be entered, but not the network that
    one came from."""
    account, port = unprivileged(ACCOUNT), quiet_port()
    if not may_have_user_namespaces(account):
        return
    with in_a_user_namespace(port, account) as (process, _):
        inside = ["nsenter", "-t", str(process.pid), "-U", "--preserve-credentials", "--"]
        told = tell(str(port), status=NONE, prefix=inside, account=account)
        assert told["ports"][0]["listeners"] == [] and told["hidden_namespaces"] >= 1


def test_root_of_a_user_namespace_has_no_rights_over_the_network():
    account = unprivileged(ACCOUNT)
    if not may_have_user_namespaces(account):
        return
    options = {"account": account, "prefix": ["unshare", "-Ur", "--"]}
    (port,) = tell("1022", status=NONE, **options)["ports"]
    assert port["tcp"]["state"] == ("denied" if port["privileged"] else "free")
    assert "CAP_NET_BIND_SERVICE, which we have" not in show("1022", status=NONE, **options)
