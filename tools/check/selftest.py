#!/usr/bin/python3
"""Gate of the gates: each is shown a small tree that is good, and must pass it, then the same with one fault planted,
and must refuse it at the right place. So is the way in which test_all.py counts, and what it runs once more."""
import contextlib
import dataclasses
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import common

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import jobs  # noqa: E402
import second_look  # noqa: E402
import test_all  # noqa: E402

GOOD_HEADER = "#ifndef GOOD_H\n#define GOOD_H\nint good(int n);\n#endif\n"
GOOD_SOURCE = '#include "imap/good.h"\n\nint good(int n)\n{\n    return n + 1;\n}\n'
GOOD = {"src/imap/good.h": GOOD_HEADER, "src/imap/good.c": GOOD_SOURCE, "tools/globals.txt": "# none\n"}
CONFIGURATION = (".clang-format", ".clang-tidy", "tools/layers.txt")


def function(body):
    return f'#include "imap/good.h"\n\nint good(int n)\n{{\n{body}    return n;\n}}\n'


# gate: [(what is planted, files, what the gate must say)]
FAULTS = {
    "layers.py": [
        ("a lower layer uses a higher one", {"src/imap/bad.c": '#include "net/loop.h"\n'}, "src/imap/bad.c:1: "),
        ("a path without its folder", {"src/imap/bad.c": '\n#include "good.h"\n'}, "src/imap/bad.c:2: "),
        ("a stray third-party header", {"src/worker/bad.c": "#include <ev.h>\n"}, "src/worker/bad.c:1: "),
        ("an unknown third-party header", {"src/worker/bad.c": "#include <zlib.h>\n"}, "src/worker/bad.c:1: "),
        ("a pure file that sees files", {"src/imap/bad.c": "#include <unistd.h>\n"}, "src/imap/bad.c:1: "),
        ("a pure file that sees the network", {"src/worker/login.h": '#include "net/dial.h"\n'}, "login.h:1: "),
        ("an unknown folder", {"src/nowhere/bad.c": "\n"}, "src/nowhere/bad.c:1: "),
    ],
    "pure.py": [
        (
            "a pure file that reads the clock",
            {"src/imap/good.c": "long time(long *);\nlong good(void);\nlong good(void)\n{\n    return time(0);\n}\n"},
            "src/imap/good.c:1: a pure file calls time()",
        ),
    ],
    "headers.py": [
        ("a header that needs another", {"src/imap/bad.h": "size_t bad(void);\n"}, "src/imap/bad.h:1: "),
        ("a header without a guard", {"src/imap/bad.h": "struct bad { int n; };\n"}, "src/imap/bad.h:1: "),
    ],
    "globals.py": [
        ("a hidden counter", {"src/imap/good.c": function("    static int calls;\n    n += calls++;\n")}, "global calls"),
        ("a row without its variable", {"tools/globals.txt": "src/imap/good.c gone why\n"}, "tools/globals.txt:1: "),
    ],
    "size.py": [
        ("an endless file", {"src/imap/bad.c": "\n" * 1000}, "src/imap/bad.c:1: "),
        ("an endless function", {"src/imap/bad.c": function("    n++;\n" * 121)}, "src/imap/bad.c:3: "),
        ("a maze", {"src/imap/bad.c": function("    if (n)\n        n++;\n" * 26)}, "src/imap/bad.c:3: "),
    ],
    "format.sh": [("a crooked line", {"src/imap/bad.c": "int  bad ;\n"}, "src/imap/bad.c:1:")],
    "words.sh": [
        ("a note of work undone", {"src/imap/bad.c": "/* TO" + "DO */\n"}, "src/imap/bad.c:1: "),
        ("a path of somebody's machine", {"README.md": "see /ho" + "me/ann/usher\n"}, "README.md:1: "),
        ("a function that knows no size", {"src/imap/bad.c": "\nx = str" + "cpy(a, b);\n"}, "src/imap/bad.c:2: "),
        ("a blank at the end", {"src/imap/bad.c": "int bad; \n"}, "src/imap/bad.c:1: "),
        ("a tab", {"src/imap/bad.c": "\tint bad;\n"}, "src/imap/bad.c:1: "),
    ],
    "shell.sh": [("an unquoted variable", {"tools/bad.sh": "#!/bin/sh\nrm $1\n"}, "tools/bad.sh:2:")],
    "python.py": [
        ("what does not parse", {"tools/bad.py": "\ndef (:\n"}, "tools/bad.py:2: "),
        ("a compiled file", {"tools/bad.pyc": ""}, "tools/bad.pyc:1: "),
    ],
    "manpage.sh": [("an unknown request", {"man/usher.8": ".TH USHER 8\n.NOSUCH\n"}, "man/usher.8:2:")],
    "docs_fresh.sh": [
        ("an edited page", {"docs/reference/metrics.md": "# Metrics\n"}, "docs/reference/metrics.md:"),
        (
            "a list of settings that the table does not make",
            {"man/usher.conf.5": '.Dt X 5\n.\\" settings TLS\n.It Cm no_such_setting\n.\\" end\n'},
            "man/usher.conf.5:3: ",
        ),
        (
            "a list of options that the table does not make",
            {"man/usher-sync.8": '.Dt X 8\n.\\" options SYNC\n.It Fl \\-no-such-option\n.\\" end\n'},
            "man/usher-sync.8:3: ",
        ),
    ],
    "configs.py": [
        ("an unknown setting", {"etc/usher.conf": "no_such_setting = 1\n"}, "etc/usher.conf:1: "),
        ("one in a page", {"docs/a.md": "# A\n\n```conf\nno_such_setting = 1\n```\n"}, "docs/a.md:4: "),
    ],
    "cppcheck.sh": [
        ("a read behind the end", {"src/imap/bad.c": function("    int a[2] = {0};\n    n = a[2];\n")}, "src/imap/bad.c:6: ")
    ],
    "tidy.py": [
        ("a stray semicolon", {"src/imap/good.c": function("    if (n > 1);\n        n--;\n")}, "good.c:5: "),
        (
            "a use after free",
            {"src/imap/good.c": "#include <stdlib.h>\nvoid bad(int *p);\nvoid bad(int *p)\n{\n    free(p);\n    *p = 1;\n}\n"},
            "good.c:6: ",
        ),
    ],
}
NEEDS_OBJECTS = ("pure.py", "headers.py", "globals.py", "tidy.py")


