"""What usher's processes may do once they serve, seen from outside, and what becomes of one that does
anything else."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import USERS, configure
from peers.certs import Tls
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import chown_tree, is_alive, own_account, unprivileged, wait_until
from peers.usher import ACCOUNT, DEFAULT_BINARY, Backend

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
ROLES = ("control", "lookup", "worker")

# Another account that every Debian has, and that owns nothing of ours.
WORKER_ACCOUNT = "games"

# Stands for a client that has taken over its worker: it runs a shell.
TAKEN_OVER = """
#define _GNU_SOURCE
#include <sys/socket.h>
#include <unistd.h>

int accept4(int fd, struct sockaddr *addr, socklen_t *n, int flags)
{
    char *argv[] = {"sh", "-c", "echo taken over >&2", (char *)0};

    (void)fd, (void)addr, (void)n, (void)flags;
    execv("/bin/sh", argv);
    return -1;
}
"""


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


@pytest.fixture
def taken_over(folder):
    """The environment in which every worker is."""
    source, library = folder / "taken.c", folder / "taken.so"
    source.write_text(TAKEN_OVER)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    # Sanitizers want to be first.
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": options}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def children(usher) -> list[int]:
    return [usher.pid("control"), usher.pid("lookup"), *usher.worker_pids()]


@pytest.mark.parametrize(("mode", "seccomp"), [("enforce", "2"), ("log", "2"), ("off", "0")])
def test_every_child_is_closed_and_serves(start_dovecot, start_usher, mode, seccomp):
    usher = start_usher({"mail1": start_dovecot("mail1")}, sandbox=mode, log_level="debug")
    for pid in children(usher):
        status = status_of(pid)
        assert (status["Seccomp"], status["NoNewPrivs"]) == (seccomp, "1")
    for role in ROLES:
        assert usher.find("sandbox", role=role, mode=mode)
    for listener, tls in (("plain", Tls.OFF), ("imap", Tls.STARTTLS), ("imaps", Tls.IMPLICIT)):
        with usher.connect(listener, tls=tls) as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"
            assert imap.is_alive()
    assert not usher.find("sandbox_partial")


def test_a_process_that_was_replaced_is_closed_too(start_usher, fake):
    usher = start_usher({"fake": fake})
    for role in ROLES:
        old = usher.pid(role)
        os.kill(old, signal.SIGKILL)
        ended = usher.wait_event("process_ended", pid=old)
        usher.wait_event("process_started", role=role, after=usher.events.index(ended))
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
    wait_until(
        lambda: all(status_of(pid)["Seccomp"] == "2" for pid in children(usher)), 10, "all closed"
    )


@pytest.mark.root
def test_a_worker_has_no_file(start_usher, fake):
    usher = start_usher({"fake": fake})
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"
        for pid in usher.worker_pids():
            targets = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
            assert {name for name in targets if name.startswith("/")} <= {"/dev/null"}


def test_a_worker_that_was_taken_over_ends_and_is_replaced(start_usher, fake, taken_over):
    usher = start_usher({"fake": fake}, env=taken_over)
    with usher.connect("plain", reads_greeting=False):
        event = usher.wait_event("sandbox_violation")
    pid = int(event["pid"])
    ended = usher.wait_event("process_ended", pid=pid)
    after = usher.events.index(ended)
    usher.wait_event("process_started", after=after, role="worker", slot=ended["slot"])
    # The connection may wait for the next worker, which falls to it too.
    usher.kill()
    assert (event.level, event["role"], event["call"]) == ("error", "worker", "execve")
    assert ended["signal"] == str(int(signal.SIGSYS))
    assert "taken over" not in usher.stray
    assert {line["role"] for line in usher.find("process_ended")} == {"worker"}


@pytest.mark.root
def test_workers_may_have_an_account_of_their_own(start_dovecot, start_usher, folder):
    usher = start_usher({"mail1": start_dovecot("mail1")}, worker_user=WORKER_ACCOUNT)
    others, workers = pwd.getpwnam(ACCOUNT), pwd.getpwnam(WORKER_ACCOUNT)
    assert others.pw_uid != workers.pw_uid
    for pid in usher.worker_pids():
        status = status_of(pid)
        assert set(status["Uid"].split()) == {str(workers.pw_uid)}
        assert set(status["Gid"].split()) == {str(workers.pw_gid)}
        assert status["Groups"] == ""
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    for pid in (usher.pid("control"), usher.pid("lookup")):
        assert set(status_of(pid)["Uid"].split()) == {str(others.pw_uid)}
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    os.kill(usher.pid("worker", slot=0), signal.SIGKILL)
    usher.wait_events("process_started", 2, role="worker", slot=0)
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    state = (folder / "state").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (others.pw_uid, 0o700)


def test_an_ordinary_account_has_no_account_for_workers(
    start_usher, fake, folder, certificate
):
    """As `user`, the setting is for root's eyes."""
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    usher = start_usher({"fake": fake}, account=account, worker_user=WORKER_ACCOUNT)
    for pid in usher.worker_pids():
        assert status_of(pid)["Uid"].split()[0] == str(account.pw_uid)
        assert status_of(pid)["Seccomp"] == "2"
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.root
@pytest.mark.parametrize(
    ("account", "words"), [("root", "is root"), ("no-such-account", "there is no user")]
)
@pytest.mark.parametrize("setting", ["user", "worker_user"])
def test_an_account_that_cannot_be_is_a_mistake(folder, certificate, setting, account, words):
    backends = {"mail1": Backend("127.0.0.2:10143")}
    path = folder / "usher.conf"
    path.write_text(configure(folder, certificate, {"main": backends}, **{setting: account}))
    done = subprocess.run([BINARY, "check", "-c", path], capture_output=True, text=True, timeout=30)
    assert own_account().pw_uid == 0
    assert done.returncode != 0
    assert words in done.stderr and f'"{account}"' in done.stderr
    assert f"{path}:" in done.stderr
