"""Passwords lie in locked memory alone, no longer than they are needed, and leave nothing behind.

The memory of all of usher's processes is searched, as somebody who took one over would, for pieces
of what a client sent: as it was, and as base64 has it.
"""

from __future__ import annotations

import base64
import random
import ssl
import string
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from conftest import LISTENER_OF_TLS, USERS
from peers.certs import Tls
from peers.greeting import unverified_context
from peers.memory import PIECE, Find, arena_of, find_secrets
from peers.process import chown_tree, unprivileged, wait_until
from peers.rawimap import RawImap
from peers.scripted import Connection
from peers.usher import Backend, Listener

pytestmark = pytest.mark.root

TIMEOUT_S = 20
LEG_IDS = [tls.value for tls in Tls]

# So many clients stand in the middle of a line, for which each is given so many octets; a page or
# two are in use in any case.
CROWD = 400
FIRST_ROOM = 256
ARENA_LEAST_KIB = 8


def word() -> str:
    """24 letters and digits that nobody else has."""
    return "".join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=24))


# --- how a client may say who it is: each sends its login up to the answer, and returns the tag ---


def by_atoms(imap: RawImap, user: str, password: str) -> bytes:
    return imap.start(f"LOGIN {user} {password}".encode())


def by_quotes(imap: RawImap, user: str, password: str) -> bytes:
    return imap.start(f'LOGIN "{user}" "{password}"'.encode())


def by_literals(imap: RawImap, user: str, password: str) -> bytes:
    tag = imap.start(f"LOGIN {{{len(user)}}}".encode())
    assert imap.line().startswith(b"+")
    imap.send(f"{user} {{{len(password)}}}\r\n".encode())
    assert imap.line().startswith(b"+")
    imap.send(f"{password}\r\n".encode())
    return tag


def by_literals_at_once(imap: RawImap, user: str, password: str) -> bytes:
    return imap.start(
        f"LOGIN {{{len(user)}+}}\r\n{user} {{{len(password)}+}}\r\n{password}".encode()
    )


def plain_token(user: str, password: str) -> bytes:
    return base64.b64encode(f"\0{user}\0{password}".encode())


def by_plain_at_once(imap: RawImap, user: str, password: str) -> bytes:
    return imap.start(b"AUTHENTICATE PLAIN " + plain_token(user, password))


def answer_prompt(imap: RawImap, octets: bytes) -> None:
    assert imap.line().startswith(b"+")
    imap.send(octets + b"\r\n")


def by_plain(imap: RawImap, user: str, password: str) -> bytes:
    tag = imap.start(b"AUTHENTICATE PLAIN")
    answer_prompt(imap, plain_token(user, password))
    return tag


def by_sasl_login(imap: RawImap, user: str, password: str) -> bytes:
    tag = imap.start(b"AUTHENTICATE LOGIN")
    answer_prompt(imap, base64.b64encode(user.encode()))
    answer_prompt(imap, base64.b64encode(password.encode()))
    return tag


def in_pieces(imap: RawImap, user: str, password: str) -> bytes:
    """As a client on a slow line: the worker reads the password in two halves."""
    tag = imap.next_tag()
    for part in (tag, f" LOGIN {user} {password[:12]}".encode(), f"{password[12:]}\r\n".encode()):
        imap.send(part)
    return tag


WAYS: list[Callable[[RawImap, str, str], bytes]] = [
    by_atoms,
    by_quotes,
    by_literals,
    by_literals_at_once,
    by_plain_at_once,
    by_plain,
    by_sasl_login,
    in_pieces,
]


# --- a backend that is told when to answer ------------------------------------------------------


class Gate:
    """A script for a backend: takes every login, and answers with `answer` once it is `open`.

    `{command}` in the answer is what the login's last line was.
    """

    def __init__(self, tls: Tls = Tls.OFF, capabilities: str = "SASL-IR AUTH=PLAIN") -> None:
        self.tls = tls
        self.capabilities = f"IMAP4rev1 {capabilities}".encode()
        self.answer = b"OK [CAPABILITY IMAP4rev1] in"
        self.is_open = threading.Event()
        self.asked = threading.Semaphore(0)

    def __call__(self, connection: Connection) -> None:
        if self.tls is Tls.IMPLICIT:
            connection.start_tls()
        starttls = b" STARTTLS LOGINDISABLED" if self.tls is Tls.STARTTLS else b""
        connection.send(b"* OK [CAPABILITY " + self.capabilities + starttls + b"] gate\r\n")
        while True:
            tag, name, arguments = connection.command()
            if name == b"STARTTLS":
                connection.send(tag + b" OK now\r\n")
                connection.start_tls()
            elif name == b"CAPABILITY":
                told = b"* CAPABILITY " + self.capabilities + b"\r\n"
                connection.send(told + tag + b" OK done\r\n")
            elif name in (b"LOGIN", b"AUTHENTICATE"):
                last = self.rest_of_login(connection, name, arguments)
                self.asked.release()
                assert self.is_open.wait(TIMEOUT_S)
                answer = self.answer.replace(b"{command}", last)
                connection.send(tag + b" " + answer + b"\r\n")
            else:
                connection.send(tag + b" OK done\r\n")

    @staticmethod
    def rest_of_login(connection: Connection, name: bytes, arguments: bytes) -> bytes:
        if name == b"LOGIN" or b" " in arguments:
            return arguments
        for _ in range(1 if arguments == b"PLAIN" else 2):
            connection.send(b"+ \r\n")
            last = connection.line().rstrip()
        return last

    def wait_asked(self, count: int) -> None:
        for _ in range(count):
            assert self.asked.acquire(timeout=TIMEOUT_S)


