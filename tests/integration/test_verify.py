"""Passwords that usher itself verifies, by hashes from a directory: whom it lets in, what backends
are shown then, and what becomes of it when lookup is gone."""

from __future__ import annotations

import base64
import ctypes
import os
import random
import signal
import string
from pathlib import Path

import pytest
from later import logged
from peers.memory import find_secrets
from peers.process import wait_until
from peers.scripted import Connection
from peers.usher import Listener

PLAIN = {"plain": Listener(pool="main")}
SETTINGS = {
    "yescrypt": "$y$j9T$9UQkLmTOxq0wxJ5Dcf0q41$",
    "bcrypt": "$2b$10$abcdefghijklmnopqrstuu",
    "sha512": "$6$saltsaltsalt$",
}


def word() -> str:
    """24 letters and digits that nobody else has."""
    return "".join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=24))


def hashed(password: str, kind: str = "yescrypt") -> str:
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), SETTINGS[kind].encode()).decode()


@pytest.fixture
def start(start_usher, folder: Path):
    """Starts usher in front of a backend, with a map of these lines."""

    def begin(backend, *lines: str, **settings):
        users = folder / "users.map"
        users.write_text("".join(f"{line}\n" for line in lines))
        users.chmod(0o644)
        return start_usher(
            {"mail1": backend},
            listeners=PLAIN,
            directories={"people": {"driver": "file", "path": users}},
            **{"workers": "1", **settings},
        )

    return begin


def log_in(usher, user: str, password: str):
    with usher.connect("plain") as imap:
        return imap.command(f'LOGIN "{user}" "{password}"'.encode())


# --- whom it lets in ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_hash_decides_and_the_backend_is_shown_its_own_password(start, start_dovecot, kind):
    dovecot = start_dovecot("mail1", users={"ann": "of-the-backend"})
    line = f"ann password_hash={hashed('of the door', kind)} backend_password=of-the-backend"
    usher = start(dovecot, line)
    assert log_in(usher, "ann", "of the door").status == "OK"
    assert log_in(usher, "Ann", "of the door").status == "OK"
    for wrong in ("of-the-backend", "of the doo", "", "of the door "):
        answer = log_in(usher, "ann", wrong)
        assert answer.status == "NO"
        assert answer.code == "AUTHENTICATIONFAILED"
    wait_until(lambda: len(usher.find("login_refused", user="ann")) == 4, 20, "all are told")
    assert usher.find("backend_failed") == []
    assert "of-the-backend" not in str(usher.events_after(0))


def test_the_clients_password_is_shown_where_the_directory_has_no_other(start, start_dovecot):
    dovecot = start_dovecot("mail1", users={"ann": "secret", "bob": "another"})
    lines = (f"{user} password_hash={hashed('secret')}" for user in ("ann", "bob"))
    usher = start(dovecot, *lines)
    assert log_in(usher, "ann", "secret").status == "OK"
    assert log_in(usher, "ann", "guess").code == "AUTHENTICATIONFAILED"
    # The hash fits, but the backend is of another opinion, and has the last word.
    assert log_in(usher, "bob", "secret").status == "NO"
    assert usher.wait_event("login_refused", user="bob")["backend"] == "mail1"


def test_a_master_of_the_backend_logs_in_for_the_user(start, start_dovecot):
    users = {"ann": "secret", "inner-bob": "secret"}
    dovecot = start_dovecot("mail1", users=users, masters={"chief": "of-the-chief"})
    facts = f"password_hash={hashed('of the door')} master_user=chief master_password=of-the-chief"
    usher = start(dovecot, f"ann {facts}", f"bob backend_user=inner-bob {facts}")
    assert log_in(usher, "ann", "of the door").status == "OK"
    assert log_in(usher, "bob", "of the door").status == "OK"
    assert log_in(usher, "ann", "of-the-chief").code == "AUTHENTICATIONFAILED"
    assert log_in(usher, "chief", "of-the-chief").status == "NO"
    logged(dovecot, "user=<ann>")
    logged(dovecot, "user=<inner-bob>")


def test_a_wrong_secret_of_the_directory_is_never_a_wrong_password(start, start_dovecot):
    dovecot = start_dovecot("mail1", users={"ann": "of-the-backend"})
    line = f"ann password_hash={hashed('of the door')} backend_password=out-of-date"
    usher = start(dovecot, line)
    answer = log_in(usher, "ann", "of the door")
    assert answer.status == "NO"
    assert answer.code == "UNAVAILABLE"
    assert usher.find("login_refused") == []
    assert usher.wait_event("backend_failed")["stage"] == "login"


