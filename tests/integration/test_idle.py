"""IDLE lasts as long as both sides want it to: a session in which anything at all is said is not idle."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

from conftest import LISTENER_OF_TLS, USERS, configure
from peers.certs import Tls
from peers.usher import DEFAULT_BINARY, Backend

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))
IDLE_TIMEOUT_S = 3
RFC_LEAST_S = 30 * 60  # RFC 9051 section 5.4
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def test_idle_outlives_the_timeout_while_the_backend_says_something(
    start_dovecot, start_usher, stack
):
    dovecot = start_dovecot("mail1", idle_notify_s=1)
    usher = start_usher({"mail1": dovecot}, idle_timeout=f"{IDLE_TIMEOUT_S}s")
    silent = stack.enter_context(usher.connect("plain"))
    assert silent.login("bob", USERS["bob"]).status == "OK"
    idling = []
    for tls in Tls:
        imap = stack.enter_context(usher.connect(LISTENER_OF_TLS[tls], tls=tls))
        assert imap.login("ann", USERS["ann"]).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
        idling.append((imap, imap.start(b"IDLE")))
        assert imap.line().startswith(b"+")
    end = time.monotonic() + 2.5 * IDLE_TIMEOUT_S
    while time.monotonic() < end:
        for imap, _ in idling:
            assert imap.line() == b"* OK Still here"
    # Meanwhile, who said nothing and was told nothing has been sent away.
    assert usher.wait_event("session_end", user="bob")["reason"] == "idle_timeout"
    assert not usher.find("session_end", user="ann")
    for imap, tag in idling:
        imap.send(b"DONE\r\n")
        assert imap.finish(tag).status == "OK"
        assert imap.is_alive()


def test_without_a_setting_idle_may_last_half_an_hour(folder, certificate):
    path = folder / "usher.conf"
    path.write_text(configure(folder, certificate, {"main": {"mail1": Backend("127.0.0.2:10143")}}))
    shown = subprocess.run(
        [BINARY, "check", "-c", path, "--print"], capture_output=True, text=True, timeout=30
    )
    assert shown.returncode == 0, shown.stderr
    (duration,) = re.findall(r"^idle_timeout = (\d+)([smhd])$", shown.stdout, re.MULTILINE)
    assert int(duration[0]) * SECONDS[duration[1]] >= RFC_LEAST_S
