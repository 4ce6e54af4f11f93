"""The unix socket itself, as a program speaks to it that is not usher ctl: who it is there for, and how long."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import is_alive, wait_until
from peers.usher import DEFAULT_BINARY

TIMEOUT_S = 30
STATUS = {"command": "status"}


class Door:
    """A connection; requests are what JSON makes of them, or bytes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self.socket.connect(os.fspath(path))
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.close()
        self.socket.close()

    def say(self, request: dict | bytes) -> None:
        self.socket.sendall(request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")

    def hear(self) -> dict:
        """The last line of an answer; {} when the connection has ended."""
        for line in self.lines:
            answer = json.loads(line)
            if "row" not in answer:
                return answer
        return {}

    def ask(self, request: dict | bytes) -> dict:
        self.say(request)
        return self.hear()


def ask(path: Path, request: dict | bytes) -> dict:
    with Door(path) as door:
        return door.ask(request)


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


@pytest.fixture
def usher_refuses():
    """What is said by an usher that does not start."""
    def run(config: Path) -> str:
        binary = os.environ.get("USHER_BIN", DEFAULT_BINARY)
        ran = subprocess.run(
            [binary, "serve", "-c", config], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert ran.returncode == 1
        return ran.stderr

    return run


def log_in(usher, user: str = "ann") -> str:
    with usher.connect("plain") as imap:
        return imap.login(user, PASSWORD).status


def test_socket_is_there_while_usher_runs(start_usher, fake, folder):
    path = folder / "state/ctl"
    usher = start_usher({"fake": fake})
    made = path.lstat()
    assert stat.S_ISSOCK(made.st_mode) and stat.S_IMODE(made.st_mode) == 0o666
    assert ask(path, STATUS)["done"]["epoch"] == 1
    usher.stop()
    assert not path.exists()


def test_no_socket_where_none_is_wanted(start_usher, fake, folder):
    usher = start_usher({"fake": fake}, admin_socket="off")
    assert not (folder / "state/ctl").exists()
    assert log_in(usher) == "OK"


def test_next_control_answers_at_the_same_socket(start_usher, fake, folder):
    usher = start_usher({"fake": fake})
    path = folder / "state/ctl"
    with Door(path) as door:
        assert door.ask(STATUS)["done"]["epoch"] == 1
        os.kill(usher.pid("control"), signal.SIGKILL)
        # Who asks between the two controls waits for the second.
        assert ask(path, STATUS)["done"]["epoch"] == 2
        assert door.hear() == {}


def test_socket_that_was_left_behind_is_replaced(start_usher, fake, folder):
    path = folder / "state/ctl"
    usher = start_usher({"fake": fake})
    processes = usher.process_ids()
    usher.kill()
    wait_until(lambda: not any(map(is_alive, processes)), 20, "the end of all processes")
    left = path.lstat()
    start_usher({"fake": fake})
    assert path.lstat().st_ino != left.st_ino or path.lstat().st_ctime_ns != left.st_ctime_ns
    assert ask(path, STATUS)["done"]["workers"] >= 1


def test_second_usher_leaves_the_socket_to_the_first(start_usher, fake, folder, usher_refuses):
    path = folder / "state/ctl"
    start_usher({"fake": fake})
    assert f"somebody listens on {path} already" in usher_refuses(folder / "usher.conf")
    assert ask(path, STATUS)["done"]["epoch"] == 1


ASK_AS = """
import os, socket, sys
path, uid, gid, groups, request = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
os.setgroups([int(g) for g in groups.split(",") if g])
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
s = socket.socket(socket.AF_UNIX)
s.connect(path)
s.sendall(request.encode() + b"\\n")
s.shutdown(socket.SHUT_WR)
while data := s.recv(65536):
    sys.stdout.buffer.write(data)
"""


def ask_as(path: Path, name: str, request: dict, groups: str = "") -> dict:
    who = pwd.getpwnam(name)
    ran = subprocess.run(
        [sys.executable, "-c", ASK_AS, path, str(who.pw_uid), str(who.pw_gid), groups, json.dumps(request)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.root
def test_rights_are_those_of_the_account_that_connects(start_usher, fake, folder):
    path = folder / "door"
    usher = start_usher({"fake": fake}, admin_socket=path, admin_see=["daemon", "@mail"], admin_steer=["bin"])
    hold, mail = {"command": "hold", "user": "ann"}, "8"

    assert ask_as(path, "games", STATUS)["code"] == "denied"
    assert ask_as(path, "daemon", STATUS)["done"]["epoch"] == 1
    assert ask_as(path, "daemon", hold)["code"] == "denied"
    assert ask_as(path, "games", STATUS, mail)["done"]["epoch"] == 1
    assert ask_as(path, "games", hold, mail)["code"] == "denied"
    assert not usher.find("steered")
    assert ask_as(path, "bin", hold)["done"]["users"] == 1
    steered = usher.wait_event("steered")
    assert (steered["by"], steered["uid"], steered["command"], steered["user"]) == ("bin", "2", "hold", "ann")


STAY_AS = """
import os, socket, sys
os.setresuid(int(sys.argv[2]), int(sys.argv[2]), int(sys.argv[2]))
doors = [socket.socket(socket.AF_UNIX) for _ in range(30)]
for s in doors:
    s.connect(sys.argv[1])
doors[0].sendall(b'{"command":"status"}\\n')
doors[0].recv(1)
print("there", flush=True)
sys.stdin.read()
"""


@pytest.mark.root
def test_operators_who_stay_leave_room_for_root(start_usher, fake, folder):
    path = folder / "door"
    start_usher({"fake": fake}, admin_socket=path, admin_steer=["bin"])
    with subprocess.Popen(
        [sys.executable, "-c", STAY_AS, path, str(pwd.getpwnam("bin").pw_uid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as staying:  # fmt: skip
        assert staying.stdout.readline() == b"there\n"
        assert ask_as(path, "bin", STATUS)["code"] == "failed"
        assert ask(path, STATUS)["done"]["epoch"] == 1
        staying.stdin.close()


def test_hostile_operators_keep_nobody_from_logging_in(start_usher, fake, folder, stack):
    usher = start_usher({"fake": fake})
    path = folder / "state/ctl"
    control = usher.pid("control")
    doors = [stack.enter_context(Door(path)) for _ in range(32)]
    for i, door in enumerate(doors):
        door.socket.setblocking(False)
        request = (
            b'{"command":"sessions"}\n' * 5000,
            b"[" * 70000,
            b'{"command":' * 5000 + b"\n",
            os.urandom(60000),
        )[i % 4]
        try:
            door.socket.send(request)
        except OSError:
            pass  # it has said too much already
    for _ in range(5):
        assert log_in(usher) == "OK"
    assert usher.pid("control") == control and is_alive(control)
