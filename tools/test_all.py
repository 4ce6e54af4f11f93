#!/usr/bin/python3
"""Runs all tests of the tree: builds, unit tests, integration tests, gates, fuzz targets.

Unit tests run under AddressSanitizer and UBSan, those of pure code under MemorySanitizer too.

    test_all.py [--long] [--jobs N] [--only PART]... [--strict]      PART: build unit integration gates fuzz

A line for each job as it ends, the whole output of what failed, and as the last line `N passed, N failed`: test
cases, gates, builds and fuzz targets together. Exits 0 only if nothing failed. A part that finds nothing to run has
failed. Outputs stay in build/test-report/.

Three tests at most that have failed are run once more at the end, when nothing else runs. One that passes then has
passed, but is unsteady, and is told as that; see second_look.py. With --strict there is no second run.
"""
import argparse
import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import sys
import time

import jobs
import second_look

TOP = pathlib.Path(__file__).resolve().parents[1]
REPORT = TOP / "build/test-report"
TESTS = "tests/integration"
PARTS = ("build", "unit", "integration", "gates", "fuzz")
PYTHON = "/usr/bin/python3"

ENV = {
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "MSAN_OPTIONS": "halt_on_error=1",
}

# Gates: script, and the builds that it looks into.
GATES = (
    ("selftest.py", ("release",)),
    ("layers.py", ()),
    ("pure.py", ("release",)),
    ("headers.py", ("release",)),
    ("globals.py", ("release",)),
    ("size.py", ()),
    ("format.sh", ()),
    ("words.sh", ()),
    ("shell.sh", ()),
    ("python.py", ()),
    ("manpage.sh", ()),
    ("docs_fresh.sh", ("release",)),
    ("configs.py", ("release",)),
    ("cppcheck.sh", ()),
    ("tidy.py", ("release",)),
)
SLOW_GATES = ("cppcheck.sh", "tidy.py")

FUZZ_LIMITS = ("-timeout=10", "-rss_limit_mb=2048")

# Fuzz targets that reach all they ever reach within three seconds (in twenty, from the seeds alone, one branch more at
# most): without --long and --fuzz-seconds they get less time, and the others the usual.
FUZZ_S, FUZZ_SETTLED_S, FUZZ_LONG_S = 10, 4, 120
FUZZ_SETTLED = {
    "base64", "channel", "deflate", "follow", "frame", "id", "imapc", "ipc", "lex", "login", "netstring", "proxy", "sasl",
    "services", "sets", "tls", "utf8",
}  # fmt: skip


def build_jobs():
    return [
        jobs.Job("build release", ["tools/build.sh", "release"], timeout_s=900),
        jobs.Job("build asan", ["tools/build.sh", "asan"], timeout_s=900),
        jobs.Job("build fuzz", ["tools/build.sh", "fuzz"], timeout_s=900, is_background=True),
        jobs.Job("build msan", ["tools/build.sh", "msan"], timeout_s=900, is_background=True),
    ]


def count_cmocka(output):
    """(passed, failed) of one test program's output. What was announced and is not OK has failed, run or not."""
    announced = sum(int(n) for n in re.findall(r"^\[=+\] (?:\S+: )?Running (\d+) test\(s\)", output, re.MULTILINE))
    passed = len(re.findall(r"^\[ +OK \] ", output, re.MULTILINE))
    return passed, announced - passed


def unit_command(preset, log, *more):
    return ["meson", "test", "-C", f"build/{preset}", "--suite", "unit", "--no-rebuild", "--print-errorlogs",
            "--logbase", log, *more]  # fmt: skip


def judge_unit(returncode, preset, is_all, log="unit"):
    """Counts the cases in Meson's log, where each program has an entry. A program that fails may be run again."""
    path = TOP / f"build/{preset}/meson-logs/{log}.json"
    result = jobs.Result(0, 0)
    programs = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    ran = {program["name"].rpartition(" ")[2] for program in programs}
    idle = [path.name for path in (TOP / "tests/unit").glob("test_*.c") if path.stem.removeprefix("test_") not in ran]
    if is_all and idle:
        result.failed += len(idle)
        result.note = f"not run, since meson.build does not know it: {' '.join(sorted(idle))}"
    for program in programs:
        output = program.get("stdout", "") + program.get("stderr", "")
        passed, failed = count_cmocka(output)
        if passed + failed == 0 or (program["result"] != "OK" and failed == 0):
            failed += 1  # no case at all; or all passed, and the program failed all the same (a leak, a crash at exit)
        result.passed += passed
        result.failed += failed
        if failed:
            name = program["name"].rpartition(" ")[2]
            result.failures.append(jobs.Failure(name, output, unit_again(preset, name), passed, failed))
    if not programs or (returncode != 0 and result.failed == 0):
        result.failed += 1
        result.note = "no unit tests" if not programs else "meson test failed"
    return result


def unit_again(preset, name):
    log = f"unit-again-{name}"
    return jobs.Job(name, unit_command(preset, log, name), judge=lambda code, _: judge_unit(code, preset, False, log))


