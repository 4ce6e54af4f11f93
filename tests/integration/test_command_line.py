"""The program's command line, its exit codes, and starts that must fail with clear words."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import USERS, configure
from peers.process import free_address
from peers.usher import DEFAULT_BINARY, Backend, Listener

BINARY = Path(os.environ.get("USHER_BIN", DEFAULT_BINARY))


@pytest.fixture
def config(folder, certificate):
    """Writes a configuration, with more text behind it, and returns its path."""

    def write(more: str = "", **settings) -> Path:
        backends = {"mail1": Backend("127.0.0.2:10143")}
        path = folder / "usher.conf"
        path.write_text(configure(folder, certificate, {"main": backends}, **settings) + more)
        return path

    return write


def usher(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BINARY, *argv], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
    )


def test_check_accepts_a_good_configuration(config, folder):
    done = usher("check", "-c", config())
    assert done.returncode == 0, done.stderr
    assert not (folder / "state").exists()


@pytest.mark.parametrize(
    "mistake",
    ["no_such_setting = 1\n", 'log_level = "loud"\n', "pool {\n", 'max_sessions = "many"\n'],
)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_mistake_is_told_with_file_and_line(config, command, mistake):
    path = config(mistake)
    done = usher(command, "-c", path)
    assert done.returncode != 0
    line = path.read_text().count("\n")
    assert f"{path}:{line}" in done.stderr or f"{path}:{line + 1}" in done.stderr


def test_a_missing_file_is_told(folder):
    done = usher("serve", "-c", folder / "none.conf")
    assert done.returncode != 0
    assert "none.conf" in done.stderr


def test_a_port_that_is_taken_is_told(config):
    with socket.create_server((free_address(), 0)) as other:
        address = "{}:{}".format(*other.getsockname())
        done = usher("serve", "-c", config(listeners={"imap": Listener(address)}))
    assert done.returncode == 1
    assert address in done.stderr


@pytest.mark.parametrize("what", ["certificate", "key"])
def test_a_bad_certificate_or_key_is_told(config, certificate, folder, what):
    bad = folder / "bad.pem"
    bad.write_text("nothing of the kind\n")
    path = config()
    good = str(getattr(certificate, what))
    path.write_text(path.read_text().replace(good, str(bad)))
    done = usher("serve", "-c", path)
    assert done.returncode == 1
    assert "bad.pem" in done.stderr


def test_no_arguments_and_unknown_ones_get_help():
    for argv in ([], ["frobnicate"], ["serve", "--frobnicate"]):
        done = usher(*argv)
        assert done.returncode != 0
        assert "usher" in done.stderr


def test_help_and_version():
    assert "serve" in usher("--help").stdout
    assert usher("--version").stdout.startswith("usher ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_cleanly(start_dovecot, start_usher, number):
    running = start_usher({"mail1": start_dovecot("mail1")})
    with running.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"
        running.stop(number=number)
    assert running.find("stopping")[0]["signal"]
    assert running.find("stopped")


def test_the_same_ports_are_free_again_at_once(start_dovecot, start_usher):
    server = start_dovecot("mail1")
    address = f"{free_address()}:10143"
    for _ in range(3):
        running = start_usher({"mail1": server}, listeners={"imap": Listener(address)})
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            assert client.recv(4) == b"* OK"
        running.stop()
