"""`usher ports`: its words, options and exit statuses, what it lets through to a terminal, and what
does not depend on who listens: the registry, free ports, commands to try by hand."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import socket
import subprocess
from collections import defaultdict
from pathlib import Path

import ports_data
import pytest
from conftest import configure
from peers.certs import Tls
from peers.process import (
    Process,
    can_bind,
    chown_tree,
    own_account,
    reachable_copy,
    unprivileged,
)
from peers.usher import ACCOUNT, Backend, Listener
from ports import (
    BINARY,
    FAILED,
    FOUND,
    NONE,
    SHOWING,
    USAGE,
    listening,
    place_of,
    processes_of,
    quiet_place,
    quiet_port,
    show,
    tell,
    tell_port,
    usher_ports,
)

DATA = Path(__file__).resolve().parents[2] / "src/tables/iana-ports.tsv"

# What a run over all ports may take: each is written and forgotten before the next.
MEMORY_MOST_MIB = 32
SANITIZED_MOST_MIB = 96
PROCESSOR_MOST_S = 60
# Behind this port there is more to come than a pipe takes, so the program still runs.
NEARLY_ALL = 64000


# ---- Exit statuses and mistakes ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["0"], "0 is no port"),
        (["65536"], "65536 is too high"),
        (["imapp"], 'no service is called "imapp"; did you mean "imap"?'),
        (["143-10"], "the range 143-10 is the wrong way round"),
        (["1-2-3"], '"1-2-3" is no range'),
        ([""], "an empty word names no port"),
        (["14\x1b[2J"], '"14?[2J" has a control character in it'),
        (["127.0.0.1"], '"127.0.0.1" is an address without a port'),
        (["[::1"], '"[::1" has no closing bracket'),
        (["::1:143"], "::1:143"),
        (["http://x"], '"http://x" is a URL'),
        (["127.0.0.1:1-5"], '"1-5": behind a host belongs one port'),
        (["--bogus"], "unknown option --bogus"),
        (["--timeout"], "a value is missing behind --timeout"),
        (["--timeout", "0", "143"], "--timeout takes seconds from 1 to 600, not 0"),
        (["--timeout", "601", "143"], "--timeout takes seconds from 1 to 600, not 601"),
        (["--free", "none"], "--free takes a number from 1 to 10000, not none"),
        (["--free", "2", "143", "993"], "--free takes one range"),
        (["--free", "2", "--probe"], "--free and --probe do not go together"),
        (["--how"], "--how takes a port"),
        (["--how", "--json", "143"], "--how goes with no other option but --udp"),
        (["-c", "x", "143"], "-c is for the overview"),
    ],
)
def test_a_wrong_command_line_is_told_by_the_word(words, message):
    done = usher_ports(*words)
    assert (done.returncode, done.stdout) == (USAGE, "")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("usher ports: ") and message in first and "\x1b" not in done.stderr
    assert rest[-1] == '"usher help ports" explains it.'


def test_a_host_that_no_resolver_knows_is_told():
    done = usher_ports("nobody.invalid:143", seconds=60)
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr.startswith("usher ports: nobody.invalid: ") and len(done.stderr) > 30


def test_what_cannot_be_written_is_told():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [BINARY, "ports", "143"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == FAILED and "cannot write: No space left on device" in done.stderr


def test_the_status_says_whether_any_of_several_is_taken():
    address, port = quiet_place()
    other = quiet_port()
    with listening(address, port):
        assert len(tell(str(other), f"{address}:{port}")["ports"]) == 2
    assert usher_ports(str(other), f"{address}:{port}").returncode == NONE


# ---- Free ports ----


@pytest.mark.parametrize(("options", "kind"), [((), socket.SOCK_STREAM), (("--udp",), socket.SOCK_DGRAM)])
def test_free_ports_can_be_bound(options, kind):
    ports = [int(line) for line in show("--free", "5", *options).splitlines()]
    assert len(set(ports)) == 5
    for port in ports:
        assert 10000 <= port <= 32767
        told = tell_port(str(port), status=NONE)
        assert not told["custom"] and not told["ephemeral"] and not told["reserved"]
        assert not any(row["service"] for row in told["iana"])
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET, "127.0.0.1")):
            with socket.socket(family, kind) as bound:
                bound.bind((address, port))


def test_free_ports_of_a_range_are_those_that_nobody_has():
    first = quiet_port(4)
    with listening("127.0.0.1", first + 1), socket.socket() as bound:
        bound.bind(("127.0.0.1", first + 2))
        done = usher_ports("--free", "4", f"{first}-{first + 3}")
        assert (done.returncode, done.stdout) == (NONE, f"{first}\n{first + 3}\n")
        assert done.stderr == f"usher ports: only 2 of 4 ports are free from {first} to {first + 3}\n"
        done = usher_ports("--free", "1", "--json", f"{first + 1}-{first + 3}")
        assert (done.returncode, json.loads(done.stdout)) == (FOUND, {"free": [first + 3]})


# ---- The registry ----


def memory_most_kib(pid: int) -> int:
    """How much memory a process has had at once so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1])


