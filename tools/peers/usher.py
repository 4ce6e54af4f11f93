"""Usher itself: a configuration for it, and a running one with its log understood."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pwd import struct_passwd

from .certs import Certificate, Tls
from .process import Process, is_alive, reachable_copy, wait_until
from .rawimap import RawImap

DEFAULT_BINARY = Path(__file__).resolve().parents[2] / "build/asan/usher"
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (debug|info|notice|warning|error) (\w+)(.*)")
FIELD = re.compile(r' (\w+)=(?:"((?:[^"\\]|\\.)*)"|([^ "=]*))')
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
PLAIN_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t"}
SANITIZER = re.compile(r"(Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer|runtime error:")

# The largest pipe that anybody may have, and the usual one.
PIPE_MOST = 1 << 20
PIPE_USUAL = 64 << 10

# What the search for leaks says when its process, which is ending, is killed meanwhile.
KILLED_SEARCH = re.compile(r"==\d+==Unable to get registers from thread \d+\.")

# How a reload or an upgrade ends.
CHANGES = ("reloaded", "upgraded", "change_refused")

# As whom usher's processes run when we are root.
ACCOUNT = "nobody"


@dataclass(frozen=True)
class Listener:
    address: str = "127.0.0.1:0"
    tls: Tls = Tls.OFF
    auth_allow_cleartext: bool = True
    pool: str = ""
    proxy: bool = False
    server_names: tuple[str, ...] = ()
    client_certificate: str = "off"
    client_ca: Path | None = None
    client_crl: Path | None = None


@dataclass(frozen=True)
class Backend:
    address: str
    weight: int = 1
    tls: Tls = Tls.OFF
    tls_ca: Path | None = None
    tls_name: str = ""
    tls_verify: bool = True
    tls_pin: tuple[str, ...] = ()
    tls_certificate: Certificate | None = None
    tls_min_version: str = ""
    tls_ciphers: str = ""
    tls_ciphersuites: str = ""
    proxy: str = "off"
    forward_id: bool = False
    source: tuple[str, ...] = ()
    backup: bool = False
    max_sessions: int = 0
    max_connecting: int = 200
    login_rate: int = 0


def quoted(text: object) -> str:
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def section(head: str, settings: Mapping[str, object]) -> str:
    """A section of the configuration; settings that say nothing are left out."""
    lines = [f"    {key} = {value}\n" for key, value in settings.items() if value]
    return f"{head} {{\n{''.join(lines)}}}\n"


def yes_no(value: bool) -> str:
    return "yes" if value else "no"


def client_files(certificate: Certificate | None) -> dict[str, str]:
    """What a backend's section says of the certificate that it is shown."""
    if not certificate:
        return {}
    return {
        "tls_certificate": quoted(certificate.certificate),
        "tls_key": quoted(certificate.key),
    }


