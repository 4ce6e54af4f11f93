#!/usr/bin/python3
"""How fast an account is carried: usher, imapsync, mbsync, doveadm backup and a bare MULTIAPPEND, in
one run, between two Dovecots, near and far.

    tests/bench/sync_speed.py [--imapsync PATH] [--messages 20000] [--size 8192] [--rtt 0 20]
                              [--store sdbox mdbox] [--only NAME ...] [--folders 1] [--rounds 3]

Prints a table in Markdown. With an --rtt above 0 each of the two servers is so many milliseconds
away, there and back, behind a relay that limits nothing else (relay.c, which is built here). The
bare MULTIAPPEND writes messages that it has in memory into the same store, over one connection a
folder, as many a command as usher comes to: what the target takes. Peak memory and CPU are those of
the tool, its children included; beside them, what both servers and the relays have spent on it.
doveadm writes into the store by itself, so that its CPU is also what a server spends for the
others, and its way to the target has no length.

All carry the messages with their flags and dates, into an account that is new. They take turns,
--rounds times, each time in another order, with nothing left to be written to the disk by the one
before, and of each the fastest round counts. The last column says how much of the machine was taken
by programs that have nothing to do with the bench: figures beside more than some percent are to be
read with care.

imapsync carries --few messages only, as it would take minutes for more. Its rate leaves out what it
takes for an account without mail, which is measured too; those of the others leave out nothing.

Needs, beside what the tests need: isync; for imapsync what tools/deps/long.txt says, and imapsync
itself, which Debian does not have. usher is build/usher (tools/build.sh release, whose folder the
relay is built in, too), or what USHER_BIN names. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

from peers.corpus import Item, append_all, plain_messages  # noqa: E402
from peers.dovecot import Dovecot  # noqa: E402
from peers.greeting import wait_for_greeting  # noqa: E402
from peers.certs import Tls  # noqa: E402
from peers.process import (  # noqa: E402
    BACKEND_PORT,
    Process,
    free_address,
    private_dir,
    remove_dir,
    stat_fields,
)
from peers.rawimap import RawImap  # noqa: E402

PASSWORD = "secret"
SOURCES = ("many", "few", "none")
ROUNDS_MOST = 200
BATCH = 8000
MIB = 1 << 20
WATCH_S = 0.01
TICKS = os.sysconf("SC_CLK_TCK")
RELEASE = TOP / "build/release"
RELAY = RELEASE / "tests/bench/relay"

MBSYNC = """
IMAPAccount from
Host {from_host}
Port {from_port}
User {source}
Pass {password}
AuthMechs LOGIN
SSLType None
Timeout 600

IMAPAccount to
Host {to_host}
Port {to_port}
User {target}
Pass {password}
AuthMechs LOGIN
SSLType None
Timeout 600

IMAPStore from
Account from

IMAPStore to
Account to

Channel all
Far :from:
Near :to:
Patterns *
Create Near
Sync Pull
CopyArrivalDate yes
SyncState {folder}/
"""


@dataclass(frozen=True)
class End:
    """Where a tool finds one of the servers."""

    host: str
    port: int
    server: Dovecot


@dataclass(frozen=True)
class Job:
    """An account to be carried."""

    source: str
    target: str
    source_end: End
    target_end: End
    folder: Path
    imapsync: Path | None


@dataclass
class Cost:
    seconds: float
    cpu_s: float = 0.0
    peak_kib: int = 0
    servers_s: float = 0.0  # of CPU
    relays_s: float = 0.0
    others: float = 0.0  # the part of the machine that strangers took


@dataclass
class Row:
    """A line of the table."""

    store: str
    rtt_ms: float
    tool: str
    messages: int
    rate: float
    cost: Cost


def measured(argv: list[object], env: dict[str, str] | None = None) -> Cost:
    """Runs a tool to its end."""
    began = time.monotonic()
    with open(os.devnull, "rb") as nothing:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=nothing,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(process.stderr.read()))
    reader.start()
    peaks: list[int] = [0]
    watcher = threading.Thread(target=watch_memory, args=(process.pid, peaks))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    watcher.join()
    process.stderr.close()
    if process.returncode != 0:
        words = b"".join(said)[-2000:].decode("utf-8", "replace")
        raise RuntimeError(f"{argv[0]} ended with {process.returncode}: {words}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, max(peaks))


def watch_memory(pid: int, peaks: list[int]) -> None:
    """Until the process has ended. What wait4() says of memory would count ours, from before exec."""
    while True:
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
        except OSError:
            return
        if not found:
            return
        peaks.append(int(found[1]))
        time.sleep(WATCH_S)


# ---- the machine ----


def busy_s() -> float:
    """What all processors have worked since the start of the machine."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / TICKS


