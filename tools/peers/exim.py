"""A private Exim: a mail server that refuses all mail.

Its package would take port 25 and the place of the machine's own mail server, so it is unpacked and
not installed. Exim insists on an account of its own: it is shown one by nss_wrapper.
"""

from __future__ import annotations

from pathlib import Path

from .certs import Certificate, Tls
from .debs import libraries, unpack
from .greeting import wait_for_greeting
from .process import Process, chown_tree, unprivileged

PACKAGES = ("exim4-daemon-light", "libnss-wrapper")
ACCOUNT = "mail"
PROGRAM = "usr/sbin/exim4"
WRAPPER = "libnss_wrapper.so"

CONFIG = """
primary_hostname = mail.example.org
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
keep_environment =
host_lookup =
# A machine without /etc/services does not know the word smtp.
daemon_smtp_ports = 25
rfc1413_query_timeout = 0s
acl_smtp_rcpt = nobody
{tls}
begin acl
nobody:
  deny
"""


def fetch(folder: Path) -> Path:
    """Unpacks Exim below `folder`; see unpack()."""
    return unpack(folder, "exim", PACKAGES, "lib|exim4-daemon")


class Exim:
    """One server. `address` and `port` are for its users; stop() when done."""

    def __init__(
        self,
        tree: Path,
        folder: Path,
        *,
        address: str,
        port: int = 25,
        certificate: Certificate | None = None,
    ) -> None:
        """Starts the server from what fetch() gave, and returns when it greets. With a certificate
        it offers STARTTLS."""
        self.address = address
        self.port = port
        self.account = unprivileged(ACCOUNT)
        spool = folder / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        tls = "tls_advertise_hosts ="
        if certificate:
            # Read by the account that Exim becomes.
            own = folder / "exim.pem"
            own.write_text(certificate.certificate.read_text() + certificate.key.read_text())
            own.chmod(0o600)
            tls = f"tls_advertise_hosts = *\ntls_certificate = {own}"
        numbers = f"{self.account.pw_uid}:{self.account.pw_gid}"
        (folder / "passwd").write_text(f"root:x:0:0::/:\nDebian-exim:x:{numbers}::/:\n")
        (folder / "group").write_text(f"root:x:0:\nDebian-exim:x:{self.account.pw_gid}:\n")
        chown_tree(folder, self.account)
        # Not of that account: Exim takes none that others could change.
        config = folder / "exim.conf"
        config.write_text(CONFIG.format(folder=folder, tls=tls))
        config.chmod(0o644)
        env = {
            **libraries(tree),
            "LD_PRELOAD": str(next(tree.glob(f"usr/lib/*/{WRAPPER}"))),
            "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(folder / "group"),
        }
        self.process = Process(
            [tree / PROGRAM, "-C", config, "-bdf", "-oX", f"{address}.{port}", "-oP", folder / "pid"],
            env=env,
        )
        try:
            wait_for_greeting(self.process, address, port, Tls.OFF, start=b"220")
        except BaseException as error:
            self.process.kill()
            said = "".join(path.read_text() for path in folder.glob("*log"))
            raise RuntimeError(f"exim did not start: {said[-2000:]}") from error

    def __enter__(self) -> Exim:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