def test_every_row_of_the_registry_is_told_and_no_other():
    wanted = defaultdict(list)
    for row in ports_data.read(DATA):
        if row.port > 0:  # which cannot be asked for
            wanted[row.port].append((row.protocol, row.service or None, row.description or None))
    # What AddressSanitizer keeps of freed memory would look like growth.
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    with subprocess.Popen(
        [BINARY, "ports", "--json", "1-65535"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "ASAN_OPTIONS": options},
    ) as process:
        assert process.stdout.readline() == '{"ports": [\n'
        for expected in range(1, 65536):
            line = process.stdout.readline()
            port = json.loads(line.removesuffix("\n").removesuffix(","))
            rows = [(row["protocol"], row["service"], row["description"]) for row in port["iana"]]
            assert port["port"] == expected
            assert sorted(rows, key=str) == sorted(wanted[expected], key=str)
            if expected == NEARLY_ALL:
                memory_kib = memory_most_kib(process.pid)
        assert process.stdout.readline() == "],\n"
        process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (FOUND, NONE)
    is_sanitized = b"__asan_init" in BINARY.read_bytes()
    assert memory_kib / 1024 < (SANITIZED_MOST_MIB if is_sanitized else MEMORY_MOST_MIB)
    assert usage.ru_utime + usage.ru_stime < PROCESSOR_MOST_S


def test_classes_and_neighbours_are_told():
    # Not by tell(): a connection that goes out may have either of the last two.
    done = usher_ports("--json", "1023", "1024", "49151", "49152")
    told = {port["port"]: port for port in json.loads(done.stdout)["ports"]}
    assert {key: port["class"] for key, port in told.items()} == {
        1023: "system",
        1024: "registered",
        49151: "registered",
        49152: "dynamic",
    }
    told = tell_port("10144", status=NONE)
    assert told["neighbours"]["below"] == {"port": 10129, "service": "bmc-gms"}
    assert told["neighbours"]["above"] == {"port": 10160, "service": "qb-db-server"}


# ---- Terminals ----


