"""Deaths, hangs and signals in the middle of a reload or an upgrade: it happens whole or not at all, whoever
is not killed goes on, and nothing is left over."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest
from changing import Changing, log_in
from conftest import LISTENERS
from ctl import BINARY, steer
from peers.fakebackend import FakeBackend
from peers.process import is_alive, stat_fields, wait_until
from peers.program import Installed
from peers.usher import Listener, Usher

# The parent, control, lookup, two workers.
ALL = 5

# So often a process has to be seen asleep to have nothing more to do.
ASLEEP = 20

# KiB that memory in use may differ by.
SPREAD = 4096

# A sanitizer's own memory grows; what is lost it tells itself.
IS_SANITIZED = b"__asan_init" in BINARY.read_bytes()


@pytest.fixture
def installed(folder) -> Installed:
    return Installed(folder, BINARY)


@pytest.fixture
def fakes(stack) -> list[FakeBackend]:
    return [stack.enter_context(FakeBackend(f"mail{number}")) for number in (1, 2)]


@pytest.fixture
def start(stack, folder, certificate, fakes, installed) -> Callable[..., Changing]:
    """Starts the first release before both backends, unless told otherwise; settings are Changing's."""

    def start(**settings) -> Changing:
        usual = {"pools": {"main": {fake.name: fake for fake in fakes}}, "listeners": {"plain": Listener()}}
        usual["certificate"] = certificate
        # What was freed shall not count as memory that is in use.
        frugal = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}
        options = {"binary": installed.path, "env": frugal}
        return Changing(stack, folder, **{**usual, **settings}, usher=options)

    return start


def state_of(pid: int) -> str:
    """As in /proc/PID/stat; "" when there is no such process."""
    fields = stat_fields(pid)
    return fields[0] if fields else ""


def wait_idle(*pids: int) -> None:
    """Until they have done all that they could, or have ended."""
    seen: Counter[int] = Counter()

    def are_idle() -> bool:
        for pid in pids:
            seen[pid] = seen[pid] + 1 if state_of(pid) in ("S", "") else 0
        return all(seen[pid] >= ASLEEP for pid in pids)

    wait_until(are_idle, 20, f"{pids} sleep")


def wait_stopped(pid: int) -> None:
    wait_until(lambda: state_of(pid) == "T", 10, f"{pid} is stopped")


def settled(changing: Changing) -> int:
    """Waits until those that shall serve do, and nobody else is there; how many descriptors the parent has."""
    usher = changing.usher
    wait_until(lambda: len(usher.process_ids()) == ALL, 30, "five processes are left")
    wait_until(lambda: count_workers(changing) == 2, 30, "both workers are there")
    mark = usher.mark()
    log_in(usher, "zoe").close()
    usher.wait_event("session_end", after=mark, user="zoe")
    wait_idle(*usher.worker_pids())
    parent = usher.process.pid
    wait_until(lambda: not zombies(parent), 10, "no zombies")
    return len(os.listdir(f"/proc/{parent}/fd"))


def count_workers(changing: Changing) -> int:
    """Those of the last generation; 0 where the control that was asked hung, and was ended for it."""
    return sum(not row["retired"] for row in changing.ask("workers").rows)


def zombies(parent: int) -> list[int]:
    with open(f"/proc/{parent}/task/{parent}/children") as children:
        return [pid for pid in map(int, children.read().split()) if state_of(pid) == "Z"]


def begin(changing: Changing, number: int = signal.SIGHUP) -> int:
    """Asks for a new generation; how many events there were before."""
    mark = changing.usher.mark()
    changing.count += 1
    changing.write(idle_timeout=f"{31 + changing.count % 7}m")
    changing.usher.process.send_signal(number)
    return mark