def good_tree(root, gate):
    """The least tree that a gate passes."""
    files = dict(GOOD)
    for name in CONFIGURATION:
        files[name] = common.read(common.TOP, name)
    if gate == "shell.sh":
        files["tools/good.sh"] = '#!/bin/sh\necho "$1"\n'
    if gate == "python.py":
        files["tools/good.py"] = "N = 1\n"
    if gate == "manpage.sh":
        files["man/usher.8"] = ".TH USHER 8\n.SH NAME\nusher \\- a door\n"
    if gate == "configs.py":
        files["etc/usher.conf"] = 'listener imap { address = "127.0.0.1:0"  tls = off  auth_allow_cleartext = yes }\n' \
            'pool main { backend one { address = "127.0.0.1:10143" } }\n'
    if gate == "docs_fresh.sh":
        for name in ("man/usher.conf.5", "man/usher-sync.8"):
            files[name] = common.read(common.TOP, name)
    write(root, files)
    if gate == "docs_fresh.sh":
        pages = [HERE.parent / "gendoc.sh", common.TOP / "build/release/gendoc", root]
        subprocess.run(pages, check=True)


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def compile_all(root):
    """A build as far as gates look at one: objects and compile_commands.json."""
    build = root / "build/release"
    build.mkdir(parents=True, exist_ok=True)
    entries = []
    for source in common.tree_files(root, "src/*.c"):
        command = ["gcc", f"-I{root}/src", "-O2", "-w", "-o", f"{pathlib.Path(source).stem}.o", "-c", f"{root}/{source}"]
        subprocess.run(command, cwd=build, check=True)
        entries.append({"directory": str(build), "command": " ".join(command), "file": command[-1], "output": command[5]})
    (build / "compile_commands.json").write_text(json.dumps(entries))


