"""What usher's processes may do once they serve, seen from outside."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import USERS, configure
from peers.certs import Tls
from peers.denying import denying
from peers.fakebackend import PASSWORD, FakeBackend
from peers.process import chown_tree, is_alive, own_account, unprivileged, wait_until
from peers.usher import ACCOUNT, DEFAULT_BINARY, Backend

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
ROLES = ("control", "lookup", "worker")

# Another account that every Debian has, and that owns nothing of ours.
WORKER_ACCOUNT = "games"


@pytest.fixture
def fake(stack):
    return stack.enter_context(FakeBackend())


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def files_of(pid: int) -> set[str]:
    """What its descriptors are; those of a child only root sees."""
    return {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}


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
            assert {name for name in files_of(pid) if name.startswith("/")} <= {"/dev/null"}


@pytest.mark.root
def test_only_the_parent_keeps_capabilities(start_usher, fake, folder, certificate):
    """An ordinary account has them from systemd, say, for ports below 1024."""
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    capability = "+net_bind_service"
    become = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    keep = [f"--inh-caps={capability}", f"--ambient-caps={capability}"]
    usher = start_usher({"fake": fake}, prefix=["setpriv", *become, *keep])
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    kept = status_of(usher.process.pid)
    assert all(int(kept[name], 16) != 0 for name in sets)
    for pid in children(usher):
        status = status_of(pid)
        assert [int(status[name], 16) for name in sets] == [0, 0, 0, 0]


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_a_host_that_denies_to_close_a_range_does_not_keep_usher_from_serving(
    start_usher, fake, error
):
    usher = start_usher({"fake": fake}, prefix=denying("close_range", error))
    with usher.connect("plain") as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


@pytest.mark.root
@pytest.mark.parametrize("prefix", [[], denying("close_range", "EPERM")])
def test_no_child_inherits_what_usher_was_started_with(start_usher, fake, prefix):
    given = "/dev/full"
    usher = start_usher({"fake": fake}, prefix=[*prefix, "sh", "-c", f'exec "$0" "$@" 9<{given}'])
    assert given in files_of(usher.process.pid)
    for pid in children(usher):
        assert given not in files_of(pid)


def test_tls_is_served_where_the_machine_wants_it_in_the_kernel(start_usher, fake, folder):
    """The options of sockets by which it gets there are not on any list."""
    conf = folder / "openssl.cnf"
    conf.write_text(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n"
        "[ssl]\nsystem_default = default\n[default]\nOptions = KTLS\n"
    )
    usher = start_usher({"fake": fake}, env={"OPENSSL_CONF": str(conf)})
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        assert imap.login("ann", PASSWORD).status == "OK"


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