def stop_late_worker(changing: Changing, number: int) -> tuple[int, int]:
    """Begins a change, and stops a candidate before it is ready. Where it began, and who it is."""
    usher = changing.usher
    for _ in range(20):
        mark = begin(changing, number)
        pid = int(usher.wait_event("process_started", after=mark, role="worker", slot=1)["pid"])
        os.kill(pid, signal.SIGSTOP)
        wait_stopped(pid)
        others = [int(event["pid"]) for event in usher.find("process_started", after=mark)]
        wait_idle(*(other for other in others if other != pid and is_alive(other)))
        wait_idle(usher.process.pid)
        if not usher.find("reloaded", after=mark) and not usher.find("upgraded", after=mark):
            return mark, pid
        # It was ready already.
        os.kill(pid, signal.SIGCONT)
        settled(changing)
    raise AssertionError("candidates are always ready before they can be stopped")


# --- deaths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_candidate_that_dies_behind_its_last_word_changes_nothing(start, number):
    """It says that it is ready, as the last, and is dead when the parent hears it."""
    changing = start()
    usher = changing.usher
    with log_in(usher) as ann:
        mark, candidate = stop_late_worker(changing, number)
        parent = usher.process.pid
        os.kill(parent, signal.SIGSTOP)
        wait_stopped(parent)
        os.kill(candidate, signal.SIGCONT)
        wait_idle(candidate)
        os.kill(candidate, signal.SIGKILL)
        wait_until(lambda: state_of(candidate) == "Z", 10, "the candidate is dead")
        os.kill(parent, signal.SIGCONT)
        assert "signal 9" in usher.wait_change(mark)["detail"]
        assert ann.is_alive()
        settled(changing)
        changing.renew()
        assert ann.is_alive()
    settled(changing)


@pytest.mark.parametrize("role", ["control", "lookup", "worker"])
def test_one_of_before_dies_while_candidates_begin(start, role):
    changing = start()
    usher = changing.usher
    mark = begin(changing)
    pid = changing.workers()[0]["pid"] if role == "worker" else usher.pid(role)
    usher.wait_event("process_started", after=mark, role="control")
    # They may have begun already.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    assert usher.wait_change(mark).name == "reloaded"
    settled(changing)


CHAOS_ROUNDS = 6


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 40))]
)
def test_anybody_may_die_or_hang_at_any_time(start, installed, seed):
    dice = random.Random(seed)
    changing = start(watchdog="3s", reload_timeout="5s")
    usher = changing.usher
    begin(changing)
    before = settled(changing)
    hit: set[int] = set()
    for _ in range(CHAOS_ROUNDS):
        number = dice.choice([signal.SIGHUP, signal.SIGUSR2])
        if number == signal.SIGUSR2:
            installed.put_other()
        mark = begin(changing, number)
        for _ in range(dice.choice([1, 2, 3])):
            time.sleep(dice.random() * 0.15)
            victims = [pid for pid in usher.process_ids() if pid != usher.process.pid]
            victim, how = dice.choice(victims), dice.choice([signal.SIGKILL] * 3 + [signal.SIGSTOP])
            try:
                os.kill(victim, how)
            except ProcessLookupError:
                continue
            hit.add(victim)
        usher.wait_change(mark)
        settled(changing)
    wait_until(lambda: not any(map(is_alive, hit)), 30, "whoever hangs is gone")
    # One more memory of counters for the second release.
    assert settled(changing) <= before + 1
    usher.stuck = len(usher.find("process_stuck"))


# --- hangs ----------------------------------------------------------------------------------------


def test_a_candidate_that_hangs_changes_nothing(start):
    changing = start(reload_timeout="2s")
    usher = changing.usher
    with log_in(usher) as ann:
        mark, candidate = stop_late_worker(changing, signal.SIGHUP)
        assert "reload_timeout" in usher.wait_change(mark)["detail"]
        wait_until(lambda: not is_alive(candidate), 10, "it is gone")
        settled(changing)
        assert ann.is_alive()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_lookup_that_hangs_ends_with_its_generation(start, number):
    changing = start(watchdog="0s")
    usher = changing.usher
    hanging = usher.pid("lookup")
    os.kill(hanging, signal.SIGSTOP)
    mark = begin(changing, number)
    assert usher.wait_change(mark).name != "change_refused"
    log_in(usher).close()
    assert int(usher.wait_event("process_stuck", after=mark, role="lookup")["pid"]) == hanging
    settled(changing)
    usher.stuck = 1


