#!/usr/bin/python3
"""Good logins beside thousands of slow clients: usher, nginx and Dovecot as proxies, in one run.

    tests/bench/slow_clients.py [--slow 10000] [--logins 600] [--rounds 3] [--only NAME ...]

Half of the slow clients send a LOGIN command one byte at a time, the others stay in the middle of
a TLS handshake. For each proxy the time of a good login, from connecting to the OK, is measured
without and with them, in turns. Absolute figures say more of the machine than of the proxies;
what counts is a proxy's own ratio, loaded to unloaded.

Needs, beside what the tests need: Debian's nginx-core and libnginx-mod-mail, and dovecot-imapd.
usher is build/usher (tools/build.sh release), or what USHER_BIN names. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tools"))

from peers.certs import Authority, Tls  # noqa: E402
from peers.fakebackend import PASSWORD, FakeBackend  # noqa: E402
from peers.process import Process, free_address, is_root, private_dir, remove_dir, wait_until  # noqa: E402
from peers.rawimap import RawImap  # noqa: E402
from peers.usher import Backend, Listener, Usher, configuration  # noqa: E402

CLEAR, IMPLICIT = 14143, 14993
LONG = "600"
# The beginning of a TLS record that will be 512 bytes long.
HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
COMMAND = b'a LOGIN "somebody-with-a-long-name@example.org" "' + b"x" * 2000
TICK_S = 5

NGINX = """
load_module /usr/lib/nginx/modules/ngx_mail_module.so;
daemon off;
user nobody nogroup;
worker_processes 2;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log error;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fast;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:8080;
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server {backend};
            add_header Auth-Port 10143;
            return 204;
        }}
    }}
}}
mail {{
    auth_http {address}:8080/;
    timeout {long}s;
    proxy_timeout {long}s;
    imap_capabilities IMAP4rev1 SASL-IR;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    server {{ listen {address}:{clear}; protocol imap; }}
    server {{ listen {address}:{implicit} ssl; protocol imap; }}
}}
"""

DOVECOT = """
protocols = imap
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
listen = {address}
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
default_vsz_limit = 0
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
passdb {{
  driver = static
  args = nopassword=y proxy=y host={backend} port=10143 pass=%w
}}
service imap-login {{
  chroot =
  service_count = 0
  process_min_avail = 2
  process_limit = 2
  client_limit = 16000
  inet_listener imap {{
    port = {clear}
  }}
  inet_listener imaps {{
    port = {implicit}
    ssl = yes
  }}
}}
service auth {{
  client_limit = 40000
}}
service anvil {{
  chroot =
  client_limit = 40000
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""


def start_usher(stack: ExitStack, folder: Path, address: str, backend: FakeBackend, certificate) -> list[int]:
    os.environ.setdefault("USHER_BIN", str(TOP / "build/usher"))
    text = configuration(
        folder / "state",
        {"main": {"b1": Backend(backend.endpoint)}},
        listeners={
            "clear": Listener(address=f"{address}:{CLEAR}"),
            "implicit": Listener(address=f"{address}:{IMPLICIT}", tls=Tls.IMPLICIT),
        },
        certificate=certificate,
        max_sessions=30000,
        login_timeout=f"{LONG}s",
        handshake_timeout="5m",
    )
    usher = stack.enter_context(Usher(folder, text))
    return usher.worker_pids()


def start_nginx(stack: ExitStack, folder: Path, address: str, backend: FakeBackend, certificate) -> list[int]:
    config = folder / "nginx.conf"
    config.write_text(
        NGINX.format(
            folder=folder, address=address, backend=backend.address, long=LONG, clear=CLEAR,
            implicit=IMPLICIT, certificate=certificate.certificate, key=certificate.key,
        )
    )
    process = Process(["/usr/sbin/nginx", "-e", folder / "first.log", "-c", config])
    stack.callback(process.stop)
    return children(process)


def start_dovecot(stack: ExitStack, folder: Path, address: str, backend: FakeBackend, certificate) -> list[int]:
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT.format(
            folder=folder, address=address, backend=backend.address, clear=CLEAR,
            implicit=IMPLICIT, certificate=certificate.certificate, key=certificate.key,
        )
    )
    process = Process(["/usr/sbin/dovecot", "-F", "-c", config])
    stack.callback(process.stop)
    return children(process)


def children(process: Process) -> list[int]:
    def found() -> list[int]:
        out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
        return [int(pid) for pid in out.stdout.split()]

    return wait_until(found, 10, "the proxy's processes start")


PROXIES = {"usher": start_usher, "nginx": start_nginx, "dovecot": start_dovecot}


class SlowClients:
    """Half of them dribble a command, half are stuck in a handshake; in a process of their own."""

    def __init__(self, address: str, count: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-B", __file__, "--hold", address, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout.readline() == "held\n"

    def alive(self) -> int:
        """Ends them; how many connections the proxy had not ended."""
        self.process.stdin.close()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdout.close()
        self.process.wait()


def hold(address: str, count: int) -> None:
    """The slow clients' process: says "held", and when its input ends how many are left."""
    clients: list[socket.socket] = []
    for number in range(count):
        is_stuck = number % 2 == 1
        client = socket.socket()
        # Ports of one address are too few for all proxies' clients.
        client.bind((f"127.99.{number % 7}.1", 0))
        client.connect((address, IMPLICIT if is_stuck else CLEAR))
        if is_stuck:
            client.sendall(HELLO_BEGUN)
        client.setblocking(False)
        clients.append(client)
    print("held", flush=True)
    dribbling = clients[::2]
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    at = 0
    while not over.is_set():
        # Evenly over the time: a burst of thousands would measure this process, not the proxy.
        for first in range(0, len(dribbling), 10):
            for client in dribbling[first : first + 10]:
                with contextlib.suppress(OSError):
                    client.send(COMMAND[at : at + 1])
            if over.wait(TICK_S / (len(dribbling) / 10)):
                break
        at += 1
    alive = 0
    for client in clients:
        try:
            while client.recv(4096):
                pass
        except BlockingIOError:
            alive += 1
        except OSError:
            pass
    print(alive, flush=True)


def logins(address: str, count: int) -> list[float]:
    """Milliseconds of each."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        with RawImap(address, CLEAR) as imap:
            assert imap.login("ann", PASSWORD).status == "OK"
            took.append((time.perf_counter() - began) * 1000)
            imap.reset()
    return took


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def rss_kib(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty:"):
                total += int(line.split()[1])
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=int, default=10000)
    parser.add_argument("--logins", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PROXIES)
    parser.add_argument("--hold", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not is_root():
        sys.exit("slow_clients.py: nginx and Dovecot want root to become other users")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if args.hold:
        hold(args.hold[0], int(args.hold[1]))
        return
    print(f"{'':8} {'':>6} {'logins: p50':>12} {'p99':>8}   {'slow: p50':>10} {'p99':>8}   {'p99 ratio':>9} {'held':>6} {'KiB/slow':>9}")
    for round_number in range(args.rounds):
        for name in args.only or PROXIES:
            folder = private_dir(f"slow-{name}")
            with ExitStack() as stack:
                stack.callback(remove_dir, folder)
                backend = stack.enter_context(FakeBackend())
                certificate = Authority(folder / "ca").issue("front", "localhost", "127.0.0.1")
                address = free_address(CLEAR, IMPLICIT, 8080)
                pids = PROXIES[name](stack, folder, address, backend, certificate)
                wait_until(lambda at=address: logins_work(at), 15, f"{name} serves")
                logins(address, 50)
                free = logins(address, args.logins)
                before = rss_kib(pids)
                slow = SlowClients(address, args.slow)
                stack.callback(slow.close)
                time.sleep(TICK_S)
                loaded = logins(address, args.logins)
                after = rss_kib(pids)
                held = slow.alive()
                each = (after - before) / max(1, held)
                print(
                    f"{name:8} {round_number + 1:>6} {statistics.median(free):12.2f} {p99(free):8.2f}   "
                    f"{statistics.median(loaded):10.2f} {p99(loaded):8.2f}   {p99(loaded) / p99(free):9.2f} "
                    f"{held:6} {each:9.1f}",
                    flush=True,
                )


def logins_work(address: str) -> bool:
    try:
        return len(logins(address, 1)) == 1
    except (OSError, AssertionError):
        return False


if __name__ == "__main__":
    main()