def unit_jobs(cores):
    """Under MemorySanitizer only what is pure: tests/unit/meson.build chooses."""
    found = []
    for preset, name, is_all in (("asan", "unit", True), ("msan", "unit msan", False)):
        command = unit_command(preset, "unit", "--num-processes", cores)

        def judge(returncode, _output, preset=preset, is_all=is_all):
            return judge_unit(returncode, preset, is_all)

        found.append(jobs.Job(name, command, (f"build {preset}",), judge, 600, is_background=not is_all))
    return found


def million_jobs():
    """The placement of a million users, for which the sanitizers' builds take a tenth."""

    def judge(returncode, output):
        passed, failed = count_cmocka(output)
        return jobs.Result(passed, failed + (returncode != 0 and failed == 0))

    program = "tests/unit/test_placement"
    build = jobs.Job("build million", ["tools/build.sh", "release", program], ("build release",))
    job = jobs.Job("unit million", [f"build/release/{program}"], (build.name,), timeout_s=600)
    job.judge = second_look.doubting(judge, lambda: dataclasses.replace(job, judge=judge, result=None))
    return [build, job]


def judge_pytest(report, again=None):
    """By the outcomes that pytest_outcomes.py has written. `again(test)` makes the job for one that has failed."""

    def judge(returncode, _output):
        result = jobs.Result(0, 0)
        if report.exists():
            told = json.loads(report.read_text())
            # A test that is skipped has not shown anything.
            result = jobs.Result(told["passed"], len(told["failed"]) + len(told["skipped"]) + len(told["broken"]))
            if returncode == 1 and not told["broken"]:  # else there are tests of which nothing is known
                result.failures = [jobs.Failure(test, text, again(test)) for test, text in told["failed"].items()]
            if told["broken"]:
                result.note = f"not collected, or pytest died there: {' '.join(told['broken'])}"
        if result.passed + result.failed == 0 or (returncode != 0 and result.failed == 0):
            result.failed += 1
            result.note = "no integration tests" if returncode in (0, 5) else f"pytest ended with {returncode}"
        return result

    return judge


def integration_job(name, what, preset, marker, timeout_s, needs=(), more=()):
    report = REPORT / f"{jobs.file_name(name)}.json"
    command = [PYTHON, "-m", "pytest", what, "-q", "-p", "no:cacheprovider", "-m", marker,
               "-p", "tools.pytest_outcomes", f"--outcomes={report}", *more]  # fmt: skip
    env = {"USHER_BIN": str(TOP / "build" / preset / "usher")}

    def again(test):
        return integration_job(f"again {name} {test}", f"{TESTS}/{test}", preset, marker, timeout_s)

    return jobs.Job(name, command, needs, judge_pytest(report, again), timeout_s, env=env)


def integration_jobs(cores, is_long):
    """The short ones with both builds: the one that is installed, in its sandbox, and the one that sees wrong memory."""
    found = []
    rows = [("release", "not long", 1200), ("asan", "not long", 1200)] + [("asan", "long", 3600)] * is_long
    for preset, marker, timeout_s in rows:
        name = "integration long" if marker == "long" else f"integration {preset}"
        # One after the other: they are many processes by themselves. Most of a test is waiting: three of them a core
        # keep it busy.
        needs = ("build asan", "build release", *(job.name for job in found[-1:]))
        found.append(integration_job(name, TESTS, preset, marker, timeout_s, needs, ("-n", 3 * cores)))
    return found


def gate_jobs():
    return [
        jobs.Job(f"gate {pathlib.Path(script).stem}", [f"tools/check/{script}"],
                 tuple(f"build {preset}" for preset in presets),
                 timeout_s=1800 if script in SLOW_GATES else 300, is_background=script in SLOW_GATES)
        for script, presets in GATES
    ]


def judge_fuzz(returncode, output):
    runs = re.search(r"stat::number_of_executed_units: (\d+)", output)
    result = jobs.one(returncode, output)
    result.note = f"{runs[1]} runs" if runs else ""
    if result.passed and (not runs or int(runs[1]) == 0):
        result = jobs.Result(0, 1, note="nothing was run")
    return result


def fuzz_job(name, command, needs, timeout_s):
    """The second look is at the input that took too long or too much, if there is one, else at all of it. There is none
    after a crash: that input proves a fault, however seldom it is found."""
    prefix = jobs.file_name(f"fuzz {name}") + "-"
    job = jobs.Job(f"fuzz {name}", [*command[:1], f"-artifact_prefix={REPORT}/{prefix}", *command[1:]], needs,
                   timeout_s=timeout_s, is_background=True)  # fmt: skip

    def kept(*kinds):
        return [path for kind in kinds for path in sorted(REPORT.glob(f"{prefix}{kind}-*"))]

    def again():
        if kept("crash", "leak"):
            return None
        if slow := kept("timeout", "oom"):
            return jobs.Job(name, [*command[:1], *FUZZ_LIMITS, *slow], timeout_s=timeout_s)
        return dataclasses.replace(job, judge=judge_fuzz, is_background=False, result=None)

    job.judge = second_look.doubting(judge_fuzz, again)
    return job


