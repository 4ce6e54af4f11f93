"""Everything at once: backends that fall ill and recover, directories that lie, processes that are
killed, operators who steer, and clients who come and go meanwhile. What must hold, holds.

A run prints its seed. CHAOS_SEED in the environment repeats it, as far as time allows; CHAOS_LOG
names a file for the log of usher.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from chaos import LOGIN_TIMEOUT_S, Crowd, Door, Notes, Person, Resident, fault_of
from peers.certs import Tls
from peers.fakebackend import PASSWORD
from peers.greeting import unverified_context
from peers.process import rss_kib, signal_each
from peers.socketmap import SocketMap, netstring
from peers.usher import Backend, Listener, Usher
from watched import Mood, Watched

OWN = ("own1", "own2", "own3")
SHARED = ("sh1", "sh2", "sh3", "spare")
SEEK = ("seek1", "seek2", "seek3")
PROBE = "probe"
CLIENTS = 150
GUESSERS = 6
# How long everybody may take to be in when all is well again.
QUIET_S = 30
GROWTH_MOST_KIB = 4 << 10
# What any process may have more than in the quiet before: a connection of the door or of lookup's.
DESCRIPTORS_MORE = 2

LIES = ("OK pool=nowhere", "OK poool=x", "TEMP busy", "PERM no", "OK disabled=yes", "OK backend=sh2")

CHECKS = {
    "check": "greeting",
    "check_interval": "300ms",
    "check_fast_interval": "100ms",
    "check_timeout": "500ms",
    "queue_timeout": "2s",
}


def hashed(password: str) -> str:
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    return crypt(password.encode(), b"$5$rounds=1000$saltsalt$").decode()


def home_of(user: str) -> str:
    """place = try: who knows whom."""
    return SEEK[sum(user.encode()) % len(SEEK)]


def make_cast() -> list[Person]:
    """Those of own storage, two of whom may be moved; of shared storage, some of whom a map sends
    or turns away, and some a server; those who are looked for; those whose password usher
    verifies."""
    return [
        *(Person(f"own{n}", "own", may_move=n < 6) for n in range(24)),
        *(Person(f"sh{n}", "shared") for n in range(24)),
        *(Person(f"mapped{n}", "shared") for n in range(6)),
        *(Person(f"moody{n}", "shared", may_be_disabled=True) for n in range(4)),
        *(Person(f"asked{n}", "shared", may_be_disabled=True) for n in range(6)),
        *(Person(f"seek{n}", "seek") for n in range(18)),
        *(Person(f"ver{n}", "shared", f"mine-{n}" if n % 2 else PASSWORD) for n in range(6)),
    ]


class Maps:
    """The file of users, written anew or in place, and the server that is asked behind it."""

    def __init__(self, folder: Path, server: SocketMap, named: Sequence[str]) -> None:
        self.named = named  # the backends that directories name
        self.path = folder / "users.map"
        self.server = server
        self.hashes = [hashed(f"mine-{n}" if n % 2 else PASSWORD) for n in range(6)]
        self.write(random.Random(0), is_kind=True)

    def lines(self, draw: random.Random, is_wrong: bool = False, is_kind: bool = False) -> list[str]:
        lines = [f"mapped{n} backend={draw.choice(self.named)}" for n in range(6)]
        lines += [f"moody{n} disabled={'no' if is_kind else draw.choice(('yes', 'no'))}" for n in range(4)]
        for n, text in enumerate(self.hashes):
            lines.append(f"ver{n} password_hash={text}" + (f" backend_password={PASSWORD}" if n % 2 else ""))
        # Nobody asks the server about those whom it cannot know better than we.
        lines += ["~^own pool=own", "~^seek pool=seek", "~^sh[0-9] tag=common"]
        if is_wrong:
            lines.append("moody1 disabled=yes disabled=no")
        draw.shuffle(lines)
        return lines

    def write(self, draw: random.Random, **how: bool) -> None:
        text = "\n".join(self.lines(draw, **how)) + "\n"
        if draw.random() < 0.5 and self.path.exists():
            self.path.write_text(text)
            return
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.path)

    def lie(self, draw: random.Random) -> None:
        """The server falls ill, or changes its mind."""
        server = self.server
        way = draw.randrange(8)
        if way == 0:
            server.hang()
        elif way == 1:
            server.stop()
        elif way == 2:
            server.delay_s = draw.choice((0.2, 0.6, 1.5))
        elif way == 3:
            server.says = netstring(draw.choice(LIES))
        elif way == 4:
            server.says = draw.choice((b"17:OK pool=ma", b"garbage\r\n", b"", b"99999999999:x,"))
        elif way == 5:
            server.close_connections()
        else:
            server.answers = {f"asked{n}": f"backend={draw.choice(self.named)}" for n in range(6)}

    def heal(self) -> None:
        self.server.says = None
        self.server.delay_s = 0.0
        self.server.release()
        self.server.close_connections()
        self.server.stop()
        self.server.start()


class Play:
    """One usher with all that it has around it."""

    def __init__(self, usher: Usher, worlds: list[Watched], maps: Maps, folder: Path, seed: str) -> None:
        self.usher = usher
        self.worlds = worlds
        self.maps = maps
        self.seed = seed
        self.door = Door(folder / "state/ctl")
        self.cast = make_cast()
        self.notes = Notes()
        self.killed: list[int] = []
        self.kills_n: Counter[str] = Counter()
        self.deaths: list[float] = []  # of workers
        self.is_killing = True
        self.may_rest = False  # backends, as logins there have failed
        self.audited = 0
        self.crowd = Crowd(
            {name: usher.port(name) for name in ("own", "shared", "seek", "imaps")},
            self.cast,
            self.notes,
            context=unverified_context(),
        )

    # --- what goes wrong ---

    def world_of(self, name: str) -> Watched:
        return next(world for world in self.worlds if name in world.backends)

    def spoil(self, draw: random.Random) -> None:
        """A backend falls ill, or gets well."""
        name = draw.choice(OWN + SHARED[:3] + SEEK + SHARED[:3])
        world = self.world_of(name)
        way = draw.randrange(10)
        if way == 0:
            world.shut(name)
        elif way == 1:
            world.feel(name, Mood(is_frozen=True))
        elif way == 2:
            world.feel(name, Mood(delay_s=draw.choice((0.05, 0.3, 1.0))))
        elif way == 3:
            world.feel(name, Mood(refuses=True))
        elif way == 4:
            world.feel(name, Mood(drops=True))
        elif way == 5:
            world.feel(name, Mood(hangs=True))
        elif way == 6:
            world.feel(name, Mood(breaks=True))
        else:
            world.reopen(name)
            world.feel(name, Mood())

    async def steer(self, draw: random.Random) -> None:
        shared = draw.choice([p.name for p in self.cast if p.listener == "shared"])
        anybody = draw.choice(self.cast).name
        backend = draw.choice(OWN + SHARED + SEEK)
        mover = draw.choice([p.name for p in self.cast if p.may_move])
        requests = (
            lambda: self.door.ask("move", user=shared, backend=draw.choice(SHARED)),
            lambda: self.door.ask("move", user=mover, backend=draw.choice(OWN)),
            lambda: self.door.ask(
                "move", **{"from": draw.choice(SHARED), "to": draw.choice(SHARED), "rate": "50"}
            ),
            lambda: self.door.ask("kick", user=anybody),
            lambda: self.door.ask("kick", backend=backend, rate="30"),
            lambda: self.door.ask("pin", user=shared, backend=draw.choice(SHARED)),
            lambda: self.door.ask("unpin", user=shared),
            lambda: self.door.ask("hold", user=anybody),
            lambda: self.door.ask("release", user=anybody),
            lambda: self.door.ask("backend drain", backend=backend),
            lambda: self.door.ask("backend down", backend=backend),
            lambda: self.door.ask("backend up", backend=backend),
            lambda: self.door.ask("backend up", backend=backend),
            lambda: self.door.ask("flush", user=shared),
            lambda: self.door.ask("flush", backend=draw.choice(SHARED)),
            lambda: self.door.ask("directory flush"),
            lambda: self.door.ask("directory lookup", user=anybody),
            lambda: self.door.ask("route", user=anybody),
            lambda: self.door.ask("sessions"),
            lambda: self.door.ask("users"),
            lambda: self.door.ask("status"),
        )
        try:
            await draw.choice(requests)()
        except OSError:
            self.notes.outcomes["nobody at the door"] += 1

    def kill(self, draw: random.Random) -> None:
        role = draw.choice(("control", "control", "lookup", "worker"))
        if not self.is_killing or self.kills_n[role] >= 4:
            return
        pid = self.usher.pid(role, draw.randrange(2) if role == "worker" else None)
        if pid in self.killed:
            return
        self.kills_n[role] += 1
        self.killed.append(pid)
        if role == "worker":
            self.deaths.append(time.monotonic())
        os.kill(pid, signal.SIGKILL)

    async def pause(self, draw: random.Random) -> None:
        """A process hangs for a while."""
        role = draw.choice(("control", "lookup", "worker"))
        pid = self.usher.pid(role, draw.randrange(2) if role == "worker" else None)
        signal_each([pid], signal.SIGSTOP)
        await asyncio.sleep(draw.uniform(0, 1.5))
        signal_each([pid], signal.SIGCONT)

    async def storm(self, seconds: float, draw: random.Random) -> None:
        self.crowd.is_storm = True
        players = [self.crowd.roam] * CLIENTS + [self.crowd.guess] * GUESSERS
        clients = [asyncio.create_task(play(random.Random(draw.random()))) for play in players]
        asks: set[asyncio.Task[None]] = set()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            what = draw.random()
            if what < 0.35:
                self.spoil(draw)
            elif what < 0.8:
                asks.add(asyncio.create_task(self.steer(random.Random(draw.random()))))
            elif what < 0.88:
                self.maps.write(draw, is_wrong=draw.random() < 0.2)
            elif what < 0.94:
                self.maps.lie(draw)
            elif what < 0.96:
                self.usher.process.send_signal(signal.SIGHUP)
            elif what < 0.97:
                asks.add(asyncio.create_task(self.pause(random.Random(draw.random()))))
            else:
                self.kill(draw)
            await asyncio.sleep(draw.uniform(0, 0.15))
        await self.heal(draw)
        self.crowd.is_storm = False
        await asyncio.gather(*asks)
        await asyncio.gather(*clients)
        self.kills_n.clear()

    # --- calm ---

    async def insist(self, *words: str, **named: str) -> tuple[dict, list[dict]]:
        """The answer, of a control that may still have to come."""
        until = time.monotonic() + QUIET_S
        while True:
            try:
                return await self.door.ask(*words, **named)
            except OSError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(0.05)

    async def heal(self, draw: random.Random) -> None:
        for world in self.worlds:
            for name in world.backends:
                world.reopen(name)
                world.feel(name, Mood())
        self.maps.heal()
        self.maps.write(draw, is_kind=True)
        for name in OWN + SHARED + SEEK:
            await self.insist("backend up", backend=name)
        for row in (await self.insist("pins"))[1]:
            if row["held"]:
                await self.insist("release", user=row["user"])
            if row["pin"] and self.may_rest:
                await self.insist("unpin", user=row["user"])

    async def until(self, what: Callable[[], Awaitable[str]], seconds: float) -> float:
        """Waits until it finds nothing wrong; how long that took."""
        began = time.monotonic()
        while wrong := await what():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"after {seconds} s of calm: {wrong}")
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def what_is_busy(self, residents: list[Resident]) -> str:
        """In what usher's counts differ from those of its clients and backends."""
        status, _ = await self.insist("status")
        out = [f"{r.person.name} ({r.last})" for r in residents if not r.is_in]
        if out:
            return f"not in: {', '.join(out)}"
        waiting = ("logins", "held", "delayed", "queued", "moves", "kicks")
        wanted = {
            "recovered": True,
            "unhealthy": status["unhealthy"] if self.may_rest else [],
            "sessions": len(residents),
            "users": len({r.person.name for r in residents}),
            "workers": 2,
            **dict.fromkeys(waiting, 0),
        }
        differing = {key: status[key] for key, value in wanted.items() if status[key] != value}
        for row in status["backends"]:
            have = (row["sessions"], row["connecting"], row["queued"], row["state"])
            want = (self.world_of(row["backend"]).count(row["backend"]), 0, 0, "up")
            if have != want:
                differing[row["backend"]] = (have, want)
        for row in (await self.insist("users"))[1]:
            homes = self.world_of(row["backend"]).homes(row["user"]) if row["backend"] else None
            if homes != {row["backend"]} or row["sessions"] != 1:
                differing[row["user"]] = (row, homes)
        return str(differing) if differing else ""

    async def reside(self, draw: random.Random) -> float:
        """Everybody comes, and is in; how long that took."""
        residents = [Resident(self.crowd, person, random.Random(draw.random())) for person in self.cast]
        lives = [asyncio.create_task(resident.live()) for resident in residents]
        try:
            took = await self.until(lambda: self.what_is_busy(residents), QUIET_S)
        finally:
            for life in lives:
                life.cancel()
            for ended in await asyncio.gather(*lives, return_exceptions=True):
                if not isinstance(ended, asyncio.CancelledError):
                    raise ended
        await self.until(lambda: self.what_is_busy([]), QUIET_S)
        return took

    # --- what must hold ---

    def audit(self) -> None:
        notes, usher = self.notes, self.usher
        for world in self.worlds:
            notes.faults += [f"on two backends: {overlap}" for overlap in world.overlaps]
            world.overlaps.clear()
        movers = {person.name for person in self.cast if person.may_move}
        shown: dict[str, set[str]] = {}
        for event in usher.find("login"):
            shown.setdefault(event["user"], set()).add(event["backend"])
        for user, stores in shown.items():
            if user.startswith("own") and user not in movers and len(stores) > 1:
                notes.fault(f"{user} was shown several stores: {stores}")
            if user.startswith("seek") and stores != {home_of(user)}:
                notes.fault(f"{user} was shown a foreign store: {stores}")
        self.audit_log()
        assert not notes.faults, "\n".join([*notes.faults, *usher.lines[-200:], f"CHAOS_SEED={self.seed}"])

    def audit_log(self) -> None:
        usher, notes = self.usher, self.notes
        for name in ("crashed", "sandbox_violation", "process_stuck", "fatal", "listener_broken"):
            notes.faults += [f"{name}: {event.fields}" for event in usher.find(name)]
        notes.faults += [f"state_failed: {event.fields}" for event in usher.find("state_failed")]
        for event in usher.find("process_ended"):
            if int(event["pid"]) not in self.killed or event.get("signal") != str(int(signal.SIGKILL)):
                notes.fault(f"process_ended: {event.fields}")
        ends: dict[str, list[str]] = {}
        for event in usher.find("session_end"):
            ends.setdefault(event["client"].rpartition(":")[0], []).append(event["reason"])
        for visit in notes.visits[self.audited :]:
            wrong = fault_of(visit, ends.get(visit.address, []), self.deaths)
            if wrong:
                notes.fault(f"{wrong}: {visit}")
        self.audited = len(notes.visits)

    def pids(self) -> dict[str, int]:
        usher = self.usher
        workers = {f"worker {slot}": usher.pid("worker", slot) for slot in range(2)}
        return {
            "parent": usher.process.pid,
            "control": usher.pid("control"),
            "lookup": usher.pid("lookup"),
            **workers,
        }

    def descriptors(self) -> dict[str, int]:
        return {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in self.pids().items()}


