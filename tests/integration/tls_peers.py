"""TLS clients that look closely: at the certificate that is shown, and at whether a session was resumed."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peers.certs import Authority, Certificate
from peers.usher import Usher

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
WAIT_S = 20


def client(
    authority: Authority,
    version: ssl.TLSVersion | None = None,
    certificate: Certificate | None = None,
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """A client that verifies the chain but not the name, to see which certificate it is shown."""
    context = ssl.create_default_context(cafile=authority.certificate)
    context.check_hostname = False
    if version:
        context.minimum_version = context.maximum_version = version
    if certificate:
        context.load_cert_chain(certificate.certificate, certificate.key)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def handshaken(
    usher: Usher,
    context: ssl.SSLContext,
    name: str | None = None,
    *,
    listener: str = "imaps",
    session: ssl.SSLSession | None = None,
) -> Iterator[ssl.SSLSocket]:
    """A connection to a listener with tls = implicit; `name` is sent as SNI."""
    address = ("127.0.0.1", usher.port(listener))
    with socket.create_connection(address, timeout=WAIT_S) as plain:
        with context.wrap_socket(plain, server_hostname=name, session=session) as secured:
            yield secured


@contextmanager
def greeted(
    usher: Usher, context: ssl.SSLContext, name: str | None = None, **options
) -> Iterator[ssl.SSLSocket]:
    """The same behind the greeting: only then does a client of TLS 1.3 know that it is let in, and
    has its ticket."""
    with handshaken(usher, context, name, **options) as secured:
        greeting = b""
        while not greeting.endswith(b"\r\n"):
            octets = secured.recv(4096)
            if not octets:
                raise ConnectionError(f"closed before the greeting: {greeting!r}")
            greeting += octets
        assert greeting.startswith(b"* OK"), greeting
        yield secured


def is_let_in(usher: Usher, context: ssl.SSLContext, name: str | None = None) -> bool:
    """Whether the greeting comes; what else there is must be an end by TLS."""
    try:
        with greeted(usher, context, name):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


def names_in(secured: ssl.SSLSocket) -> set[str]:
    """The names in the certificate that was shown."""
    return {value for _, value in secured.getpeercert().get("subjectAltName", ())}


def serial_of(secured: ssl.SSLSocket) -> str:
    return secured.getpeercert()["serialNumber"]


def worker_of(usher: Usher, secured: ssl.SSLSocket) -> str:
    """Which worker serves this connection; ends it."""
    address = "{}:{}".format(*secured.getsockname())
    secured.close()
    return usher.wait_event("session_end", client=address)["id"].partition(".")[0]


def s_client(
    usher: Usher, *options: str | Path, listener: str = "imaps", text: str = ""
) -> subprocess.CompletedProcess[str]:
    """openssl s_client; `text` is typed behind the handshake."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{usher.port(listener)}", *options]
    return subprocess.run(
        [str(word) for word in words], input=text, capture_output=True, text=True, timeout=WAIT_S
    )


def ticket_key(usher: Usher) -> str:
    """The name of the key under which a ticket is sealed now: the first 16 octets of a ticket."""
    shown = s_client(usher, "-tls1_2").stdout
    found = re.search(r"TLS session ticket:\s+0000 - ([0-9a-f -]{47})", shown)
    assert found, shown
    return found[1]
