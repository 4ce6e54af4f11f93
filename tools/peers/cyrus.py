"""A private Cyrus IMAP server.

Debian does not let Cyrus and Dovecot be installed together, so its packages are fetched and
unpacked into a folder, never installed, and the programs are run from there.
"""

from __future__ import annotations

import imaplib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from .certs import Certificate, Tls
from .debs import run, unpack
from .greeting import unverified_context, wait_for_greeting
from .process import (
    BACKEND_PORT,
    SUN_PATH_MAX,
    Process,
    chown_tree,
    group_name,
    is_reachable,
    is_root,
    private_dir,
    remove_dir,
    unprivileged,
)

PACKAGES = ("cyrus-imapd", "sasl2-bin")
ADMIN = "cyrus"
ADMIN_PASSWORD = "secret-cyrus"
REALM = "cyrus.test"
ACCOUNT = "mail"
LONGEST_SOCKET = len("/config/socket/imap-12345.lock")

IMAPD_CONF = """
servername: {realm}
configdirectory: {place}/config
defaultpartition: default
partition-default: {place}/spool
temp_path: {place}/temp
cyrus_user: {user}
cyrus_group: {group}
admins: {admin}
allowplaintext: {allow_plain}
unixhierarchysep: {unix_separator}
altnamespace: {alternative}
{settings}failedloginpause: 0
imapidlepoll: 1
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {place}/sasldb2
sasl_mech_list: PLAIN LOGIN
{tls_files}
"""

CYRUS_CONF = """
START {{
  recover cmd="{bin}/ctl_cyrusdb -C {conf} -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {conf}{implicit}" listen="{address}:{port}" proto=tcp4 prefork=1
}}
EVENTS {{
}}
"""


def fetch(folder: Path) -> Path:
    """Unpacks Cyrus and the libraries that this machine lacks below `folder`; see unpack()."""
    # Not the programs that apt would install around a mail server.
    return unpack(folder, "cyrus", PACKAGES, "lib|cyrus-|sasl2-")


