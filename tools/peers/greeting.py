"""Waiting until a server that was just started says its greeting."""

from __future__ import annotations

import socket
import ssl

from .certs import Tls
from .process import Process, wait_until

START_S = 20


def wait_for_greeting(
    process: Process,
    address: str,
    port: int,
    tls: Tls,
    hello: bytes = b"",
    start: bytes = b"*",
) -> None:
    """Returns when the server at `address` greets with what begins with `start`; raises if `process`
    ends before that. `hello` is sent first, to a server that waits for a PROXY header."""

    def greets() -> bool:
        if not process.is_running():
            raise RuntimeError(f"{process.name} ended with status {process.wait(0)}")
        try:
            return read_greeting(address, port, tls, hello).startswith(start)
        except OSError:
            return False

    wait_until(greets, START_S, f"greeting of {process.name}")


def read_greeting(address: str, port: int, tls: Tls, hello: bytes = b"") -> bytes:
    """The greeting's line; the TLS of a server is taken as it is, unverified."""
    with socket.create_connection((address, port), timeout=5) as plain:
        plain.sendall(hello)
        if tls is not Tls.IMPLICIT:
            return plain.makefile("rb").readline()
        with unverified_context().wrap_socket(plain) as secured:
            return secured.makefile("rb").readline()


def unverified_context() -> ssl.SSLContext:
    """TLS for a client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