def test_reloads_in_a_row_do_not_keep_a_control_that_hangs(start):
    """Its successors wait for it, but for its own time only."""
    changing = start(watchdog="0s")
    usher = changing.usher
    hanging = usher.control_pid()
    # Not while it writes to the state file, which others could not open then.
    wait_idle(hanging)
    os.kill(hanging, signal.SIGSTOP)
    mark = usher.mark()
    asked = time.monotonic()
    while not usher.find("process_stuck", after=mark):
        usher.wait_change(begin(changing))
        assert time.monotonic() - asked < 12
    usher.wait_event("control_begun", after=mark)
    settled(changing)
    usher.stuck = len(usher.find("process_stuck"))


# --- signs of life --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
@pytest.mark.parametrize("watchdogs", [("0s", "1s"), ("10m", "1s"), ("1s", "0s"), ("1s", "10m")])
def test_each_generation_gives_signs_of_life_as_its_own_configuration_says(start, number, watchdogs):
    changing = start(watchdog=watchdogs[0])
    usher = changing.usher
    with log_in(usher) as ann:
        mark = usher.mark()
        changing.write(watchdog=watchdogs[1])
        usher.process.send_signal(number)
        assert usher.wait_change(mark).name != "change_refused"
        # Longer than the shorter of the two, whatever comes to an end by then.
        time.sleep(2.5)
        assert ann.is_alive()
        assert not usher.find("process_stuck")
        log_in(usher, "bob").close()


@pytest.mark.parametrize("retired", [False, True])
def test_who_hangs_behind_a_change_is_still_found(start, retired):
    changing = start(watchdog="1s")
    usher = changing.usher
    with log_in(usher):
        changing.renew()
        (pid, *_) = [row["pid"] for row in changing.workers(retired=retired)]
        mark = usher.mark()
        os.kill(pid, signal.SIGSTOP)
        assert int(usher.wait_event("process_stuck", after=mark)["pid"]) == pid
        usher.wait_event("process_ended", after=mark, pid=pid)
    settled(changing)
    usher.stuck = 1


def test_reloads_are_not_held_against_those_who_give_signs(start):
    changing = start(watchdog="1s")
    usher = changing.usher
    with log_in(usher) as ann:
        for _ in range(8):
            changing.renew()
            time.sleep(0.4)
        assert ann.is_alive()
        assert not usher.find("process_stuck")


# --- signals --------------------------------------------------------------------------------------


def fill_log(usher: Usher) -> None:
    """Has usher wait for the reader of its log whenever it would rather not lose a line."""
    usher.pause_reading()
    line = b"2026-01-01T00:00:00.000Z debug filler text=" + b"x" * 80 + b"\n"
    fd = os.open(f"/proc/{usher.process.pid}/fd/2", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(fd, line)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def children(pid: int) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as listed:
        return set(map(int, listed.read().split()))


@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 0.6])
def test_a_stop_that_comes_as_it_becomes_another_program(start, delay):
    """Which waits then for who reads the log, so that there is time for it."""
    changing = start()
    usher = changing.usher
    parent = usher.process.pid
    fill_log(usher)
    usher.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(children(parent)) >= 2 * (ALL - 1), 20, "candidates are there")
    wait_idle(*children(parent))
    time.sleep(delay)
    usher.process.send_signal(signal.SIGTERM)
    usher.resume_reading()
    assert usher.process.wait(30) == 0
    usher.stop()


@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 0.6])
def test_a_reload_that_is_asked_for_as_it_becomes_another_program(start, delay):
    changing = start()
    usher = changing.usher
    parent = usher.process.pid
    fill_log(usher)
    mark = usher.mark()
    usher.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(children(parent)) >= 2 * (ALL - 1), 20, "candidates are there")
    wait_idle(*children(parent))
    time.sleep(delay)
    begin(changing)
    usher.resume_reading()
    usher.wait_event("upgraded", after=mark, timeout=30)
    usher.wait_event("reloaded", after=mark, timeout=30)
    settled(changing)