def restricted(context: ssl.SSLContext, suites: str) -> ssl.SSLContext:
    """To TLS 1.2 with these suites, if there are any; in place."""
    if suites:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suites)
    return context


@pytest.fixture
def start_gate(start_scripted, start_usher, authority):
    """Starts an usher of one worker in front of a Gate."""

    def start(gate: Gate, suites: str = "", **settings):
        certificate = authority.issue("gate", "gate.test")
        context = restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), suites)
        context.load_cert_chain(certificate.certificate, certificate.key)
        server = start_scripted(gate, context=context)
        backend = Backend(
            server.endpoint,
            tls=gate.tls,
            tls_ca=authority.certificate if gate.tls is not Tls.OFF else None,
            tls_name="gate.test" if gate.tls is not Tls.OFF else "",
        )
        return start_usher({"mail1": backend}, workers="1", **settings)

    return start


def connect(stack: ExitStack, usher, tls: Tls = Tls.OFF, **options) -> RawImap:
    return stack.enter_context(usher.connect(LISTENER_OF_TLS[tls], tls=tls, **options))


def finds(usher, *passwords: str, tokens: Iterable[bytes] = ()) -> list[Find]:
    secrets = [password.encode() for password in passwords]
    return find_secrets(usher.process_ids(), *secrets, *tokens)


def astray(found: list[Find]) -> list[Find]:
    """Those that are not where passwords belong."""
    return [find for find in found if not find.mapping.is_for_secrets]


@dataclass(frozen=True)
class Login:
    """One that was sent; the answer is to come."""

    imap: RawImap
    tag: bytes
    user: str
    password: str

    @property
    def token(self) -> bytes:
        return plain_token(self.user, self.password)


def log_in(
    imap: RawImap, way: Callable[[RawImap, str, str], bytes], password: str = ""
) -> Login:
    user, password = word().lower(), password or word()
    return Login(imap, way(imap, user, password), user, password)


# --- while the password is needed, and behind that ----------------------------------------------


def assert_kept_until_the_verdict_only(
    usher, gate: Gate, logins: list[Login], status: str = "OK"
) -> None:
    passwords = [login.password for login in logins]
    tokens = [login.token for login in logins]
    gate.wait_asked(len(logins))
    found = finds(usher, *passwords, tokens=tokens)
    assert astray(found) == []
    assert {find.pid for find in found} == {usher.pid("worker")}
    for password in passwords:
        assert any(find.piece in password.encode() for find in found), password
    gate.is_open.set()
    for login in logins:
        assert login.imap.finish(login.tag).status == status
        assert login.imap.command(b"NOOP").status == "OK"
    assert finds(usher, *passwords, tokens=tokens) == []


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
@pytest.mark.parametrize("answer", ["OK in", "NO [AUTHENTICATIONFAILED] out"])
def test_a_password_lies_in_locked_memory_until_the_verdict(start_gate, stack, tls, answer):
    gate = Gate(tls)
    gate.answer = answer.encode()
    usher = start_gate(gate)
    logins = [log_in(connect(stack, usher, tls), way) for way in WAYS]
    assert_kept_until_the_verdict_only(usher, gate, logins, answer.split()[0])


@pytest.mark.parametrize("suites", ["ECDHE+AESGCM", "ECDHE+CHACHA20"])
def test_no_suite_of_tls_1_2_leaves_the_password_behind(start_gate, stack, suites):
    gate = Gate(Tls.IMPLICIT)
    usher = start_gate(gate, suites)
    context = restricted(unverified_context(), suites)
    logins = [log_in(connect(stack, usher, Tls.IMPLICIT, context=context), way) for way in WAYS]
    assert_kept_until_the_verdict_only(usher, gate, logins)
    told = usher.find("login")
    assert {(event["tls"], event["backend_tls"]) for event in told} == {("TLSv1.2", "TLSv1.2")}


