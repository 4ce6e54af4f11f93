"""Usher started by an ordinary account, and what becomes of root's rights otherwise."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from conftest import USERS
from peers.certs import Tls
from peers.process import chown_tree, own_account, unprivileged
from peers.usher import ACCOUNT


def ids(pid: int, key: str) -> set[int]:
    """The numbers in a line of /proc/PID/status, such as Uid or Groups."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, values = line.partition(":")
        if name == key:
            return {int(value) for value in values.split()}
    raise ProcessLookupError(pid)


def test_an_ordinary_account_may_serve_high_ports(start_dovecot, start_usher, folder, certificate):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    usher = start_usher({"mail1": start_dovecot("mail1")}, account=account)
    assert ids(usher.process.pid, "Uid") == {account.pw_uid}
    for listener, tls in (("plain", Tls.OFF), ("imaps", Tls.IMPLICIT)):
        with usher.connect(listener, tls=tls) as imap:
            assert imap.login("ann", USERS["ann"]).status == "OK"
            assert imap.is_alive()
    usher.stop()
    assert (folder / "state/usher.db").stat().st_uid == account.pw_uid


@pytest.mark.root
def test_only_the_parent_keeps_the_rights_of_root(start_dovecot, start_usher, folder):
    usher = start_usher({"mail1": start_dovecot("mail1")})
    account = pwd.getpwnam(ACCOUNT)
    assert ids(usher.process.pid, "Uid") == {0}
    roles = [usher.pid("control"), usher.pid("lookup"), *usher.worker_pids()]
    assert len(roles) == 4
    for pid in roles:
        assert ids(pid, "Uid") == {account.pw_uid}
        assert ids(pid, "Gid") == {account.pw_gid}
        assert ids(pid, "Groups") <= {account.pw_gid}
        status = Path(f"/proc/{pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "CapPrm:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
    assert (folder / "state/usher.db").stat().st_uid == account.pw_uid


@pytest.mark.root
def test_the_key_may_be_roots_alone(start_dovecot, start_usher, certificate):
    os.chown(certificate.key, 0, 0)
    certificate.key.chmod(0o600)
    usher = start_usher({"mail1": start_dovecot("mail1")})
    with usher.connect("imaps", tls=Tls.IMPLICIT) as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
    assert own_account().pw_uid == 0