def test_signals_of_all_kinds_in_any_order(start):
    dice = random.Random(1)
    changing = start()
    usher = changing.usher
    for _ in range(40):
        usher.process.send_signal(dice.choice([signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD]))
        time.sleep(dice.random() * 0.1)
    # What was asked for last is done, too.
    mark = begin(changing)
    # By it, or by an upgrade that was still waiting.
    usher.wait_event("change_told", after=mark, timeout=60)
    settled(changing)


# --- what is left over ----------------------------------------------------------------------------


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, without numbers."""
    found: Counter[str] = Counter()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        found[os.readlink(f"/proc/{pid}/fd/{fd}").partition(":[")[0]] += 1
    return found


def environment(pid: int) -> set[str]:
    with open(f"/proc/{pid}/environ", "rb") as text:
        return {word.partition(b"=")[0].decode() for word in text.read().split(b"\0") if word}


def limits(pid: int) -> str:
    with open(f"/proc/{pid}/limits") as text:
        return text.read()


def umask(pid: int) -> str:
    with open(f"/proc/{pid}/status") as text:
        return next(line for line in text if line.startswith("Umask"))


def look_of(pid: int) -> tuple:
    return (
        descriptors(pid),
        environment(pid),
        limits(pid),
        umask(pid),
        os.readlink(f"/proc/{pid}/cwd"),
    )


def roles(usher: Usher) -> dict[str, int]:
    found = {role: usher.pid(role) for role in ("control", "lookup")}
    return found | {f"worker {slot}": usher.pid("worker", slot) for slot in (0, 1)}


def comm(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as text:
        return text.read().strip()


def test_processes_have_the_same_at_hand_behind_each_change(start):
    changing = start(listeners=LISTENERS)
    usher = changing.usher
    parent = usher.process.pid
    changing.renew()
    settled(changing)
    before = {role: look_of(pid) for role, pid in roles(usher).items()}
    names = {role: comm(pid) for role, pid in roles(usher).items()}
    ours = (environment(parent), limits(parent), umask(parent), os.readlink(f"/proc/{parent}/cwd"))
    for change in (changing.renew, changing.upgrade, changing.renew, changing.upgrade):
        change()
        settled(changing)
        # Once they are done with who was shown that they serve.
        wait_until(
            lambda: {role: look_of(pid) for role, pid in roles(usher).items()} == before,
            10,
            "all have what those before them had",
        )
        assert {role: comm(pid) for role, pid in roles(usher).items()} == names
        now = (environment(parent), limits(parent), umask(parent), os.readlink(f"/proc/{parent}/cwd"))
        assert now == ours
        assert comm(parent) == "usher"


def memory(pid: int) -> int:
    """KiB of the process' own; 0 where that cannot be told."""
    if IS_SANITIZED:
        return 0
    with open(f"/proc/{pid}/smaps_rollup") as text:
        return sum(int(line.split()[1]) for line in text if line.startswith("Private_"))


def test_what_is_refused_leaves_nothing_behind(start, installed):
    """Not even where no process was started for it."""
    changing = start()
    usher = changing.usher
    parent = usher.process.pid
    installed.path.unlink()
    for _ in range(100):
        assert usher.change(signal.SIGUSR2).name == "change_refused"
    before = settled(changing), memory(parent)
    for _ in range(300):
        assert usher.change(signal.SIGUSR2).name == "change_refused"
    assert settled(changing) == before[0]
    wait_until(lambda: memory(parent) <= before[1] + SPREAD, 10, "nothing is kept")


@pytest.mark.long
def test_many_reloads_leave_nothing_behind(start):
    changing = start()
    usher = changing.usher
    parent = usher.process.pid
    for _ in range(20):
        changing.renew()
    before = settled(changing), memory(parent)
    for _ in range(200):
        changing.renew()
    assert settled(changing) == before[0]
    wait_until(lambda: memory(parent) <= before[1] + SPREAD, 10, "nothing is kept")
    assert steer(usher, "status").done["epoch"] == 221
