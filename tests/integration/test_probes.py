"""Probes of backends: real servers pass them, hostile ones do not, and the log tells what was wrong."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import BACKEND_NAME, USERS
from later import logged
from peers import scripted
from peers.certs import Tls
from peers.process import BACKEND_PORT, free_address, wait_until
from peers.scripted import answering
from peers.usher import Backend, Event, Usher, configuration
from test_check_tls import Checked

USER = "ann"
OFTEN = {
    "check_interval": "100ms",
    "check_fast_interval": "100ms",
    "check_timeout": "3s",
    "check_rise": 2,
    "check_fall": 2,
}
UNPROXIED = "if it waits for a PROXY header, write proxy = v2 or v1"
NEEDLESS = "it was sent a PROXY header: if it does not expect one, write proxy = off"


@pytest.fixture
def password_file(folder) -> Path:
    path = folder / "check-password"
    path.write_text(USERS[USER] + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def start_probing(start_usher, password_file) -> Callable[..., Usher]:
    """An usher that probes one backend, mail1, often; options are settings of the pool."""

    def start(backend: Backend, check: str, **settings) -> Usher:
        wanted = {**OFTEN, "check": check, **settings}
        if check == "login":
            wanted = {"check_user": USER, "check_password": password_file, **wanted}
        return start_usher(
            {"mail1": backend}, pool_settings={"main": wanted}, log_level="debug", workers="1"
        )

    return start


def wait_state(usher: Usher, state: str, words: str = "", after: int = 0) -> Event:
    event = usher.wait_event("backend_health", after=after, backend="mail1", state=state)
    assert words in event.get("detail"), event
    return event


def count_good(usher: Usher, after: int = 0) -> int:
    return sum(
        event["detail"].startswith("probe of backend mail1: good")
        for event in usher.find("debug", after)
    )


def stays_up(usher: Usher) -> None:
    """Some more probes, none of which fails."""
    mark = usher.mark()
    wait_until(lambda: count_good(usher, mark) >= 5, 15, "probes have passed")
    assert not usher.find("backend_health", mark)


@contextmanager
def down_at_first(usher: Usher, endpoint: str) -> Iterator[None]:
    """The server is started within, and is seen to have come."""
    wait_state(usher, "down", f"connect: {endpoint}: Connection refused")
    yield
    wait_state(usher, "up")
    stays_up(usher)


# --- real servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", list(Tls))
@pytest.mark.parametrize("proxy", ["off", "v1", "v2"])
def test_dovecot_is_logged_in_to_and_out_of(
    tls, proxy, start_dovecot, start_probing, authority, backend_certificate
):
    endpoint = f"{(address := free_address())}:{BACKEND_PORT}"
    trust = {"tls_ca": authority.certificate, "tls_name": BACKEND_NAME} if tls is not Tls.OFF else {}
    usher = start_probing(Backend(endpoint, tls=tls, proxy=proxy, **trust), "login")
    with down_at_first(usher, endpoint):
        dovecot = start_dovecot(
            "mail1",
            address=address,
            tls=tls,
            tls_first=tls is Tls.STARTTLS,
            certificate=backend_certificate,
            haproxy=proxy != "off",
        )
    usher.stop()
    logged(dovecot, "Login: user=<ann>", 5)
    logged(dovecot, "Logged out", 5)
    said = dovecot.log.read_text()
    assert "Error" not in said and "Warning: Login" not in said


@pytest.mark.parametrize("check", ["tcp", "greeting"])
@pytest.mark.parametrize("tls", list(Tls))
def test_dovecot_is_looked_at_without_a_login(
    check, tls, start_dovecot, start_probing, backend_certificate
):
    endpoint = f"{(address := free_address())}:{BACKEND_PORT}"
    backend = Backend(endpoint, tls=tls, tls_verify=tls is Tls.OFF, proxy="v2")
    usher = start_probing(backend, check)
    with down_at_first(usher, endpoint):
        dovecot = start_dovecot(
            "mail1", address=address, tls=tls, certificate=backend_certificate, haproxy=True
        )
    usher.stop()
    assert "Login:" not in dovecot.log.read_text()


@pytest.mark.parametrize("tls", list(Tls))
def test_cyrus_is_logged_in_to(tls, start_cyrus, start_probing, authority, backend_certificate):
    endpoint = f"{(address := free_address())}:{BACKEND_PORT}"
    trust = {"tls_ca": authority.certificate, "tls_name": BACKEND_NAME} if tls is not Tls.OFF else {}
    usher = start_probing(Backend(endpoint, tls=tls, **trust), "login")
    with down_at_first(usher, endpoint):
        start_cyrus(address=address, tls=tls, certificate=backend_certificate)


@pytest.mark.root
def test_courier_is_logged_in_to(start_courier, start_probing):
    endpoint = f"{(address := free_address())}:{BACKEND_PORT}"
    usher = start_probing(Backend(endpoint), "login")
    with down_at_first(usher, endpoint):
        start_courier(address=address)


# --- mistakes of operators ----------------------------------------------------------------------


def test_a_dovecot_that_waits_for_a_header_is_told_as_such(start_dovecot, start_probing):
    dovecot = start_dovecot("mail1", haproxy=True)
    usher = start_probing(Backend(dovecot.endpoint), "greeting")
    words = f"greeting: the server closed the connection without a word; {UNPROXIED}"
    assert wait_state(usher, "down")["detail"] == words


@pytest.mark.parametrize("proxy", ["v1", "v2"])
def test_a_dovecot_that_expects_no_header_is_told_as_such(proxy, start_dovecot, start_probing):
    dovecot = start_dovecot("mail1")
    usher = start_probing(Backend(dovecot.endpoint, proxy=proxy), "login")
    assert NEEDLESS in wait_state(usher, "down")["detail"]


def test_a_password_that_is_wrong_is_told_but_not_shown(
    start_dovecot, start_probing, password_file
):
    dovecot = start_dovecot("mail1")
    password_file.write_text("not-the-one\n")
    usher = start_probing(Backend(dovecot.endpoint), "login")
    wait_state(usher, "down", "login: ann is refused: [AUTHENTICATIONFAILED]")
    mark = usher.mark()
    password_file.write_text(USERS[USER] + "\r\nand a remark\n")
    usher.renew()
    wait_state(usher, "up", after=mark)
    stays_up(usher)
    usher.stop()
    assert not [line for line in usher.lines if "not-the-one" in line or USERS[USER] in line]


def test_a_password_that_becomes_bad_leaves_the_old_one_in_use(
    start_dovecot, start_probing, password_file
):
    dovecot = start_dovecot("mail1")
    usher = start_probing(Backend(dovecot.endpoint), "login")
    password_file.write_text("\n")
    mark = usher.mark()
    usher.process.send_signal(signal.SIGHUP)
    refused = usher.wait_event("change_refused", after=mark)
    assert f"pool main: check_password: {password_file} has an empty first line" in refused["detail"]
    stays_up(usher)


def test_a_certificate_that_does_not_pass_is_a_failure(
    start_dovecot, start_probing, authority, backend_certificate
):
    dovecot = start_dovecot("mail1", tls=Tls.IMPLICIT, certificate=backend_certificate)
    backend = Backend(
        dovecot.endpoint, tls=Tls.IMPLICIT, tls_ca=authority.certificate, tls_name="other.test"
    )
    usher = start_probing(backend, "tcp")
    wait_state(usher, "down", "tls: TLS: the peer's certificate does not pass: hostname mismatch")


BAD_FILES = {
    "missing": (None, "No such file or directory"),
    "empty": (b"", "is empty; write the password into its first line"),
    "blank": (b"\n", "has an empty first line; write the password there"),
    "nul": (b"sec\0ret\n", "holds NUL in its first line"),
    "long": (b"x" * 1025, "has a first line of 1025 bytes"),
}


@pytest.mark.parametrize("content, words", BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_without_a_password_is_a_mistake(content, words, folder, password_file):
    password_file.unlink()
    if content is not None:
        password_file.write_bytes(content)
    pool = {"check": "login", "check_user": USER, "check_password": password_file}
    path = folder / "usher.conf"
    path.write_text(
        configuration(
            folder / "state",
            {"main": {"mail1": Backend("127.0.0.2:10143")}},
            pool_settings={"main": pool},
        )
    )
    done = Checked(path)
    assert done.status == 1
    assert words in done.only(False, at="check_password"), done.err


# --- hostile servers ----------------------------------------------------------------------------

GREETINGS: Mapping[str, tuple[scripted.Script, str]] = {
    "silent": (scripted.silent, "greeting: no answer within check_timeout"),
    "closing": (scripted.closing, "greeting: the server closed the connection without a word"),
    "rubbish": (scripted.rubbish, "greeting: "),
    "endless": (scripted.endless_greeting, "greeting: the greeting has no end"),
    "slow": (scripted.slow_greeting, "greeting: no answer within check_timeout"),
    "bye": (scripted.bye, "greeting: the server greets with BYE: Too many connections"),
    "preauth": (scripted.preauth, "greeting: the greeting is PREAUTH: somebody is logged in"),
}
LOGINS: Mapping[str, tuple[scripted.Script, str]] = {
    "silent": (scripted.silent_after_greeting, "login: no answer within check_timeout"),
    "closing": (scripted.closing_at_login, "login: the server closed the connection"),
    "bye": (scripted.untagged_bye_at_login, "login: the server says BYE: Going down"),
    "bad": (scripted.bad_at_login, "login: the server does not understand the login"),
    "untagged": (scripted.endless_untagged, "too many untagged responses"),
    "no": (answering(b"NO [UNAVAILABLE] not now"), "login: ann is refused: [UNAVAILABLE] not now"),
}


@pytest.mark.parametrize("check, rows", [("greeting", GREETINGS), ("login", LOGINS)])
def test_hostile_backends_go_down_and_come_up_when_they_behave(
    check, rows, start_scripted, start_probing
):
    server = start_scripted(answering())
    usher = start_probing(Backend(server.endpoint), check, check_timeout="1s")
    stays_up(usher)
    for script, words in rows.values():
        mark = usher.mark()
        server.script = script
        wait_state(usher, "down", words, after=mark)
        server.script = answering()
        wait_state(usher, "up", after=mark)
    stays_up(usher)
    wait_until(lambda: server.open_connections() <= 1, 10, "failed probes are let go")


@pytest.mark.parametrize(
    "script, words",
    [
        (scripted.refusing_starttls, "starttls: the server refuses STARTTLS"),
        (scripted.injecting_starttls, "starttls: bytes in clear lie behind the answer to STARTTLS"),
        (answering(), "starttls: STARTTLS is not offered"),
    ],
)
def test_a_password_never_goes_where_starttls_fails(
    script, words, start_scripted, start_probing, backend_certificate
):
    server = start_scripted(script, context=scripted.context_of(backend_certificate))
    backend = Backend(server.endpoint, tls=Tls.STARTTLS, tls_verify=False)
    usher = start_probing(backend, "login")
    wait_state(usher, "down", words)
    usher.stop()
    assert not any(b"LOGIN" in command or b"AUTH" in command for command in server.commands)