def ask(gate, root):
    """(exit status, output) of a gate that looks at the planted tree."""
    if gate in NEEDS_OBJECTS:
        compile_all(root)
    command = [HERE / gate, *(["--root", root] if gate.endswith(".py") else [root])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def try_gate(gate, faults):
    with tempfile.TemporaryDirectory() as folder:
        good = pathlib.Path(folder, "good")
        good.mkdir()
        good_tree(good, gate)
        status, output = ask(gate, good)
        if status != 0:
            yield f"tools/check/{gate}:1: refuses a good tree ({status}): {output.strip()}"
            return
        for number, (what, files, expected) in enumerate(faults):
            bad = pathlib.Path(folder, f"bad{number}")
            shutil.copytree(good, bad)
            if gate == "docs_fresh.sh":
                assert all((good / name).exists() for name in files)
            write(bad, files)
            status, output = ask(gate, bad)
            if status != 1 or expected not in output:
                yield f"tools/check/{gate}:1: does not refuse {what} ({status}): {output.strip()}"


CMOCKA = """\
[==========] base: Running 3 test(s).
[ RUN      ] test_one
[       OK ] test_one
[ RUN      ] test_two
[  ERROR   ] --- 0x1 != 0x2
[  FAILED  ] test_two
[ RUN      ] test_that_crashes
"""
# what is counted, and what must come out: (passed, failed)
COUNTS = [
    ("cases of a program that crashed", test_all.count_cmocka(CMOCKA), (1, 2)),
    ("a program without cases", test_all.count_cmocka(""), (0, 0)),
    ("a fuzz target that ran", test_all.judge_fuzz(0, "stat::number_of_executed_units: 7\n"), (1, 0)),
    ("a fuzz target that found something", test_all.judge_fuzz(77, "stat::number_of_executed_units: 7\n"), (0, 1)),
    ("a fuzz target that ran nothing", test_all.judge_fuzz(0, ""), (0, 1)),
    ("pytest without tests", test_all.judge_pytest(pathlib.Path("/nonexistent"))(5, ""), (0, 1)),
    ("a gate that passes", jobs.one(0, ""), (1, 0)),
    ("a gate that could not look", jobs.one(2, ""), (0, 1)),
]


def try_counts():
    for what, counted, expected in COUNTS:
        if isinstance(counted, jobs.Result):
            counted = (counted.passed, counted.failed)
        if counted != expected:
            yield f"tools/test_all.py:1: counts {what} as {counted}, not {expected}"
    with tempfile.TemporaryDirectory() as folder:
        planned = [
            jobs.Job("good", ["true"]),
            jobs.Job("bad", ["false"]),
            jobs.Job("endless", ["sleep", "60"], timeout_s=1),
            jobs.Job("behind bad", ["true"], needs=("bad",)),
        ]
        jobs.Runner(planned, slots=2, folder=folder, cwd=folder, tell=lambda job, output: None).run()
        failed = [job.name for job in planned if job.result.failed]
        if failed != ["bad", "endless", "behind bad"]:
            yield f"tools/jobs.py:1: wrong jobs failed: {failed}"


# Fails at first, and never after that.
ONCE = "test -e seen-{0} || {{ touch seen-{0}; echo words of the first time; exit 1; }}"
# A file of tests of which one fails at first.
TESTS = """\
import os, pathlib, pytest
SEEN = pathlib.Path(__file__).with_name("seen")
def test_good(): pass
@pytest.mark.parametrize("word", ["a/b [c] é"])
def test_once(word):
    if not SEEN.exists():
        SEEN.touch()
        print("words of the first time")
        assert False
"""
# what is added: its source, and what must be told: how many unsteady, passed, failed
MORE = {
    "nothing": ("", (1, 2, 0)),
    "never": ("def test_never(): assert False\n", (1, 2, 1)),
    "skipped": ("def test_skipped(): pytest.skip()\n", (1, 2, 1)),
    "dying": ("def test_dying(): os._exit(1)\n", (0, 1, 2)),
    "uncollected": ("import nowhere\n", (0, 0, 1)),
}


def shell(name, script, judge=None, needs=()):
    """A job of a script, which may be run again if it has a judge."""
    job = jobs.Job(name, ["sh", "-c", script], needs)
    if judge:
        job.judge = second_look.doubting(judge, lambda: dataclasses.replace(job, judge=judge, result=None))
    return job


def run_twice(planned, folder):
    """Runs them and looks again; (what is unsteady, what has failed)."""
    jobs.Runner(planned, slots=2, folder=folder, cwd=folder, tell=lambda job, output: None).run()
    with contextlib.redirect_stdout(io.StringIO()):
        seen = second_look.look(planned, folder=folder, cwd=folder, tell=lambda job, output: None)
    return seen.unsteady, [job.name for job in planned if job.result.failed]


def try_second_look():
    at = "tools/second_look.py:1:"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        planned = [
            shell("once", ONCE.format(1), jobs.one),
            shell("behind once", "true", needs=("once",)),
            shell("never", "false", jobs.one),
            shell("a gate", ONCE.format(2)),
            shell("late", "test -e late || { touch late; sleep 60; }", jobs.one),
        ]
        planned[-1].timeout_s = 1
        told = run_twice(planned, folder)
        if told != (["once"], ["never", "a gate", "late"]):
            yield f"{at} unsteady and failed are {told}"
        elif "words of the first time" not in (folder / "unsteady-once.txt").read_text():
            yield f"{at} does not keep the first failure"
        told = run_twice([shell(f"once {n}", ONCE.format(n), jobs.one) for n in range(3, 7)], folder)
        if told != ([], ["once 3", "once 4", "once 5", "once 6"]):
            yield f"{at} looks again at more than {second_look.MOST}: {told}"


def try_pytest():
    """Real runs of pytest: the one that fails once passes, unless there are worse things than tests that fail."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for kind, (more, expected) in MORE.items():
            (folder / "seen").unlink(missing_ok=True)
            (folder / "test_it.py").write_text(TESTS + more)

            def job(name, what, *options):
                report = folder / f"{name}.json"
                judge = test_all.judge_pytest(report, lambda test: job("again", folder / test))
                command = [test_all.PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tools.pytest_outcomes",
                           f"--rootdir={folder}", f"--outcomes={report}", what, *options]  # fmt: skip
                return jobs.Job(name, [*command], judge=judge, env={"PYTHONPATH": str(common.TOP)})

            all_of_it = job("first", folder / "test_it.py", "-n", "2")
            unsteady, _ = run_twice([all_of_it], folder)
            result = all_of_it.result
            told = (len(unsteady), result.passed, result.failed)
            if told != expected:
                yield f"tools/pytest_outcomes.py:1: with {kind}: {told}, not {expected}"


def main():
    common.arguments(__doc__).parse_args()
    for program in ("gendoc", "usher"):
        if not (common.TOP / "build/release" / program).exists():
            raise common.CannotLook(f"build/release/{program} is not there; build first (make)")
    gates = {path.name for path in HERE.iterdir() if path.name not in ("common.py", "lib.sh", "analyzer.h", "selftest.py")}
    gates -= {"__pycache__"}
    run = {script for script, _ in test_all.GATES}
    findings = [f"tools/check/{gate}:1: no fault is planted for it in selftest.py" for gate in sorted(gates - set(FAULTS))]
    findings += [f"tools/check/{gate}:1: test_all.py does not run it" for gate in sorted(gates - run)]
    for gate, faults in FAULTS.items():
        findings += try_gate(gate, faults)
    findings += [*try_counts(), *try_second_look(), *try_pytest()]
    return findings


if __name__ == "__main__":
    common.run(main)