def in_terminal(columns: int, *words: str, env=None) -> tuple[str, int]:
    """What it shows in a terminal that is so wide, and its status."""
    leader, terminal = pty.openpty()
    plain = {key: value for key, value in os.environ.items() if key not in SHOWING}
    shown = {**plain, "TERM": "xterm", "COLUMNS": str(columns), **(env or {})}
    process = subprocess.Popen(
        [BINARY, "ports", *words],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env=shown,
    )
    os.close(terminal)
    octets = b""
    while True:
        try:
            some = os.read(leader, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
        octets += some
    os.close(leader)
    return octets.decode().replace("\r\n", "\n"), process.wait(60)


def test_colour_is_for_terminals_and_for_who_asks():
    address, port = quiet_place()
    word = f"{address}:{port}"
    with listening(address, port):
        assert "\x1b" not in show(word) + show(word, env={"TERM": "xterm"})
        assert "\x1b[1m" in show(word, env={"CLICOLOR_FORCE": "1"})
        assert "\x1b" not in show(word, env={"CLICOLOR_FORCE": "0"})
        assert "\x1b" not in show(word, env={"CLICOLOR_FORCE": "1", "NO_COLOR": "1"})
        assert "\x1b" not in json.dumps(tell(word, env={"CLICOLOR_FORCE": "1"}))
        assert "\x1b[1m" in in_terminal(80, word)[0]
        assert "\x1b" not in in_terminal(80, word, env={"NO_COLOR": "1"})[0]
        assert "\x1b" not in in_terminal(80, word, env={"TERM": "dumb"})[0]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_page_fits_its_terminal(columns):
    address = "127.0.0.1"
    with listening(address) as listener:
        port = listener.getsockname()[1]
        words = (f"{address}:{port}", f"{address}:10143")
        text, status = in_terminal(columns, *words, env={"NO_COLOR": "1"})
    assert status == FOUND
    lines = text.splitlines()
    # What is wider has one word that is: an address of the web, to be copied.
    assert [line for line in lines if len(line) > columns and len(line.split()) > 1] == []
    assert max(map(len, lines)) > columns - 20


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_process_cannot_write_to_the_terminal(words):
    address, port = quiet_place()
    script = (
        "import socket, sys, time\n"
        "open('/proc/self/comm', 'wb').write(b'\\x1b[31m\\xc2\\x9bred\\n\\x7f')\n"
        f"s = socket.create_server(({address!r}, {port}))\n"
        "print(flush=True)\n"
        "time.sleep(600)\n"
    )
    hostile = "\x1b[2J\x1b]0;mine\x07 \u202eevil\u2028 \u009b5m \r\n"
    argv = ["/usr/bin/python3", "-I", "-c", script, hostile]
    process = Process(argv, stdout=subprocess.PIPE)
    try:
        process.popen.stdout.readline()
        shown = show(f"{address}:{port}", *words)
        (owner,) = processes_of(tell_port(f"{address}:{port}")["listeners"])
    finally:
        process.kill()
        process.popen.stdout.close()
    assert "\\x1b[31m" in shown.replace("\\\\", "\\")
    both = shown + "".join(owner[key] for key in ("name", "command"))
    assert [c for c in both if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")] == []
    if not words:  # a script may have what turns the writing round; people may not
        assert "\u202e" not in shown and "\u2028" not in shown


# ---- By hand ----


def commands_for_linux(*words: str) -> list[str]:
    page = show("--how", *words).split("\n\nmacOS\n")[0]
    return [line.strip() for line in page.splitlines()[1:] if not line.lstrip().startswith("#")]


def output_of(command: str) -> str:
    """What a shell gives for it on both streams."""
    done = subprocess.run(
        ["sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        check=False,
    )
    return done.stdout


def test_commands_to_try_by_hand_name_port_and_host():
    page = show("--how", "mail.example.org:10143")
    assert re.findall(r"^\w+$", page, re.MULTILINE) == ["Linux", "macOS", "Windows"]
    assert "ss -lntp --cgroup 'sport = :10143'" in page
    assert "openssl s_client -crlf -quiet -connect mail.example.org:10143" in page
    assert "Test-NetConnection mail.example.org -Port 10143" in page
    assert "udp" not in page.lower()
    assert "[::1]:10143" in show("--how", "[::1]:10143")
    with_udp = show("--how", "--udp", "10143-10150")
    assert "ss -lntup --cgroup 'sport >= :10143 and sport <= :10150'" in with_udp
    assert "lsof -nP -iUDP:10143-10150" in with_udp and "nc -zv -w 1 127.0.0.1 10143-10150" in with_udp
    assert "{" not in re.sub(r"awk '.*'|@?\{[^}]*\}", "", with_udp)


def test_commands_for_linux_work(start_dovecot, backend_certificate):
    dovecot = start_dovecot("mail1", tls=Tls.STARTTLS, certificate=backend_certificate)
    expected = {
        "ss -l": rf"{dovecot.endpoint}",
        "lsof": rf"TCP {dovecot.endpoint} \(LISTEN\)",
        "fuser": r"dovecot",
        "grep": r"\b0A\b",
        "ss -a": r"State|LISTEN",
        "sysctl": r"ip_unprivileged_port_start = \d+",
        "openssl s_client -starttls": r"Verif|CN = ",
        "curl -sv imap": r"\* OK |CAPABILITY",
    }
    commands = commands_for_linux(dovecot.endpoint)
    tried = []
    for start, pattern in expected.items():
        (command,) = [one for one in commands if one.startswith(start)]
        if not shutil.which(start.split()[0]):
            continue
        said = output_of(command)
        assert re.search(pattern, said), f"{command}: {said}"
        tried.append(start)
    # The tests' own packages have these.
    assert {"ss -l", "grep", "ss -a", "sysctl", "openssl s_client -starttls", "curl -sv imap"} <= set(tried)


def test_commands_for_linux_about_udp_and_ranges_work():
    address, port = quiet_place()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, port))
        commands = commands_for_linux(f"{address}:{port}", "--udp")
        (sockets,) = [one for one in commands if one.startswith("ss -l")]
        assert f"{address}:{port}" in output_of(sockets)
        (table,) = [one for one in commands if one.startswith("grep") and "/proc/net/udp" in one]
        assert f":{port:04X} " in output_of(table)
    (sockets,) = [one for one in commands_for_linux(f"{port}-{port + 2}") if one.startswith("ss -l")]
    with listening(address, port + 1):
        assert f"{address}:{port + 1}" in output_of(sockets)


# ---- usher serve ----


def serve_where_taken(folder, certificate, address: str, account=None) -> str:
    """What it says when the port of its listener is taken."""
    config = folder / "usher.conf"
    backends = {"main": {"mail1": Backend("127.0.0.2:10143")}}
    config.write_text(configure(folder, certificate, backends, listeners={"in": Listener(address)}))
    process = Process([reachable_copy(BINARY), "serve", "-c", config], account=account, stderr=subprocess.PIPE)
    try:
        said = process.popen.stderr.read().decode()
        assert process.wait(30) == 1, said
    finally:
        process.kill()
        process.popen.stderr.close()
    return said


def test_serve_tells_who_has_its_port(folder, certificate):
    address, port = quiet_place()
    name = Path("/proc/self/comm").read_text().strip()
    with listening(address, port) as listener:
        said = serve_where_taken(folder, certificate, place_of(listener))
    owner = f"{name} (pid {os.getpid()}, user {own_account().pw_name}"
    assert f"listener in: cannot listen on {address}:{port}: it is taken by {owner}" in said


@pytest.mark.root
def test_serve_tells_an_ordinary_account_whose_the_port_is(folder, certificate):
    address, port = quiet_place()
    account = unprivileged(ACCOUNT)
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    with listening(address, port):
        said = serve_where_taken(folder, certificate, f"{address}:{port}", account)
    assert "it is taken by a process of user root that is hidden from us" in said


def test_serve_tells_of_a_socket_that_does_not_listen(folder, certificate):
    address, port = quiet_place()
    with socket.socket() as bound:
        bound.bind((address, port))
        assert not can_bind(address, port)
        said = serve_where_taken(folder, certificate, f"{address}:{port}")
    # Kernels before 6.8 have no list of such sockets.
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    if release >= (6, 8):
        assert f"cannot listen on {address}:{port}: it is taken by " in said
        assert f"(pid {os.getpid()}, user " in said and "), which does not listen there" in said
    else:
        assert f"cannot listen on {address}:{port}: " in said and f"`usher ports {port}`" in said