@pytest.mark.parametrize("back", list(Tls), ids=LEG_IDS)
@pytest.mark.parametrize(
    "capabilities",
    ["AUTH=PLAIN", "", "LITERAL+", "LOGINDISABLED AUTH=LOGIN"],
    ids=["plain", "login", "literal_plus", "sasl_login"],
)
def test_no_way_of_logging_in_there_leaves_the_password_behind(
    start_gate, stack, capabilities, back
):
    gate = Gate(back, capabilities)
    usher = start_gate(gate)
    # The second has to go as a literal, where the way has those.
    passwords = [word(), word() + "ü"]
    logins = [log_in(connect(stack, usher), by_plain, password) for password in passwords]
    assert_kept_until_the_verdict_only(usher, gate, logins)


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
def test_dovecot_gets_the_password_and_nobody_keeps_it(
    start_dovecot, start_usher, authority, stack, tls
):
    users = {word().lower(): word() for _ in WAYS}
    certificate = authority.issue("mail1", "mail1.test")
    dovecot = start_dovecot("mail1", users=users, tls=tls, certificate=certificate)
    backend = Backend(
        dovecot.endpoint,
        tls=tls,
        tls_ca=authority.certificate if tls is not Tls.OFF else None,
        tls_name="mail1.test" if tls is not Tls.OFF else "",
    )
    usher = start_usher({"mail1": backend})
    for way, (user, password) in zip(WAYS, users.items(), strict=True):
        imap = connect(stack, usher, tls)
        assert imap.finish(way(imap, user, password)).status == "OK"
        assert imap.command(b"SELECT INBOX").status == "OK"
    tokens = [plain_token(user, password) for user, password in users.items()]
    assert finds(usher, *users.values(), tokens=tokens) == []


@pytest.mark.parametrize("answer", [b"NO Who is {command}", b"BAD I do not know {command}"])
def test_a_backend_that_repeats_the_password_does_not_make_it_stay(start_gate, stack, answer):
    gate = Gate(capabilities="")
    gate.answer = answer
    gate.is_open.set()
    usher = start_gate(gate)
    imap, password = connect(stack, usher), word()
    answered = imap.finish(by_quotes(imap, "ann", password))
    assert answered.status == "NO"
    assert finds(usher, password) == []


# --- logins that come to nothing ------------------------------------------------------------------


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
def test_half_a_login_is_wiped_when_the_client_goes(start_gate, stack, tls):
    usher = start_gate(Gate())
    imap, password = connect(stack, usher, tls), word()
    imap.send(f'a LOGIN ann "{password}'.encode())
    found = wait_until(lambda: finds(usher, password), TIMEOUT_S, "the worker has read it")
    assert astray(found) == []
    imap.reset()
    usher.wait_event("session_end")  # and a moment later it is freed
    wait_until(lambda: not finds(usher, password), TIMEOUT_S, "nothing is left")


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
def test_a_client_that_goes_before_the_verdict_takes_its_password_along(start_gate, stack, tls):
    gate = Gate(tls)
    usher = start_gate(gate)
    imap, password = connect(stack, usher, tls), word()
    by_plain(imap, "ann", password)
    gate.wait_asked(1)
    assert finds(usher, password)
    imap.reset()
    usher.wait_event("session_end")  # and a moment later it is freed
    wait_until(lambda: not finds(usher, password), TIMEOUT_S, "nothing is left")
    gate.is_open.set()


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
def test_what_is_no_login_leaves_nothing_behind(start_gate, stack, tls):
    usher = start_gate(Gate())
    imap, password = connect(stack, usher, tls), word()
    token = plain_token("ann", password)
    for command in (
        f"LOGIN ann {password} again".encode(),
        f'LOGIN ann "{password}'.encode(),
        f"LOGIN {password}".encode(),
        b"AUTHENTICATE PLAIN " + token + b"=",
        b"AUTHENTICATE PLAIN " + base64.b64encode(password.encode()),
        b"AUTHENTICATE PLAIN " + token + b" " + token,
        f"NOOP {password}".encode(),
    ):
        assert imap.command(command).status == "BAD"
    tag = imap.start(b"AUTHENTICATE LOGIN")
    answer_prompt(imap, base64.b64encode(password.encode()))
    answer_prompt(imap, b"*")
    assert imap.finish(tag).status == "BAD"
    assert finds(usher, password, tokens=[token]) == []


def test_a_login_that_no_backend_takes_leaves_nothing_behind(start_usher, stack):
    usher = start_usher({"mail1": Backend("127.0.0.1:1")}, workers="1")
    imap, password = connect(stack, usher), word()
    assert imap.finish(by_plain_at_once(imap, "ann", password)).code == "UNAVAILABLE"
    assert finds(usher, password) == []


