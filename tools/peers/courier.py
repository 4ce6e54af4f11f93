"""A private Courier IMAP server.

As with Cyrus its packages are unpacked, not installed. Its programs look for each other and for
their settings under fixed names, so they run in a root of their own: only root can start them.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from .certs import Certificate, Tls
from .debs import run, unpack
from .greeting import wait_for_greeting
from .process import (
    BACKEND_PORT,
    POLL_S,
    Process,
    chown_tree,
    private_dir,
    remove_dir,
    signal_each,
    unprivileged,
    wait_until,
)

PACKAGES = ("courier-imap", "courier-authlib-userdb", "gamin")
ACCOUNT = "mail"
DAEMON = "courier"  # whom couriertls becomes
PROGRAMS = (
    "usr/sbin/couriertcpd",
    "usr/bin/couriertls",
    "usr/bin/imapd",
    "usr/lib/courier/courier/imaplogin",
    "usr/lib/courier/courier-authlib/authdaemond",
    "usr/libexec/gam_server",
)
MAKE_DATABASE = "usr/lib/courier/courier-authlib/makedatprog"
FOLDERS = ("dev", "etc/courier", "run/courier/authdaemon", "tmp", "users")
DEVICES = {"null": (1, 3), "urandom": (1, 9)}
START_S = 10
AUTHDAEMONRC = """
authmodulelist="authuserdb"
daemons=2
authdaemonvar=/run/courier/authdaemon
"""
# What /etc/courier/imapd has. Whether PLAIN may be in clear is told beside it.
CAPABILITY = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=REFERENCES SORT QUOTA IDLE"
LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def fetch(folder: Path) -> Path:
    """Unpacks Courier below `folder`, with all libraries that it needs; see unpack()."""
    return unpack(folder, "courier", PACKAGES, "lib|courier-|gamin", gather_libraries)


def gather_libraries(tree: Path) -> None:
    """Copies into the tree what its programs load from this machine, under the names that they
    load it by."""
    places = [tree / "usr/lib", *(tree / "usr/lib").glob("*-linux-gnu*")]
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, places))}
    modules = (tree / "usr/lib/courier-authlib").glob("*.so")
    for program in [*(tree / name for name in PROGRAMS), *modules]:
        for library in LIBRARY.findall(run("ldd", program, env=env)):
            if not library.startswith(str(tree)) and not (tree / library[1:]).exists():
                (tree / library[1:]).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, tree / library[1:])


def inhabitants(root: Path) -> list[int]:
    """The living processes that have `root` for their root."""

    def lives_there(pid: str) -> bool:
        try:
            return os.readlink(f"/proc/{pid}/root") == str(root)
        except OSError:
            return False

    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and lives_there(pid)]


class Courier:
    """One server. `address` and `port` are for its users; stop() when done."""

    def __init__(
        self,
        tree: Path,
        *,
        address: str,
        users: Mapping[str, str],
        port: int = BACKEND_PORT,
        tls: Tls = Tls.OFF,
        certificate: Certificate | None = None,
        tls_first: bool = False,
    ) -> None:
        """Starts the server from what fetch() gave.

        `users` maps names to passwords; `tls` and `tls_first` are as with Dovecot.
        """
        self.address = address
        self.port = port
        self.tls = tls
        self.account = unprivileged(ACCOUNT)
        self.root = private_dir("courier")
        self.processes: list[Process] = []
        try:
            shutil.copytree(tree, self.root, symlinks=True, dirs_exist_ok=True)
            for name in FOLDERS:
                (self.root / name).mkdir(parents=True, exist_ok=True)
            for name, (major, minor) in DEVICES.items():
                os.mknod(self.root / "dev" / name, 0o20666, os.makedev(major, minor))
            self._write_users(users)
            self._start_authentication()
            self._start_imap(certificate, tls_first)
            wait_for_greeting(self.processes[-1], address, port, tls)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Courier:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def stop(self) -> None:
        """Ends the server and all its processes; its mail goes too."""
        for process in reversed(self.processes):
            process.kill()
        # Whoever watches its Maildirs has left our sessions, but not the root.
        while left := inhabitants(self.root):
            signal_each(left, signal.SIGKILL)
            time.sleep(POLL_S)
        remove_dir(self.root)

    def _run(self, *argv: str, env: Mapping[str, str] | None = None) -> None:
        self.processes.append(Process(["chroot", self.root, *argv], env=env))

    def _write_users(self, users: Mapping[str, str]) -> None:
        """A home with a Maildir, and a row in the databases, for each."""
        public, secret = "", ""
        numbers = f"{self.account.pw_uid}:{self.account.pw_gid}"
        for user, password in users.items():
            for name in ("cur", "new", "tmp"):
                (self.root / "users" / user / "Maildir" / name).mkdir(parents=True)
            digest = base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()
            ids = f"uid={self.account.pw_uid}|gid={self.account.pw_gid}"
            public += f"{user}\t{ids}|home=/users/{user}|_=\n"
            secret += f"{user}\timappw={{SHA256}}{digest}\n"
        chown_tree(self.root / "users", self.account)
        (self.root / "etc/passwd").write_text(f"{DAEMON}:x:{numbers}:::\n")
        (self.root / "etc/group").write_text(f"{DAEMON}:x:{self.account.pw_gid}:\n")
        for name, rows in (("userdb", public), ("userdbshadow", secret)):
            made = self.root / "etc/courier" / name
            run(self.root / MAKE_DATABASE, "-", f"{made}.tmp", f"{made}.dat", input=f"{rows}.\n")

    def _start_authentication(self) -> None:
        (self.root / "etc/courier/authdaemonrc").write_text(AUTHDAEMONRC)
        self._run("/usr/lib/courier/courier-authlib/authdaemond")
        socket = self.root / "run/courier/authdaemon/socket"
        wait_until(socket.exists, START_S, "socket of Courier's authdaemond")

    def _start_imap(self, certificate: Certificate | None, tls_first: bool) -> None:
        env = {
            "IMAP_CAPABILITY": CAPABILITY if tls_first else f"{CAPABILITY} AUTH=PLAIN",
            "IMAP_CAPABILITY_TLS": f"{CAPABILITY} AUTH=PLAIN",
            # It looks for new mail every second: gamin, which could tell of it, misses some on a busy machine.
            "IMAP_IDLE_TIMEOUT": "1",
            "IMAP_ENHANCEDIDLE": "0",
            "IMAP_KEYWORDS": "1",
            "IMAP_STARTTLS": "YES" if self.tls is Tls.STARTTLS else "NO",
            "IMAP_TLS_REQUIRED": "1" if tls_first else "0",
            "IMAP_TLS": "1" if self.tls is Tls.IMPLICIT else "0",
            "COURIERTLS": "/usr/bin/couriertls",
            "TLS_CERTFILE": "/etc/courier/imapd.pem",
            "TLS_VERIFYPEER": "NONE",
        }
        if certificate:
            both = self.root / "etc/courier/imapd.pem"
            both.write_text(certificate.key.read_text() + certificate.certificate.read_text())
            both.chmod(0o600)
            os.chown(both, self.account.pw_uid, self.account.pw_gid)
        wrapper = ["/usr/bin/couriertls", "-server", "-tcpd"] if self.tls is Tls.IMPLICIT else []
        self._run(
            "/usr/sbin/couriertcpd", f"-address={self.address}", "-maxprocs=100", "-maxperip=100",
            "-nodnslookup", "-noidentlookup", str(self.port), *wrapper,
            "/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd", "Maildir", env=env,
        )  # fmt: skip
