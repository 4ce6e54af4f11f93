"""A private nginx: web servers and IMAP proxies, each on a port of one address.

Its package would start a server on port 80, so it is unpacked and not installed.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .certs import Certificate, Tls
from .debs import libraries, unpack
from .process import Process, is_root, unprivileged, wait_until

PACKAGES = ("nginx", "libnginx-mod-mail")
ACCOUNT = "www-data"
PROGRAM = "usr/sbin/nginx"
MAIL_MODULE = "usr/lib/nginx/modules/ngx_mail_module.so"
START_S = 20

CONFIG = """
load_module {module};
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}}}
mail {{
    server_name mail.example.org;
    auth_http 127.0.0.1:9/;
{mail}}}
"""


@dataclass(frozen=True)
class Service:
    """What one port has: "http" or "imap", in which TLS, behind a PROXY header or not."""

    protocol: str
    tls: Tls = Tls.OFF
    proxy: bool = False


def fetch(folder: Path) -> Path:
    """Unpacks nginx below `folder`; see unpack()."""
    return unpack(folder, "nginx", PACKAGES, "lib|nginx")


class Nginx:
    """One server. `address` is for its users; stop() when done."""

    def __init__(
        self,
        tree: Path,
        folder: Path,
        *,
        address: str,
        services: Mapping[int, Service],
        certificate: Certificate | None = None,
    ) -> None:
        """Starts the server from what fetch() gave; returns when it serves. `services` maps ports
        to what is there."""
        self.address = address
        folder.mkdir(parents=True, exist_ok=True)
        files = ""
        if certificate:
            files = f"ssl_certificate {certificate.certificate}; ssl_certificate_key {certificate.key};"

        def servers(protocol: str, more: str) -> str:
            made = ""
            for port, service in services.items():
                if service.protocol != protocol:
                    continue
                words = f"{' ssl' * (service.tls is Tls.IMPLICIT)}{' proxy_protocol' * service.proxy}"
                starttls = "starttls on;" if service.tls is Tls.STARTTLS else ""
                made += f"    server {{ listen {address}:{port}{words}; {starttls} {files} {more} }}\n"
            return made

        config = folder / "nginx.conf"
        config.write_text(
            CONFIG.format(
                module=tree / MAIL_MODULE,
                user=f"user {unprivileged(ACCOUNT).pw_name};" if is_root() else "",
                folder=folder,
                http=servers("http", "location / { return 200; }"),
                mail=servers("imap", "protocol imap;"),
            )
        )
        log = folder / "error.log"
        self.process = Process(
            [tree / PROGRAM, "-e", log, "-c", config, "-p", folder], env=libraries(tree)
        )
        try:
            wait_until(lambda: self._serves(list(services)), START_S, "nginx serves")
        except BaseException as error:
            self.process.kill()
            said = log.read_text() if log.exists() else ""
            raise RuntimeError(f"nginx did not start: {said[-2000:]}") from error

    def __enter__(self) -> Nginx:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def _serves(self, ports: list[int]) -> bool:
        """Whether somebody does anything about what no protocol begins with."""
        if not self.process.is_running():
            raise RuntimeError(f"nginx ended with status {self.process.wait(0)}")
        for port in ports:
            try:
                client = socket.create_connection((self.address, port), timeout=5)
            except OSError:
                return False
            with client:
                try:
                    client.sendall(b"\r\nnothing\r\n\r\n")
                    client.recv(1)
                except ConnectionResetError:
                    pass
                except TimeoutError:
                    return False
        return True
