"""Fixtures: peers and ushers that end with their test, whatever becomes of it."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from pwd import struct_passwd

import pytest

# Fixtures of the tests of usher sync.
pytest_plugins = ["sync_places"]

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

from clients import Account  # noqa: E402
from front import BACKEND_LOGIN_TIMEOUT_S, Front  # noqa: E402
from peers import courier, cyrus, exim, imapflow, nginx  # noqa: E402
from peers.certs import Authority, Certificate, Tls  # noqa: E402
from peers.courier import Courier  # noqa: E402
from peers.cyrus import Cyrus  # noqa: E402
from peers.dovecot import Dovecot  # noqa: E402
from peers.exim import Exim  # noqa: E402
from peers.nginx import Nginx, Service  # noqa: E402
from peers.process import (  # noqa: E402
    free_address,
    is_root,
    private_dir,
    raise_file_limit,
    remove_dir,
)
from peers.scripted import Script, ScriptedServer, answering, context_of  # noqa: E402
from peers.usher import Backend, Listener, Usher, configuration  # noqa: E402

USERS = {name: f"secret-{name}" for name in ("ann", "bob", "carol", "dave", "eve")}

# One of each kind, as operators have them.
LISTENERS = {
    "plain": Listener(tls=Tls.OFF, auth_allow_cleartext=True),
    "imap": Listener(tls=Tls.STARTTLS, auth_allow_cleartext=False),
    "imaps": Listener(tls=Tls.IMPLICIT, auth_allow_cleartext=False),
}
BACKEND_NAME = "backend.example.org"
LISTENER_OF_TLS = {Tls.OFF: "plain", Tls.STARTTLS: "imap", Tls.IMPLICIT: "imaps"}


def pytest_configure() -> None:
    raise_file_limit()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_root():
        return
    left_out = [item for item in items if item.get_closest_marker("root")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    folder = private_dir("session")
    yield folder
    remove_dir(folder)


@pytest.fixture(scope="session")
def authority(session_folder: Path) -> Authority:
    """Whom usher's clients and usher itself trust."""
    return Authority(session_folder / "ca")


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """Usher's own, as its clients see it."""
    return authority.issue("front", "localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def backend_certificate(authority: Authority) -> Certificate:
    """Of a backend whose tls_name is BACKEND_NAME."""
    return authority.issue("backend", BACKEND_NAME)


@pytest.fixture(scope="session")
def cyrus_tree() -> Path:
    """Cyrus' programs; fetched once for all runs."""
    return cyrus.fetch(TOP / "build/peers")


@pytest.fixture(scope="session")
def courier_tree() -> Path:
    """Courier's programs; fetched once for all runs."""
    return courier.fetch(TOP / "build/peers")


@pytest.fixture(scope="session")
def nginx_tree() -> Path:
    """nginx' program and modules; fetched once for all runs."""
    return nginx.fetch(TOP / "build/peers")


@pytest.fixture(scope="session")
def exim_tree() -> Path:
    """Exim's program; fetched once for all runs."""
    return exim.fetch(TOP / "build/peers")


@pytest.fixture(scope="session")
def imapflow_tree() -> Path:
    """The folder of imapflow's node_modules; fetched once for all runs."""
    return imapflow.fetch(TOP / "build/peers")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, open to every account; gone after the test."""
    path = private_dir("test")
    yield path
    remove_dir(path)


@pytest.fixture
def stack(folder: Path) -> Iterator[ExitStack]:
    """What is entered here ends with the test, the last first."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def start_dovecot(stack: ExitStack, folder: Path) -> Callable[..., Dovecot]:
    """Starts a Dovecot by a name; options are Dovecot's."""

    def start(name: str, **options) -> Dovecot:
        wanted = {"address": free_address(), "users": USERS, **options}
        return stack.enter_context(Dovecot(folder / name, name=name, **wanted))

    return start


@pytest.fixture
def start_cyrus(stack: ExitStack, folder: Path, cyrus_tree: Path) -> Callable[..., Cyrus]:
    """Starts a Cyrus; options are Cyrus'."""

    def start(**options) -> Cyrus:
        wanted = {"address": free_address(), "users": USERS, **options}
        return stack.enter_context(Cyrus(cyrus_tree, folder / "cyrus", **wanted))

    return start


@pytest.fixture
def start_courier(stack: ExitStack, courier_tree: Path) -> Callable[..., Courier]:
    """Starts a Courier, for tests that only root runs; options are Courier's."""

    def start(**options) -> Courier:
        wanted = {"address": free_address(), "users": USERS, **options}
        return stack.enter_context(Courier(courier_tree, **wanted))

    return start


@pytest.fixture
def start_nginx(
    stack: ExitStack, folder: Path, nginx_tree: Path
) -> Callable[[Mapping[int, Service]], Nginx]:
    """Starts an nginx with what its ports have; options are Nginx'."""

    def start(services: Mapping[int, Service], **options) -> Nginx:
        wanted = {"address": free_address(*services), **options}
        return stack.enter_context(Nginx(nginx_tree, folder / "nginx", services=services, **wanted))

    return start


@pytest.fixture
def start_exim(stack: ExitStack, folder: Path, exim_tree: Path) -> Callable[..., Exim]:
    """Starts an Exim on the port of mail, or one that needs no rights; options are Exim's."""

    def start(**options) -> Exim:
        port = 25 if is_root() else 10025
        wanted = {"address": free_address(port), "port": port, **options}
        return stack.enter_context(Exim(exim_tree, folder / "exim", **wanted))

    return start


@pytest.fixture
def start_scripted(stack: ExitStack) -> Callable[..., ScriptedServer]:
    """Starts a scripted server; options are ScriptedServer's."""

    def start(script: Script, **options) -> ScriptedServer:
        return stack.enter_context(ScriptedServer(script, **options))

    return start


@pytest.fixture
def start_usher(stack: ExitStack, folder: Path, certificate: Certificate) -> Callable[..., Usher]:
    """Starts an usher in front of backends, given by name in one pool `main`, or as `pools`.

    A backend is a Backend, or anything with an `endpoint`. It has LISTENERS unless told
    otherwise, and stops with the test, which fails if it does not stop cleanly. A second one
    needs a `place` of its own.
    """

    def start(
        backends: Mapping[str, object] | None = None,
        *,
        pools: Mapping[str, Mapping[str, object]] | None = None,
        account: struct_passwd | None = None,
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        place: Path = folder,
        **settings,
    ) -> Usher:
        shown = settings.pop("certificate", certificate)
        text = configure(place, shown, pools or {"main": backends or {}}, **settings)
        return stack.enter_context(Usher(place, text, account=account, env=env, prefix=prefix))

    return start


def configure(
    folder: Path, certificate: Certificate, pools: Mapping[str, Mapping[str, object]], **settings
) -> str:
    """The text of a configuration with LISTENERS and the state in `folder`."""
    usual = {"listeners": LISTENERS, "certificate": certificate, "login_timeout": "20s"}
    return configuration(
        folder / "state",
        {
            pool: {
                name: given if isinstance(given, Backend) else Backend(given.endpoint)
                for name, given in backends.items()
            }
            for pool, backends in pools.items()
        },
        **{**usual, **settings},
    )


@pytest.fixture
def start_front(
    start_usher: Callable[..., Usher],
    start_scripted: Callable[..., ScriptedServer],
    authority: Authority,
    backend_certificate: Certificate,
) -> Callable[..., Front]:
    """Starts a Front whose backend follows a script; options are Backend's, but for the context of
    TLS, by which the backend shows another certificate than the right one."""

    def start(
        script: Script, *, tls: Tls = Tls.OFF, context: ssl.SSLContext | None = None, **options
    ) -> Front:
        wanted = {}
        if tls is not Tls.OFF:
            context = context or context_of(backend_certificate)
            wanted = {"tls_ca": authority.certificate, "tls_name": BACKEND_NAME}
        server = start_scripted(script, context=context)
        backend = Backend(server.endpoint, tls=tls, **{**wanted, **options})
        usher = start_usher(
            pools={"main": {"mail1": backend}, "good": {"mail2": start_scripted(answering())}},
            listeners={"plain": Listener(pool="main"), "good": Listener(pool="good")},
            workers="1",
            connect_timeout="1s",
            backend_login_timeout=f"{BACKEND_LOGIN_TIMEOUT_S}s",
            # What AddressSanitizer keeps of freed memory would look like growth.
            env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"},
        )
        return Front(usher, server)

    return start


@pytest.fixture
def account_at(authority: Authority) -> Callable[..., Account]:
    """How a mail program logs in at an usher, by one of LISTENERS; options are Account's."""

    def account(usher: Usher, tls: Tls = Tls.OFF, user: str = "ann", **options) -> Account:
        wanted = {"password": USERS[user], "ca": authority.certificate, **options}
        return Account(usher.port(LISTENER_OF_TLS[tls]), tls, user=user, **wanted)

    return account