def test_a_login_before_tls_is_refused_and_forgotten(start_gate, stack):
    usher = start_gate(Gate())
    imap, password = stack.enter_context(usher.connect("imap")), word()
    for way in (by_atoms, by_plain_at_once):
        assert imap.finish(way(imap, "ann", password)).code == "PRIVACYREQUIRED"
    assert finds(usher, password) == []


@pytest.mark.parametrize("tls", list(Tls), ids=LEG_IDS)
def test_a_login_that_comes_too_late_is_read_away_without_a_trace(start_gate, stack, tls):
    gate = Gate()
    gate.answer = b"NO [AUTHENTICATIONFAILED] sorry"
    gate.is_open.set()
    usher = start_gate(gate, login_tries="1")
    imap, password = connect(stack, usher, tls), word()
    imap.finish(by_quotes(imap, "ann", "wrong"))
    assert imap.line().startswith(b"* BYE")
    by_quotes(imap, "ann", password)
    imap.close()
    usher.wait_event("session_end")
    wait_until(lambda: not finds(usher, password), TIMEOUT_S, "nothing is left")


class Recorder(RawImap):
    """What a client would send."""

    def __init__(self) -> None:
        self.serial = 0
        self.octets = b""

    def send(self, octets: bytes) -> None:
        self.octets += octets


@pytest.mark.parametrize("way", [by_quotes, by_plain_at_once])
def test_a_login_behind_a_proxy_header_leaves_nothing_behind(start_gate, stack, way):
    gate = Gate()
    gate.is_open.set()
    listeners = {"plain": Listener(proxy=True)}
    usher = start_gate(gate, listeners=listeners, trusted_networks=["127.0.0.0/8"])
    recorder = Recorder()
    login = log_in(recorder, way)
    # In one piece, so that usher sees the login while it looks at the header.
    hello = b"PROXY TCP4 192.0.2.9 198.51.100.1 4711 993\r\n" + recorder.octets
    imap = connect(stack, usher, hello=hello)
    assert imap.finish(login.tag).status == "OK"
    assert finds(usher, login.password, tokens=[login.token]) == []


# --- what it costs, and where it cannot be had --------------------------------------------------


def test_locked_memory_is_taken_in_the_middle_of_a_line_only(start_gate, stack):
    usher = start_gate(Gate())
    worker = usher.pid("worker")
    crowd = [connect(stack, usher) for _ in range(CROWD)]
    assert arena_of(worker).resident_kib <= ARENA_LEAST_KIB
    password = word()
    for imap in crowd:
        imap.send(f"a LOGIN ann {password}".encode())
    pieces = CROWD * len(password) // PIECE
    wait_until(lambda: len(finds(usher, password)) >= pieces, TIMEOUT_S, "all have been read")
    assert arena_of(worker).resident_kib <= CROWD * FIRST_ROOM // 1024 + ARENA_LEAST_KIB


def test_usher_serves_where_memory_may_not_be_locked_and_says_so(
    start_dovecot, start_usher, folder, certificate
):
    account = unprivileged("nobody")
    chown_tree(folder, account)
    chown_tree(certificate.key.parent, account)
    usher = start_usher(
        {"mail1": start_dovecot("mail1")}, account=account, prefix=["prlimit", "--memlock=0:0"]
    )
    assert "LimitMEMLOCK" in usher.wait_event("secrets_unlocked")["detail"]
    with usher.connect("plain") as imap:
        assert imap.login("ann", USERS["ann"]).status == "OK"


@pytest.mark.parametrize("before", range(4))
def test_the_search_finds_what_is_there(before):
    secret = word().encode()
    # Behind so many octets, in base64; or as it is.
    held = base64.b64encode(bytes(before) + secret) if before < 3 else secret
    with subprocess.Popen(["sleep", "60"], env={"HELD": held.decode()}) as process:
        wait_until(lambda: find_secrets([process.pid], secret), TIMEOUT_S, "it is found")
        process.kill()


# A secret in the middle of memory that is shared, with nothing around it; waits for the end of its input.
SHARES = """
import mmap, sys
secret = sys.stdin.buffer.readline().strip()
memory = mmap.mmap(-1, 64 << 20)
memory[33_333_333 : 33_333_333 + len(secret)] = secret
print("there", flush=True)
sys.stdin.read()
"""


def test_the_search_finds_what_is_in_shared_memory():
    secret = word().encode()
    argv = [sys.executable, "-c", SHARES]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(secret + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"there\n"
        shared = [find for find in find_secrets([process.pid], secret) if find.mapping.rights[3] == "s"]
        process.stdin.close()
    (begin,) = {find.address - secret.index(find.piece) for find in shared}
    assert begin == shared[0].mapping.start + 33_333_333
