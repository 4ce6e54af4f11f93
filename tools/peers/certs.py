"""Throw-away certificates: an authority and servers signed by it, by the `openssl` program."""

from __future__ import annotations

import ipaddress
import subprocess
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Tls(Enum):
    """How clients of a server may have TLS; the values are usher's words for it."""

    OFF = "off"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


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
commonName = supplied
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

    def issue(self, label: str, *names: str, expired: bool = False) -> Certificate:
        """A server certificate for host names and IP addresses, in files called `label`."""
        made = Certificate(self.folder / f"{label}.crt", self.folder / f"{label}.key")
        request = self.folder / f"{label}.csr"
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={names[0]}", "-addext", subject_alt_name(names),
            "-addext", "extendedKeyUsage=serverAuth", "-addext", "basicConstraints=CA:FALSE",
            "-keyout", made.key, "-out", request,
        )  # fmt: skip
        validity = ["-days", "30"]
        if expired:
            validity = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
        openssl(
            "ca", "-batch", "-notext", "-config", self.config, *validity,
            "-in", request, "-out", made.certificate,
        )  # fmt: skip
        made.key.chmod(0o600)
        return made
