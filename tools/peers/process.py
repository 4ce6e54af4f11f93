"""Starting, watching and ending programs, and the places (folders, addresses) they live in.

A program started here leads a session of its own, so that all it forked can be found again by
session number, and is told to end by the kernel should the starting process die.
"""

from __future__ import annotations

import atexit
import grp
import os
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 0.01
SUN_PATH_MAX = 107
BACKEND_PORT = 10143

COPIES: dict[Path, Path] = {}


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> object:
    """Polls `condition` until it is true and returns what it gave; TimeoutError names `what`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_S)


def is_root() -> bool:
    return os.geteuid() == 0


def own_account() -> pwd.struct_passwd:
    return pwd.getpwuid(os.geteuid())


def unprivileged(name: str) -> pwd.struct_passwd:
    """The account a server drops to: `name` when we are root, else there is only our own."""
    return pwd.getpwnam(name) if is_root() else own_account()


def group_name(account: pwd.struct_passwd) -> str:
    return grp.getgrgid(account.pw_gid).gr_name


def is_reachable(path: Path) -> bool:
    """Whether any account may walk down to `path`."""
    path = path.resolve()
    return all(place.stat().st_mode & 0o001 for place in [path, *path.parents] if place.exists())


def private_dir(label: str, owner: pwd.struct_passwd | None = None) -> Path:
    """A new folder with a short path that every account may walk through. remove_dir() ends it."""
    path = Path(tempfile.mkdtemp(prefix=f"u-{label}-", dir="/tmp"))
    path.chmod(0o755)
    if owner and is_root():
        os.chown(path, owner.pw_uid, owner.pw_gid)
    return path


def reachable_copy(program: Path) -> Path:
    """A program that every account may execute: itself, or a copy if it lies where only we may walk.
    The copy goes with this process."""
    if not is_root() or is_reachable(program):
        return program
    if program not in COPIES:
        COPIES[program] = private_dir("program") / program.name
        atexit.register(remove_dir, COPIES[program].parent)
        shutil.copy(program, COPIES[program])
        COPIES[program].chmod(0o755)
    return COPIES[program]


def remove_dir(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def chown_tree(path: Path, owner: pwd.struct_passwd) -> None:
    """Gives a folder and all in it to `owner`; nothing to do when we are not root."""
    if not is_root():
        return
    for folder, _, files in os.walk(path):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        for name in files:
            os.chown(os.path.join(folder, name), owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def can_bind(address: str, port: int) -> bool:
    """Whether a server could listen there now. Says False for no permission, too."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections of an earlier run in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_address(*ports: int) -> str:
    """A loopback address of one's own, on which all of `ports` are free.

    Drawn from 16 million, so that tests running side by side keep the customary port numbers
    and still never meet.
    """
    draw = random.SystemRandom()
    while True:
        address = f"127.{draw.randint(1, 254)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"
        if all(can_bind(address, port) for port in ports or (BACKEND_PORT,)):
            return address


def session_members(leader: int) -> list[int]:
    """The living processes of the session that `leader` began."""
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        fields = stat_fields(int(entry))
        if fields and fields[3] == str(leader) and fields[0] != "Z":
            members.append(int(entry))
    return members


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat behind the program's name: state, ppid, pgrp, session, ...; empty if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether `pid` still runs; a dead one that nobody has reaped does not."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] != "Z"


def signal_each(pids: Sequence[int], number: int) -> None:
    """Signals processes, of which some may have ended already."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def raise_file_limit() -> int:
    """Lifts our limit on open files, which programs we start inherit, as high as it may go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(pid)


class Process:
    """A running program and all that it starts."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        account: pwd.struct_passwd | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdout: int | None = subprocess.DEVNULL,
        stderr: int | None = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Runs `argv`, as `account` if we are root and one is given; `env` adds to ours, and it
        inherits `pass_fds`."""
        wrapper = ["setpriv", "--pdeathsig", "TERM"]
        if account and is_root() and account.pw_uid != 0:
            wrapper += ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid)]
            wrapper += ["--clear-groups"]
        self.name = Path(argv[0]).name
        self.popen = subprocess.Popen(
            [*wrapper, "--", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def send_signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit status (negative: the signal)."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name}: still running after {seconds:g} s") from error

    def stop(
        self, seconds: float = 10, number: int = signal.SIGTERM, to_children: bool = False
    ) -> int:
        """Asks the program to end, waits for it and for all that it started.

        `to_children` signals those directly, too. What is left after `seconds` is killed, and
        TimeoutError raised.
        """
        try:
            if to_children:
                signal_each(session_members(self.pid), number)
            self.send_signal(number)
            status = self.wait(seconds)
            wait_until(lambda: not session_members(self.pid), seconds, f"{self.name}: children end")
            return status
        finally:
            self.kill()

    def kill(self) -> None:
        """Kills what still lives of the program and its children. Safe to call at any time."""
        if self.is_running():
            self.popen.kill()
        self.popen.wait()
        while members := session_members(self.pid):
            signal_each(members, signal.SIGKILL)
            time.sleep(POLL_S)
