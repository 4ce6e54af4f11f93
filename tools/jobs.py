"""Runs jobs, each a command, in parallel: so many at a time, in the order given, after those that they need.

Nothing that a job started outlives it: each has a process group of its own that is ended with it, and what escapes
the group falls to this process (a child subreaper), which takes notice of its end or, last of all, makes it end.
"""
import asyncio
import ctypes
import dataclasses
import os
import pathlib
import re
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 5


@dataclasses.dataclass
class Failure:
    """A single thing in a job that has failed and could be run again, by itself: `again` does so. `passed` and
    `failed` are what it has added to the job's counts."""

    id: str
    output: str
    again: "Job"
    passed: int = 0
    failed: int = 1


@dataclasses.dataclass
class Result:
    passed: int
    failed: int
    seconds: float = 0.0
    note: str = ""
    failures: list = dataclasses.field(default_factory=list)  # those that a second look may be had at

    def is_broken(self):
        """Whether more has failed than a second look could put right."""
        return self.failed > sum(failure.failed for failure in self.failures)


@dataclasses.dataclass
class Job:
    """`judge(returncode, output)` tells what a finished command means: a Result, its counts and note filled in."""

    name: str
    command: list
    needs: tuple = ()
    judge: object = None
    timeout_s: int = 300
    is_background: bool = False  # long and of no hurry: runs niced, beside the others
    env: dict = dataclasses.field(default_factory=dict)
    result: Result = None


def file_name(name):
    """A name that a file of a report may have."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")[:150]


def one(returncode, _output):
    """The judge of a job that is one thing, which passes or fails."""
    return Result(1, 0) if returncode == 0 else Result(0, 1)


class Runner:
    def __init__(self, jobs, *, slots, folder, cwd, tell):
        """`tell(job, output)` is called as each job ends; logs go to `folder`."""
        self.jobs = {job.name: job for job in jobs}
        self.slots, self.folder, self.cwd, self.tell = slots, pathlib.Path(folder), cwd, tell
        self.own = set()  # process ids of the jobs themselves
        self.is_interrupted = False
        self.strays = []

    def run(self):
        """Runs all jobs. Returns False when a signal ended it before its time."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        try:
            asyncio.run(self._run_all())
        finally:
            self.strays = end_strays()
        return not self.is_interrupted

    async def _run_all(self):
        self.done = {name: asyncio.Event() for name in self.jobs}
        self.foreground = asyncio.Semaphore(self.slots)
        self.background = asyncio.Semaphore(self.slots)
        tasks = [asyncio.create_task(self._run_one(job)) for job in self.jobs.values()]

        def interrupt():
            self.is_interrupted = True
            for task in tasks:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, interrupt)
        reaper = asyncio.create_task(self._reap_adopted())
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        reaper.cancel()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _reap_adopted(self):
        """Does what init does for orphans: a test that waits for a process to be gone must not see it dead for ever."""
        before = set()
        while True:
            await asyncio.sleep(0.1)
            dead = {pid for pid in pids() if stat_of(pid)[:2] == (os.getpid(), "dead")} - self.own
            for pid in dead & before:  # not at first sight: it could be a job just begun
                os.waitpid(pid, os.WNOHANG)
            before = dead

    async def _run_one(self, job):
        try:
            for need in job.needs:
                await self.done[need].wait()
            broken = [need for need in job.needs if self.jobs[need].result.is_broken()]
            if broken:
                job.result, output = Result(0, 1, 0.0, f"not run: {broken[0]} failed"), ""
            else:
                async with self.background if job.is_background else self.foreground:
                    output = await self._execute(job)
            self.tell(job, output)
        finally:
            self.done[job.name].set()

    async def _execute(self, job):
        log = self.folder / f"{file_name(job.name)}.log"
        began = time.monotonic()
        command = (["nice", "-n", "10"] if job.is_background else []) + [str(word) for word in job.command]
        note = ""
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=self.cwd, env={**os.environ, **job.env}, stdin=asyncio.subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )
            self.own.add(process.pid)
            try:
                await asyncio.wait_for(process.wait(), job.timeout_s)
            except asyncio.TimeoutError:
                note = f"took longer than {job.timeout_s} s"
            finally:
                await end_group(process)
        output = log.read_text(errors="replace")
        job.result = (job.judge or one)(process.returncode, output)
        job.result.seconds = time.monotonic() - began
        if note:
            job.result.failed = max(job.result.failed, 1)
            job.result.failures = []  # nobody knows what else it would have found
            job.result.note = note
        return output


async def end_group(process):
    """Ends what is left of a job's process group: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline and group_lives(process.pid):
            await asyncio.sleep(0.05)
    await process.wait()


def group_lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(stat_of(pid)[1:] == ("live", group) for pid in pids())


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_of(pid):
    """(parent, "live" or "dead", process group) of a process; Nones when it is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return (None, None, None)
    return (int(words[1]), "dead" if words[0] in "ZX" else "live", int(words[2]))


def end_strays():
    """Ends the children of this process that nobody waits for: what jobs started and forgot. Returns the names of those
    that were alive; the others had ended, and only nobody had taken notice."""
    names = set()
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline:
        children = [pid for pid in pids() if stat_of(pid)[0] == os.getpid()]
        if not children:
            break
        for pid in children:
            try:
                if stat_of(pid)[1] == "live":
                    names.add(pathlib.Path(f"/proc/{pid}/comm").read_text().strip())
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (FileNotFoundError, ProcessLookupError, ChildProcessError):
                pass
        time.sleep(0.05)
    return sorted(names)