def start(start_usher, stack, folder: Path, seed: str) -> Play:
    draw = random.Random(f"{seed}/configuration")
    checks = {**CHECKS, "check_fall": draw.choice(("1", "2", "3")), "slow_start": draw.choice(("0s", "1s"))}
    worlds = [
        stack.enter_context(Watched(OWN)),
        stack.enter_context(Watched(SHARED, unwatched=(PROBE,))),
        stack.enter_context(Watched(SEEK, home_of=home_of)),
    ]
    server = stack.enter_context(SocketMap())
    passive_fall = draw.choice(("0", "0", "6"))
    maps = Maps(folder, server, SHARED[:3] if passive_fall == "0" else SHARED[3:])
    password = folder / "probe"
    password.write_text(PASSWORD)
    limits = {
        "max_sessions": 50,
        "max_connecting": draw.choice((3, 8, 50)),
        "login_rate": draw.choice((0, 40, 150)),
    }
    pools = {
        name: {
            title: Backend(end.endpoint, backup=title == "spare", **(limits if title != "spare" else {}))
            for title, end in world.backends.items()
        }
        for name, world in zip(("own", "shared", "seek"), worlds)
    }
    shared = {
        **checks,
        "storage": "shared",
        "check": "login",
        "check_user": PROBE,
        "check_password": password,
        "tags": ["common"],
        "return_rate": draw.choice(("0", "30")),
        "on_down": draw.choice(("kick", "kick", "keep")),
        "passive_fall": passive_fall,
    }
    usher = start_usher(
        pools=pools,
        listeners={
            **{name: Listener(pool=name) for name in pools},
            "imaps": Listener(pool="shared", tls=Tls.IMPLICIT),
        },
        pool_settings={
            "own": {**checks, "passive_fall": "0"},
            "shared": shared,
            "seek": {**checks, "place": "try", "try_rate": "60", "passive_fall": "0"},
        },
        directories={
            "map": {"driver": "file", "path": maps.path},
            "server": {
                "driver": "socketmap",
                "address": server.endpoint,
                "cache_time": "500ms",
                "cache_unknown_time": "500ms",
                "cache_stale_time": draw.choice(("1s", "1h")),
            },
        },
        login_timeout=f"{LOGIN_TIMEOUT_S}s",
        login_tries="4",
        connect_timeout="500ms",
        backend_login_timeout="1500ms",
        directory_timeout="800ms",
        hold_timeout="2s",
        kick_grace=draw.choice(("0s", "100ms", "500ms")),
        user_expire=draw.choice(("1s", "3s")),
        max_logins=draw.choice(("60", "1000")),
        max_sessions_per_user="8",
        penalty_exempt=["127.100.0.0/14"],
        penalty_delay="1s",
        env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"},
    )
    play = Play(usher, worlds, maps, folder, seed)
    play.may_rest = passive_fall != "0"
    return play