def configuration(
    state: Path,
    pools: Mapping[str, Mapping[str, Backend]],
    *,
    listeners: Mapping[str, Listener] | None = None,
    storage: str = "own",
    certificate: Certificate | None = None,
    certificates: Mapping[str, Certificate] | None = None,
    tls: Mapping[str, object] | None = None,
    pool_settings: Mapping[str, Mapping[str, object]] | None = None,
    directories: Mapping[str, Mapping[str, object]] | None = None,
    **settings: object,
) -> str:
    """The text of a configuration; `pools` maps names to backends by name.

    Without `listeners` there is one, "imap", in clear. `certificate` and `tls` make the tls section,
    `certificates` those of more certificates by their titles. `pool_settings` has settings of pools
    by their names; a pool is not checked (`check = off`) unless they say how, so that a scripted
    backend meets none but the test's own logins. `directories` has those of directories by theirs.
    `settings` are global ones; strings among all of these are quoted, a list becomes a list.
    """

    def listed(items: Iterable[object]) -> str:
        return "{" + ", ".join(map(quoted, items)) + "}"

    def value(given: object) -> str:
        return listed(given) if isinstance(given, (list, tuple)) else quoted(given)

    given = {"user": ACCOUNT, "state": state, "workers": 2, **settings}
    text = "".join(f"{key} = {value(setting)}\n" for key, setting in given.items())
    if certificate:
        files = {"certificate": quoted(certificate.certificate), "key": quoted(certificate.key)}
        more = {key: value(setting) for key, setting in (tls or {}).items()}
        text += section("tls", {**files, **more})
    for title, given_files in (certificates or {}).items():
        files = {"file": quoted(given_files.certificate), "key": quoted(given_files.key)}
        text += section(f"certificate {title}", files)
    for name, listener in (listeners or {"imap": Listener()}).items():
        text += section(
            f"listener {name}",
            {
                "address": quoted(listener.address),
                "tls": listener.tls.value,
                "auth_allow_cleartext": yes_no(listener.auth_allow_cleartext),
                "pool": listener.pool and quoted(listener.pool),
                "proxy": yes_no(listener.proxy),
                "server_names": listener.server_names and listed(listener.server_names),
                "client_certificate": listener.client_certificate,
                "client_ca": listener.client_ca and quoted(listener.client_ca),
                "client_crl": listener.client_crl and quoted(listener.client_crl),
            },
        )
    for title, of_directory in (directories or {}).items():
        text += section(
            f"directory {title}", {key: value(setting) for key, setting in of_directory.items()}
        )
    for name, backends in pools.items():
        text += f"pool {name} {{\n"
        of_pool = {"storage": storage, "check": "off", **(pool_settings or {}).get(name, {})}
        text += "".join(f"    {key} = {value(setting)}\n" for key, setting in of_pool.items())
        for title, backend in backends.items():
            text += section(
                f"backend {title}",
                {
                    "address": quoted(backend.address),
                    "weight": str(backend.weight),
                    "tls": backend.tls.value,
                    "tls_ca": backend.tls_ca and quoted(backend.tls_ca),
                    "tls_name": backend.tls_name and quoted(backend.tls_name),
                    "tls_verify": yes_no(backend.tls_verify),
                    "tls_pin": backend.tls_pin and listed(backend.tls_pin),
                    **client_files(backend.tls_certificate),
                    "tls_min_version": backend.tls_min_version,
                    "tls_ciphers": backend.tls_ciphers and quoted(backend.tls_ciphers),
                    "tls_ciphersuites": backend.tls_ciphersuites and quoted(backend.tls_ciphersuites),
                    "proxy": backend.proxy,
                    "forward_id": yes_no(backend.forward_id),
                    "source": backend.source and listed(backend.source),
                    "backup": yes_no(backend.backup),
                    "max_sessions": str(backend.max_sessions),
                    "max_connecting": str(backend.max_connecting),
                    "login_rate": str(backend.login_rate),
                },
            )
        text += "}\n"
    return text


@dataclass(frozen=True)
class Event:
    """A line of the log. Fields are text, as logged, escapes resolved."""

    time: str
    level: str
    name: str
    fields: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        return self.fields[key]

    def get(self, key: str, default: str = "") -> str:
        return self.fields.get(key, default)


def unescape(text: str) -> str:
    """The value that a quoted text stands for. Octets that are not UTF-8 become surrogates, as in
    the names of files."""
    value, at = bytearray(), 0
    for match in ESCAPE.finditer(text):
        value += text[at : match.start()].encode("utf-8", "surrogateescape")
        at = match.end()
        code = match[1]
        value += bytes.fromhex(code[1:]) if len(code) == 3 else PLAIN_ESCAPES.get(code, code.encode())
    value += text[at:].encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "surrogateescape")


def parse_line(line: str) -> Event | None:
    """None when it is not a line as usher writes them, whole and with nothing left over."""
    found = LINE.fullmatch(line)
    if not found:
        return None
    fields, at = {}, 0
    while at < len(found[4]):
        match = FIELD.match(found[4], at)
        if not match:
            return None
        fields[match[1]] = match[3] if match[2] is None else unescape(match[2])
        at = match.end()
    return Event(found[1], found[2], found[3], fields)