def programs_s() -> dict[str, float]:
    """The CPU time of what we have started and what that has: the servers, the relays."""
    fields = {int(pid): stat_fields(int(pid)) for pid in os.listdir("/proc") if pid.isdigit()}
    spent = {"relays": 0.0, "servers": 0.0}
    family = [os.getpid()]
    for parent in family:
        for pid in fields:
            if not fields[pid] or int(fields[pid][1]) != parent:
                continue
            family.append(pid)
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                name = "relays" if command.startswith(bytes(RELAY)) else "servers"
                spent[name] += sum(map(int, fields[pid][11:15])) / TICKS
    return spent


def watched(run: Callable[[], Cost]) -> Cost:
    """Measures what goes on beside."""
    os.sync()  # what others have left to be written is not to be waited for
    before, own, busy = programs_s(), sum(os.times()[:4]), busy_s()
    began = time.monotonic()
    cost = run()
    seconds = time.monotonic() - began
    after = programs_s()
    cost.servers_s = max(0.0, after["servers"] - before["servers"])
    cost.relays_s = max(0.0, after["relays"] - before["relays"])
    known = sum(after.values()) - sum(before.values()) + sum(os.times()[:4]) - own
    cost.others = max(0.0, busy_s() - busy - known) / (seconds * (os.cpu_count() or 1))
    return cost


# ---- the tools ----


def run_usher(job: Job, *more: str) -> Cost:
    binary = Path(os.environ.get("USHER_BIN", TOP / "build/usher"))
    words = [f"imap://{job.source}@{job.source_end.host}:{job.source_end.port}"]
    words.append(f"imap://{job.target}@{job.target_end.host}:{job.target_end.port}")
    words += [f"--password-env{side}=PASSWORD{side}" for side in (1, 2)]
    words += ["--quiet", *(more or ["--journal", str(job.folder / "journal")])]
    return measured([binary, "sync", *words], {f"PASSWORD{side}": PASSWORD for side in (1, 2)})


def run_imapsync(job: Job) -> Cost:
    words: list[object] = [job.imapsync or "imapsync"]
    for side, end, user in ((1, job.source_end, job.source), (2, job.target_end, job.target)):
        words += [f"--host{side}", end.host, f"--port{side}", end.port, f"--user{side}", user]
        words += [f"--password{side}", PASSWORD, f"--nossl{side}", f"--notls{side}"]
    words += ["--nolog", "--noreleasecheck", "--nomodulesversion", "--tmpdir", job.folder]
    return measured(words)


def run_mbsync(job: Job) -> Cost:
    config = job.folder / "mbsyncrc"
    config.write_text(
        MBSYNC.format(
            from_host=job.source_end.host,
            from_port=job.source_end.port,
            to_host=job.target_end.host,
            to_port=job.target_end.port,
            source=job.source,
            target=job.target,
            password=PASSWORD,
            folder=job.folder,
        )
    )
    config.chmod(0o600)
    return measured(["mbsync", "-q", "-c", config, "all"])


def run_doveadm(job: Job) -> Cost:
    settings = {
        "imapc_host": job.source_end.host,
        "imapc_port": job.source_end.port,
        "imapc_user": job.source,
        "imapc_password": PASSWORD,
        "imapc_features": "rfc822.size fetch-headers",
        "mail_prefetch_count": 50,
    }
    words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    config = job.target_end.server.config
    return measured(["doveadm", "-c", config, *words, "backup", "-R", "-u", job.target, "imapc:"])


TOOLS: dict[str, Callable[[Job], Cost]] = {
    "usher": run_usher,
    "imapsync": run_imapsync,
    "mbsync": run_mbsync,
    "doveadm backup": run_doveadm,
}
BARE = "bare MULTIAPPEND"