async def perform(play: Play, rounds: int, seconds: float) -> None:
    draw = random.Random(play.seed)
    await play.reside(draw)
    descriptors = play.descriptors()
    for number in range(rounds):
        # Memory is compared where nobody was replaced.
        play.is_killing = number % 2 == 0
        before = {name: (pid, rss_kib(pid)) for name, pid in play.pids().items()}
        await play.storm(seconds, draw)
        took = await play.reside(draw)
        play.audit()
        print(f"round {number}: calm after {took:.1f} s, slowest login {play.notes.slowest_s:.1f} s")
        for name, n in play.descriptors().items():
            assert n <= descriptors[name] + DESCRIPTORS_MORE, (name, n, descriptors)
        for name, (pid, rss) in before.items():
            if pid != play.pids()[name] or number < 2:
                continue
            grown = rss_kib(pid) - rss
            print(f"  {name} grew by {grown} KiB")
            assert grown < GROWTH_MOST_KIB, (name, grown)


def run(start_usher, stack, folder: Path, seed: str, rounds: int, seconds: float) -> Play:
    print(f"CHAOS_SEED={seed}")
    play = start(start_usher, stack, folder, seed)
    try:
        asyncio.run(perform(play, rounds, seconds))
        play.usher.stop()
    finally:
        log = Path(os.environ.get("CHAOS_LOG", os.devnull))
        log.write_text("\n".join(play.usher.lines))
        print(play.notes.outcomes)
    play.audit_log()
    assert not play.notes.faults
    return play


@pytest.mark.long
def test_a_short_storm(start_usher, stack, folder):
    run(start_usher, stack, folder, os.environ.get("CHAOS_SEED", "1"), rounds=2, seconds=3)


@pytest.mark.long
def test_a_long_storm(start_usher, stack, folder):
    seed = os.environ.get("CHAOS_SEED") or str(random.SystemRandom().randrange(1 << 32))
    play = run(start_usher, stack, folder, seed, rounds=6, seconds=10)
    # It was a storm.
    assert len(play.killed) > 2
    for told in ("right OK CAPABILITY", "wrong NO AUTHENTICATIONFAILED", "right NO UNAVAILABLE", "right NO INUSE"):
        assert play.notes.outcomes[told] > 10, play.notes.outcomes
    ends = Counter(event["reason"] for event in play.usher.find("session_end"))
    assert all(ends[reason] > 0 for reason in ("kicked", "moved", "client_reset", "backend_closed")), ends
