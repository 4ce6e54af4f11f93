"""Throw-away certificates: an authority and servers signed by it, by the `openssl` program."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path


class Tls(Enum):
    """How clients of a server may have TLS; the values are usher's words for it."""

    OFF = "off"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


# openssl's words for a new key.
KEYS = {
    "ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    "rsa": ("rsa:2048",),
    "weak": ("rsa:1024",),
    "ed25519": ("ed25519",),
}

CA_CONFIG = """
[ ca ]
default_ca = authority
[ authority ]
database = {dir}/index.txt
rand_serial = yes
new_certs_dir = {dir}
certificate = {dir}/{name}.crt
private_key = {dir}/{name}.key
default_md = sha256
policy = any
copy_extensions = copyall
unique_subject = no
[ any ]
commonName = optional
organizationName = optional
"""


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def subject_alt_name(names: tuple[str, ...]) -> str:
    def entry(name: str) -> str:
        try:
            return f"IP:{ipaddress.ip_address(name)}"
        except ValueError:
            return f"DNS:{name}"

    return "subjectAltName=" + ",".join(map(entry, names))


class Authority:
    """A certificate authority in a folder of its own; `certificate` is what a client trusts."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.crt"
        self.config = folder / f"{name}.cnf"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.txt").touch()
        self.config.write_text(CA_CONFIG.format(dir=folder, name=name))
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "30", "-subj", f"/CN=Throw-away authority {name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", folder / f"{name}.key", "-out", self.certificate,
        )  # fmt: skip

    def issue(
        self,
        label: str,
        *names: str,
        expired: bool = False,
        kind: str = "ecdsa",
        usage: str = "serverAuth",
        subject: str = "",
        starts: timedelta = timedelta(days=-1),
        lasts: timedelta = timedelta(days=30),
    ) -> Certificate:
        """A server certificate for host names and IP addresses, in files called `label`.

        `kind` is that of its key. `starts` and `lasts` count from now. Without names it needs a
        `subject`, such as "/O=Somebody", as a client's has.
        """
        made = Certificate(self.folder / f"{label}.crt", self.folder / f"{label}.key")
        request = self.folder / f"{label}.csr"
        names_of = ["-addext", subject_alt_name(names)] if names else []
        openssl(
            "req", "-new", "-newkey", *KEYS[kind], "-nodes",
            "-subj", subject or f"/CN={names[0]}", *names_of,
            "-addext", f"extendedKeyUsage={usage}", "-addext", "basicConstraints=CA:FALSE",
            "-keyout", made.key, "-out", request,
        )  # fmt: skip
        now = datetime.now(timezone.utc)
        start, end = (f"{now + after:%Y%m%d%H%M%SZ}" for after in (starts, lasts))
        if expired:
            start, end = "20200101000000Z", "20200201000000Z"
        validity = ["-startdate", start, "-enddate", end]
        openssl(
            "ca", "-batch", "-notext", "-config", self.config, *validity,
            "-in", request, "-out", made.certificate,
        )  # fmt: skip
        made.key.chmod(0o600)
        return made

    def revoke(self, certificate: Certificate) -> None:
        openssl("ca", "-config", self.config, "-revoke", certificate.certificate)

    def revocation_list(self, label: str = "crl") -> Path:
        """The list of those that were revoked so far, in a file called `label`."""
        made = self.folder / f"{label}.pem"
        openssl("ca", "-config", self.config, "-gencrl", "-crldays", "30", "-out", made)
        return made