def run_bare(job: Job, corpus: dict[str, list[Item]]) -> Cost:
    """Appends what is made ready before, a connection and a thread each folder; there is no source."""
    ready = []
    for name, items in corpus.items():
        imap = RawImap(job.target_end.host, job.target_end.port, timeout=600)
        imap.login(job.target, PASSWORD)
        if name != "INBOX":
            imap.command(f"CREATE {name}".encode())
        commands = []
        for first in range(0, len(items), BATCH):
            parts = [b"APPEND " + name.encode()]
            for item in items[first : first + BATCH]:
                flags = " ".join(item.flags).encode()
                parts.append(b' (%s) "%s" {%d+}\r\n' % (flags, item.date.encode(), len(item.raw)))
                parts.append(item.raw)
            commands.append(b"t%d " % first + b"".join(parts) + b"\r\n")
        ready.append((imap, commands))

    def send(imap: RawImap, commands: list[bytes]) -> None:
        for command in commands:
            imap.send(command)

    def receive(imap: RawImap, commands: list[bytes]) -> None:
        for command in commands:
            answer = imap.finish(command.split(b" ", 1)[0])
            if answer.status != "OK":
                raise RuntimeError(f"APPEND: {answer}")

    began, cpu = time.monotonic(), time.process_time()
    threads = [threading.Thread(target=do, args=pair) for pair in ready for do in (send, receive)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cost = Cost(time.monotonic() - began, time.process_time() - cpu)
    for imap, _ in ready:
        imap.close()
    return cost


# ---- the ground ----


def folders_of(count: int, messages: int, size: int) -> dict[str, list[Item]]:
    """`messages` in all, spread over folders."""
    names = ["INBOX", *(f"folder{number}" for number in range(1, count))]
    items = list(plain_messages(messages, size))
    return {name: items[place::count] for place, name in enumerate(names)}


def fill(server: Dovecot, user: str, corpus: dict[str, list[Item]]) -> None:
    with RawImap(server.address, server.port, timeout=600) as imap:
        imap.login(user, PASSWORD)
        for name, items in corpus.items():
            if name != "INBOX":
                imap.command(f"CREATE {name}".encode())
            append_all(imap, name, items)
            # What the server remembers of messages when somebody has looked at them once.
            imap.command(f"EXAMINE {name}".encode())
            imap.command(b"FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER])")


def count(server: Dovecot, user: str) -> int:
    imap = imaplib.IMAP4(server.address, server.port)
    imap.login(user, PASSWORD)
    total = 0
    for row in imap.list()[1]:
        name = row.rsplit(b" ", 1)[1].decode()
        total += int(imap.select(name, readonly=True)[1][0])
    imap.logout()
    return total


def build_relay() -> None:
    if not (RELEASE / "build.ninja").exists():
        raise SystemExit("there is no build/release to build the relay in: tools/build.sh release")
    target = str(RELAY.relative_to(RELEASE))
    subprocess.run(["ninja", "-C", RELEASE, target], check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def far(server: Dovecot, rtt_ms: float) -> Iterator[End]:
    """The server, so far away."""
    if not rtt_ms:
        yield End(server.address, server.port, server)
        return
    address = free_address()
    relay = Process([RELAY, f"{address}:{BACKEND_PORT}", server.endpoint, str(rtt_ms / 2)])
    try:
        wait_for_greeting(relay, address, BACKEND_PORT, Tls.OFF)
        yield End(address, BACKEND_PORT, server)
    finally:
        relay.kill()


class Bench:
    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args = args
        self.folder = folder
        self.corpora = {
            "many": folders_of(args.folders, args.messages, args.size),
            "few": folders_of(args.folders, args.few, args.size),
            "none": folders_of(args.folders, 0, args.size),
        }
        self.rows: list[Row] = []
        self.users = 0

    def run(self) -> None:
        for store in self.args.store:
            with ExitStack() as stack:
                source, target = (
                    stack.enter_context(self.server(store, name)) for name in ("from", "to")
                )
                for user, corpus in self.corpora.items():
                    fill(source, user, corpus)
                for rtt in self.args.rtt:
                    self.run_all(store, source, target, rtt)

    def server(self, store: str, name: str) -> Dovecot:
        users = {user: PASSWORD for user in SOURCES}
        users |= {f"target{number}": PASSWORD for number in range(ROUNDS_MOST)}
        folder = self.folder / f"{store}-{name}"
        return Dovecot(folder, name=name, address=free_address(), users=users, driver=store)

    def run_all(self, store: str, source: Dovecot, target: Dovecot, rtt: float) -> None:
        with far(source, rtt) as source_end, far(target, rtt) as target_end:
            tools = [tool for tool in [*TOOLS, BARE] if tool in (self.args.only or [tool])]
            if not self.args.imapsync:
                tools = [tool for tool in tools if tool != "imapsync"]
            rows: dict[str, list[Row]] = {tool: [] for tool in tools}
            for turn in range(self.args.rounds):
                first = turn % len(tools)
                for tool in tools[first:] + tools[:first]:
                    rows[tool].append(self.one(store, rtt, tool, source_end, target_end))
            self.rows += [max(of_tool, key=lambda row: row.rate) for of_tool in rows.values()]

    def one(self, store: str, rtt: float, tool: str, source_end: End, target_end: End) -> Row:
        def job(user: str) -> Job:
            self.users += 1
            target = f"target{self.users % ROUNDS_MOST}"
            folder = self.folder / f"job{self.users}"
            folder.mkdir()
            return Job(user, target, source_end, target_end, folder, self.args.imapsync)

        user = "few" if tool == "imapsync" else "many"
        messages = sum(len(items) for items in self.corpora[user].values())
        chosen = job(user)
        if tool == BARE:
            cost = watched(lambda: run_bare(chosen, self.corpora[user]))
        else:
            cost = watched(lambda: TOOLS[tool](chosen))
        arrived = count(target_end.server, chosen.target)
        if arrived != messages:
            raise RuntimeError(f"{tool}: {arrived} of {messages} messages have arrived")
        seconds = cost.seconds
        if tool == "imapsync":
            nothing_job = job("none")
            nothing = watched(lambda: TOOLS[tool](nothing_job))
            seconds = max(0.001, seconds - nothing.seconds)
            cost.cpu_s = max(0.0, cost.cpu_s - nothing.cpu_s)
            cost.servers_s = max(0.0, cost.servers_s - nothing.servers_s)
            cost.relays_s = max(0.0, cost.relays_s - nothing.relays_s)
        row = Row(store, rtt, tool, messages, messages / seconds, cost)
        print(f"{store}, {rtt:g} ms, {tool}: {row.rate:.0f}/s", file=sys.stderr)
        return row

    def table(self) -> str:
        lines = [
            "| store | there and back | tool | messages/s | MiB/s | CPU s for 1,000 | the servers' |"
            " the relays' | peak MiB | of imapsync | of mbsync | of bare | others |",
            "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for row in self.rows:
            cells = [
                row.store,
                f"{row.rtt_ms:g} ms",
                row.tool,
                f"{row.rate:,.0f}",
                f"{row.rate * self.args.size / MIB:.1f}",
                f"{row.cost.cpu_s / row.messages * 1000:.3f}",
                f"{row.cost.servers_s / row.messages * 1000:.3f}",
                f"{row.cost.relays_s / row.messages * 1000:.3f}",
                f"{row.cost.peak_kib / 1024:.0f}" if row.cost.peak_kib else "",
                *(self.ratio(row, tool) for tool in ("imapsync", "mbsync", BARE)),
                f"{row.cost.others:.0%}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def ratio(self, row: Row, tool: str) -> str:
        others = [
            other.rate
            for other in self.rows
            if (other.store, other.rtt_ms, other.tool) == (row.store, row.rtt_ms, tool)
        ]
        return f"{row.rate / others[0]:.2f}" if others else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imapsync", type=Path, help="the program; without it is left out")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=100, help="messages for imapsync")
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--folders", type=int, default=1)
    parser.add_argument("--rtt", type=float, nargs="+", default=[0, 20], help="milliseconds")
    parser.add_argument("--store", nargs="+", default=["sdbox", "mdbox"])
    parser.add_argument("--only", nargs="+", choices=[*TOOLS, BARE])
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    args = parser.parse_args()
    if any(args.rtt):
        build_relay()
    folder = private_dir("bench")
    try:
        bench = Bench(args, folder)
        bench.run()
        print(bench.table())
    finally:
        remove_dir(folder)


if __name__ == "__main__":
    main()