def pure_fuzz_targets():
    """Those that tests/fuzz/meson.build builds for MemorySanitizer."""
    listed = (TOP / "tests/fuzz/meson.build").read_text().partition("pure_fuzz_targets = {")[2].partition("}")[0]
    return set(re.findall(r"'(\w+)':", listed))


def fuzz_seconds(name, args):
    usual = FUZZ_SETTLED_S if name in FUZZ_SETTLED else FUZZ_S
    return args.fuzz_seconds or (FUZZ_LONG_S if args.long else usual)


def fuzz_jobs(args):
    """One job a target, known by its source; a target without seeds fails, as libFuzzer cannot read the folder.
    Behind them its seeds once more under MemorySanitizer, with what was found before; nothing is made up there."""
    found, again = [], []
    pure = pure_fuzz_targets()
    for source in sorted((TOP / "tests/fuzz").glob("fuzz_*.c")):
        name = source.stem.removeprefix("fuzz_")
        seconds = fuzz_seconds(name, args)
        grown, seeds = TOP / "build/fuzz-corpus" / name, f"tests/fuzz/corpus/{name}"
        grown.mkdir(parents=True, exist_ok=True)
        words = TOP / f"tests/fuzz/dict/{name}.dict"
        command = [f"build/fuzz/tests/fuzz/{source.stem}", f"-max_total_time={seconds}", "-print_funcs=0", *FUZZ_LIMITS,
                   "-print_final_stats=1", *([f"-dict={words}"] if words.exists() else []), grown, seeds]
        found.append(fuzz_job(name, command, ("build fuzz",), seconds + 120))
        if name in pure:
            command = [f"build/msan/tests/fuzz/{source.stem}", "-runs=0", *FUZZ_LIMITS, "-print_final_stats=1", grown, seeds]
            again.append(fuzz_job(f"msan {name}", command, ("build msan", f"fuzz {name}"), seconds + 120))
    return found + again


def nothing(part):
    """A job that fails, for a part that has nothing to run."""
    return jobs.Job(part, ["sh", "-c", f"echo 'nothing to run for {part}'; exit 1"])


def plan(args):
    """All jobs, in the order in which they should start."""
    parts = args.only or PARTS
    wanted = []
    if "gates" in parts:
        wanted += gate_jobs()
    if "unit" in parts:
        wanted += unit_jobs(args.jobs) + (million_jobs() if args.long else [])
    if "integration" in parts:
        wanted += integration_jobs(args.jobs, args.long)
    if "fuzz" in parts:
        wanted += fuzz_jobs(args) or [nothing("fuzz")]
    needed = {need for job in wanted for need in job.needs}
    if "build" in parts:
        needed |= {"build release", "build asan", "build fuzz", "build msan"}
    return [job for job in build_jobs() if job.name in needed] + wanted


def tell(job, output):
    result = job.result
    words = [f"{result.passed} passed"] if result.passed else []
    words += [f"{result.failed} failed"] if result.failed else []
    words += [result.note] if result.note else []
    print(f"{'FAILED' if result.failed else 'ok':<7}{result.seconds:7.1f} s  {job.name:<22} {', '.join(words)}")
    if result.failed and output.strip():
        print("\n".join(f"    {line}" for line in output.rstrip().splitlines()))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="also the integration tests marked long; fuzz longer")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part, and the builds it needs")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="at one time (cores)")
    parser.add_argument("--strict", action="store_true", help="no second run of what has failed")
    parser.add_argument("--fuzz-seconds", type=int, help="for each fuzz target (4 or 10; 120 with --long)")
    args = parser.parse_args()

    began = time.monotonic()
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    os.environ.update(ENV)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
        os.environ.pop(name, None)
    every = plan(args)
    runner = jobs.Runner(every, slots=args.jobs, folder=REPORT, cwd=TOP, tell=tell)
    has_finished = runner.run()
    seen = second_look.Look()
    if has_finished and not args.strict:
        seen = second_look.look(every, folder=REPORT, cwd=TOP, tell=tell)
        has_finished = seen.has_finished

    total = collections.Counter()
    for job in every:
        if job.result:
            total.update(passed=job.result.passed, failed=job.result.failed)
    bad = [job.name for job in every if job.result and job.result.failed]
    if bad:
        print(f"failed: {', '.join(bad)}   (outputs: {REPORT.relative_to(TOP)}/)")
    if seen.unsteady:
        print(f"unsteady, to be mended: {', '.join(seen.unsteady)}")
    if strays := runner.strays + seen.strays:
        print(f"left running by a test, ended now: {', '.join(strays)}")
    if not has_finished:
        print("interrupted")
        total["failed"] += 1
    print(f"all in {time.monotonic() - began:.0f} s, {len(seen.unsteady)} unsteady")
    print(f"{total['passed']} passed, {total['failed']} failed")
    sys.exit(0 if has_finished and not total["failed"] and total["passed"] else 130 if not has_finished else 1)


if __name__ == "__main__":
    main()