class Cyrus:
    """One server. `address` and `port` are for its users; stop() when done."""

    def __init__(
        self,
        tree: Path,
        folder: Path,
        *,
        address: str,
        users: Mapping[str, str],
        port: int = BACKEND_PORT,
        tls: Tls = Tls.OFF,
        certificate: Certificate | None = None,
        tls_first: bool = False,
        unix_separator: bool = True,
        alternative: bool = True,
        settings: str = "",
    ) -> None:
        """Starts the server from what fetch() gave, with an INBOX for each of `users`.

        `users` maps names to passwords; `tls` and `tls_first` are as with Dovecot. The separator is
        "/", or "." without `unix_separator`; folders stand beside INBOX, or below it without
        `alternative`. `settings` are further lines of imapd.conf.
        """
        self.address = address
        self.port = port
        self.tls = tls
        self.users = dict(users)
        self.unix_separator = unix_separator
        self.namespace = {
            "unix_separator": "yes" if unix_separator else "no",
            "alternative": "yes" if alternative else "no",
            "settings": settings,
        }
        self.account = unprivileged(ACCOUNT)
        self.temporary: Path | None = None
        place = folder
        too_deep = len(str(folder)) + LONGEST_SOCKET > SUN_PATH_MAX
        closed = is_root() and not (is_reachable(folder) and is_reachable(tree))
        if too_deep or closed:
            self.temporary = place = private_dir("cyrus")
        if closed:
            shutil.copytree(tree, place / "tree", symlinks=True)
            tree = place / "tree"
        self.tree = tree
        self.binaries = tree / "usr/lib/cyrus/bin"
        libraries = next((tree / "usr/lib").glob("*-linux-gnu*"))
        # SASL's mechanisms may be among what was fetched, or installed already.
        modules = f"{libraries}/sasl2:/usr/lib/{libraries.name}/sasl2"
        self.env = {"LD_LIBRARY_PATH": str(libraries), "SASL_PATH": modules}
        conf = place / "imapd.conf"
        self._write_configuration(place, conf, certificate, tls_first)
        (place / "sasldb2").unlink(missing_ok=True)
        for user, password in {ADMIN: ADMIN_PASSWORD, **users}.items():
            self._set_password(place / "sasldb2", user, password)
        for part in ("db", "lock", "log", "msg", "proc", "socket"):
            (place / "config" / part).mkdir(parents=True, exist_ok=True)
        for part in ("spool", "temp"):
            (place / part).mkdir(exist_ok=True)
        for part in ("config", "spool", "temp"):
            chown_tree(place / part, self.account)
        if is_root():
            os.chown(place / "sasldb2", self.account.pw_uid, self.account.pw_gid)
        self.process = Process(
            [self.binaries / "master", "-C", conf, "-M", place / "cyrus.conf",
             "-p", place / "config/master.pid"],
            env=self.env,
        )  # fmt: skip
        try:
            wait_for_greeting(self.process, address, port, tls)
            self._create_mailboxes(users)
        except BaseException:
            self.process.kill()
            self._forget_temporary()
            raise

    def __enter__(self) -> Cyrus:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"{self.address}:{self.port}"

    def connect(self) -> imaplib.IMAP4:
        """A connection straight to the server, secured as it goes, not logged in."""
        if self.tls is Tls.IMPLICIT:
            return imaplib.IMAP4_SSL(self.address, self.port, ssl_context=unverified_context())
        imap = imaplib.IMAP4(self.address, self.port)
        if self.tls is Tls.STARTTLS:
            imap.starttls(unverified_context())
        return imap

    def inbox_of(self, user: str) -> str:
        """What the administrator calls a user's INBOX."""
        return f"user{'/' if self.unix_separator else '.'}{user}"

    def stop(self) -> None:
        """Ends the server and all its processes."""
        try:
            self.process.stop()
        finally:
            self._forget_temporary()

    def _forget_temporary(self) -> None:
        if self.temporary:
            remove_dir(self.temporary)

    def _write_configuration(
        self, place: Path, conf: Path, certificate: Certificate | None, tls_first: bool
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        tls_files = ""
        if certificate:
            # Its processes read these after they have changed to the account.
            for name, source in (("cert", certificate.certificate), ("key", certificate.key)):
                copy = place / f"tls-{name}.pem"
                shutil.copyfile(source, copy)
                copy.chmod(0o600)
                if is_root():
                    os.chown(copy, self.account.pw_uid, self.account.pw_gid)
                tls_files += f"tls_server_{name}: {copy}\n"
        conf.write_text(
            IMAPD_CONF.format(
                realm=REALM,
                place=place,
                user=self.account.pw_name,
                group=group_name(self.account),
                admin=ADMIN,
                allow_plain="no" if tls_first else "yes",
                tls_files=tls_files,
                **self.namespace,
            )
        )
        (place / "cyrus.conf").write_text(
            CYRUS_CONF.format(
                bin=self.binaries,
                conf=conf,
                implicit=" -s" if self.tls is Tls.IMPLICIT else "",
                address=self.address,
                port=self.port,
            )
        )

    def _set_password(self, database: Path, user: str, password: str) -> None:
        program = self.tree / "usr/sbin/saslpasswd2"
        env = {**os.environ, **self.env}
        run(program, "-p", "-c", "-f", database, "-u", REALM, user, input=password, env=env)

    def _create_mailboxes(self, users: Mapping[str, str]) -> None:
        with self.connect() as imap:
            imap.login(ADMIN, ADMIN_PASSWORD)
            for user in users:
                status, answer = imap.create(self.inbox_of(user))
                if status != "OK" and b"exists" not in answer[0]:
                    raise RuntimeError(f"CREATE {self.inbox_of(user)}: {answer!r}")