class Usher:
    """A running usher. Returns from construction when it is ready.

    `events` has every line of its log so far, `stray` what came in between and is no such line.
    """

    def __init__(
        self,
        folder: Path,
        config: str,
        *,
        binary: Path | None = None,
        account: struct_passwd | None = None,
        waits: bool = True,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str | Path] = (),
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Writes `config` into `folder` and serves it, as `account` if we are root and one is given.

        With `waits` False it returns before usher is ready, for a start that is to fail. `prefix`
        is a program that starts usher, with its arguments; it inherits `pass_fds`.
        """
        self.binary = binary or Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
        self.config = folder / "usher.conf"
        self.config.write_text(config)
        self.is_killed = False
        self.stuck = 0  # how many of its processes are to have been killed when it stops
        self.events: list[Event] = []
        self.stray: list[str] = []
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._is_closed = False
        if account:
            self.binary = reachable_copy(self.binary)
        self.process = Process(
            [*prefix, self.binary, "serve", "-c", self.config],
            account=account,
            stderr=subprocess.PIPE,
            env=env,
            pass_fds=pass_fds,
        )
        # Room for a burst of lines, so that none is dropped on a busy machine.
        fcntl.fcntl(self.process.popen.stderr, fcntl.F_SETPIPE_SZ, PIPE_MOST)
        self._reader = threading.Thread(target=self._read, name="usher log", daemon=True)
        self._reader.start()
        if waits:
            try:
                self.wait_event("ready", timeout=20)
            except BaseException:
                self.kill()
                raise

    def __enter__(self) -> Usher:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # After a failed test there is nothing more to be asserted, only to be cleaned up.
        if kind:
            self.kill()
        elif not self.is_killed:
            self.stop()

    def _read(self) -> None:
        for raw in self.process.popen.stderr:
            self._may_read.wait()
            if self._is_closed:
                break
            line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
            event = parse_line(line)
            with self._news:
                self.lines.append(line)
                if event:
                    self.events.append(event)
                elif not KILLED_SEARCH.fullmatch(line):
                    self.stray.append(line)
                self._news.notify_all()
        self.process.popen.stderr.close()

    def pause_reading(self) -> None:
        """Leaves the log unread from now on, as a reader that hangs would."""
        self._may_read.clear()
        fcntl.fcntl(self.process.popen.stderr, fcntl.F_SETPIPE_SZ, PIPE_USUAL)

    def resume_reading(self) -> None:
        self._may_read.set()

    def close_log(self) -> None:
        """Goes away as the reader of the log, once the next line has come."""
        self._is_closed = True

    def mark(self) -> int:
        """How many events there have been, for `after`."""
        with self._news:
            return len(self.events)

    def events_after(self, number: int, timeout: float = 0.2) -> list[Event]:
        """Those behind the first `number`, as soon as there are any; none after `timeout`."""
        with self._news:
            self._news.wait_for(lambda: len(self.events) > number, timeout)
            return self.events[number:]

    def find(self, name: str, after: int = 0, **fields: object) -> list[Event]:
        """The events so far with this name and these fields."""
        wanted = {key: str(value) for key, value in fields.items()}
        with self._news:
            return [
                event
                for event in self.events[after:]
                if event.name == name and wanted.items() <= event.fields.items()
            ]

    def wait_events(
        self, name: str, count: int, timeout: float = 15, after: int = 0, **fields: object
    ) -> list[Event]:
        """Waits for so many such events; the first `count` of them."""
        end = time.monotonic() + timeout
        while True:
            with self._news:
                found = self.find(name, after, **fields)
                if len(found) >= count:
                    return found[:count]
                left = end - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    tail = "\n".join(self.lines[-30:])
                    wanted = f"{name} {fields}, {len(found)} of {count}"
                    raise TimeoutError(f"usher did not log {wanted}; its last lines:\n{tail}")
                self._news.wait(min(left, 0.1))

    def wait_event(
        self, name: str, timeout: float = 15, after: int = 0, **fields: object
    ) -> Event:
        """Waits for the first such event."""
        return self.wait_events(name, 1, timeout, after, **fields)[0]

    def port(self, listener: str = "imap") -> int:
        return int(self.find("listening", listener=listener)[0]["address"].rpartition(":")[2])

    def connect(self, listener: str = "imap", **options: object) -> RawImap:
        """A client's connection to a listener on 127.0.0.1; `options` are RawImap's."""
        return RawImap("127.0.0.1", self.port(listener), since=self.mark(), **options)

    def pid(self, role: str, slot: int | None = None) -> int:
        """The process that now has this role: the last that was started."""
        fields = {"role": role} if slot is None else {"role": role, "slot": slot}
        return int(self.find("process_started", **fields)[-1]["pid"])

    def worker_pids(self) -> list[int]:
        """Those of the living workers."""
        started = self.find("process_started", role="worker")
        latest = {event.get("slot"): int(event["pid"]) for event in started}
        return [pid for pid in latest.values() if is_alive(pid)]

    def renew(self) -> None:
        """Has it read configuration and files again, and waits until it has, all being good."""
        before = self.mark()
        self.process.send_signal(signal.SIGHUP)
        self.wait_event("reloaded", after=before)

    def rewrite(self, config: str) -> None:
        """Another configuration in place of its own, in one step; usher is not told."""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(config)
        fresh.rename(self.config)

    def change(self, number: int = signal.SIGHUP) -> Event:
        """Has it reload (SIGHUP) or upgrade (SIGUSR2), and waits for how that went."""
        before = self.mark()
        self.process.send_signal(number)
        return self.wait_change(before)

    def wait_change(self, after: int, timeout: float = 60) -> Event:
        """The first `reloaded`, `upgraded` or `change_refused` behind so many events."""
        end = time.monotonic() + timeout
        seen = after
        while True:
            fresh = self.events_after(seen)
            for event in fresh:
                if event.name in CHANGES:
                    return event
            seen += len(fresh)
            if time.monotonic() > end or not self._reader.is_alive():
                tail = "\n".join(self.lines[-30:])
                raise TimeoutError(f"usher did not log how a change went; its last lines:\n{tail}")

    def reload(self) -> Event:
        """It must succeed."""
        event = self.change(signal.SIGHUP)
        assert event.name == "reloaded", event
        return event

    def upgrade(self) -> Event:
        """Goes over to what stands where it was started from. It must succeed."""
        event = self.change(signal.SIGUSR2)
        assert event.name == "upgraded", event
        return event

    def control_pid(self) -> int:
        """The control that decides now; pid("control") may be one that was given up."""
        return int(self.find("control_begun")[-1]["pid"])

    def has_ended(self) -> bool:
        return not self.process.is_running()

    def stop(self, seconds: float = 30, number: int = signal.SIGTERM) -> None:
        """Stops usher and asserts that it stopped cleanly: status 0, nobody left, nothing strange
        in its log, no report of a sanitizer."""
        status = self.process.stop(seconds, number)
        self._reader.join()
        log = "\n".join(self.lines)
        assert not SANITIZER.search(log), log
        assert status == 0, f"usher ended with {status}:\n{log[-4000:]}"
        assert not self.stray, f"not lines of a log: {self.stray}"
        assert len(self.find("process_stuck")) == self.stuck, log[-4000:]
        assert not self.find("sandbox_violation"), log[-4000:]

    def kill(self) -> None:
        """Kills all of it. Safe to call at any time."""
        self.is_killed = True
        self._may_read.set()
        self.process.kill()
        self._reader.join()

    def wait_end(self, seconds: float = 20) -> int:
        """Waits until it ends by itself, all of its processes; returns its status."""
        status = self.process.wait(seconds)
        wait_until(lambda: not self.process_ids(), seconds, "usher's processes end")
        self._reader.join()
        return status

    def process_ids(self) -> list[int]:
        """Every process that was ever started and still lives, the parent included."""
        started = [int(event["pid"]) for event in self.find("process_started")]
        return [pid for pid in [self.process.pid, *started] if is_alive(pid)]


@contextmanager
def open_state(state: Path) -> Iterator[sqlite3.Connection]:
    """Usher's state file, to look into, or to change while usher does not run."""
    with closing(sqlite3.connect(state / "usher.db", timeout=10)) as database, database:
        yield database