def test_a_hash_that_is_none_is_told_to_the_operator(start, start_dovecot):
    usher = start(start_dovecot("mail1"), "ann password_hash=$nosuch$hush", "bob password_hash=ab01CAX1s7PR.")
    for user in ("ann", "bob"):
        assert log_in(usher, user, "secret").code == "UNAVAILABLE"
        failed = usher.wait_event("directory_failed", directory="people")
        assert "hush" not in failed["detail"]
    assert usher.find("login_refused") == []


# --- lookup ---------------------------------------------------------------------------------------


def test_a_lookup_that_dies_is_replaced_and_asked_again(start, start_dovecot):
    usher = start(start_dovecot("mail1", users={"ann": "secret"}), f"ann password_hash={hashed('secret')}")
    assert log_in(usher, "ann", "secret").status == "OK"
    lookup = usher.pid("lookup")
    with usher.connect("plain") as imap:
        os.kill(lookup, signal.SIGSTOP)
        tag = imap.start(b"LOGIN ann secret")
        mark = usher.mark()
        os.kill(lookup, signal.SIGKILL)
        assert imap.finish(tag).status == "OK"
        assert usher.wait_event("process_started", after=mark, role="lookup")
    assert log_in(usher, "ann", "guess").code == "AUTHENTICATIONFAILED"


def test_a_lookup_that_hangs_makes_logins_unavailable(start, start_dovecot):
    usher = start(
        start_dovecot("mail1", users={"ann": "secret"}),
        f"ann password_hash={hashed('secret')}",
        directory_timeout="1s",
    )
    lookup = usher.pid("lookup")
    os.kill(lookup, signal.SIGSTOP)
    try:
        assert log_in(usher, "ann", "secret").code == "UNAVAILABLE"
    finally:
        os.kill(lookup, signal.SIGCONT)
    wait_until(lambda: log_in(usher, "ann", "secret").status == "OK", 20, "a login")


def test_every_thread_of_lookup_is_behind_the_walls(start, start_dovecot):
    usher = start(start_dovecot("mail1"), f"ann password_hash={hashed('secret')}")
    tasks = list(Path(f"/proc/{usher.pid('lookup')}/task").iterdir())
    assert len(tasks) > 1
    for task in tasks:
        status = dict(
            line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line
        )
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.root
def test_passwords_pass_without_being_left_behind(start, start_scripted):
    """Control never has them; worker and lookup have them no longer than they need them."""
    asked = []

    def script(connection: Connection) -> None:
        connection.send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] gate\r\n")
        while True:
            tag, name, arguments = connection.command()
            if name == b"AUTHENTICATE":
                asked.append(arguments)
            connection.send(tag + b" OK [CAPABILITY IMAP4rev1] done\r\n")

    password, of_master = word(), word()
    usher = start(
        start_scripted(script),
        f"ann password_hash={hashed(password)} master_user=chief master_password={of_master}",
    )
    token = base64.b64encode(f"ann\0chief\0{of_master}".encode())
    with usher.connect("plain") as imap:
        assert imap.command(f"LOGIN ann {word()}".encode()).status == "NO"
        assert imap.command(f"LOGIN ann {password}".encode()).status == "OK"
        assert asked == [b"PLAIN " + token]
        assert find_secrets(usher.process_ids(), password.encode()) == []
        # The directory's own stay where directories are.
        others = [pid for pid in usher.process_ids() if pid != usher.pid("lookup")]
        assert find_secrets(others, of_master.encode(), token) == []


@pytest.mark.root
def test_passwords_in_rules_reach_neither_workers_nor_control(start_usher, start_scripted):
    of_master = word()
    rule = f"ann password_hash={hashed(word())} master_user=chief master_password={of_master}"
    usher = start_usher(
        {"mail1": start_scripted(lambda connection: None)},
        listeners=PLAIN,
        directories={"people": {"driver": "static", "rules": [rule]}},
        workers="1",
    )
    assert log_in(usher, "ann", word()).status == "NO"
    assert find_secrets([usher.pid("lookup")], of_master.encode())
    assert find_secrets([usher.pid("worker"), usher.pid("control")], of_master.encode()) == []
