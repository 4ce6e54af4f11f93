#!/usr/bin/python3
"""Gate: clang-tidy (.clang-tidy) finds nothing in src/. Files are looked at in parallel; one that was clean is not
looked at again until it, a header that it includes, its flags, the configuration or clang-tidy itself changes:
build/tidy/ remembers."""
import concurrent.futures
import hashlib
import os
import re
import subprocess

import common

# Of the build's flags clang-tidy gets what says how to read the source; warnings and code generation are gcc's.
TELLING = ("-I", "-D", "-U", "-std=", "-isystem", "-include")
PRELUDE = common.TOP / "tools/check/analyzer.h"
FINDING = re.compile(r"^(\S.*?:\d+):\d+: (?:warning|error): (.*)$")


def fingerprint(unit, salt):
    """A hash over all that the verdict on this file depends on, system headers included."""
    listed = subprocess.run(
        [unit.compiler, *unit.flags(), "-M", str(unit.input)],
        cwd=unit.directory, capture_output=True, text=True, check=False,
    )
    if listed.returncode != 0:
        return None
    digest = hashlib.sha256(salt + " ".join(unit.flags()).encode())
    for name in listed.stdout.replace("\\\n", " ").split()[1:]:
        digest.update((unit.directory / name).read_bytes())
    return digest.hexdigest()


class Tidy:
    def __init__(self, root):
        self.root = root.resolve()
        self.cache = self.root / "build/tidy"
        self.cache.mkdir(parents=True, exist_ok=True)
        version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
        self.salt = version + (self.root / ".clang-tidy").read_bytes() + PRELUDE.read_bytes()
        self.used = set()

    def judge(self, unit):
        mark = fingerprint(unit, self.salt)
        if mark:
            self.used.add(mark)
            if (self.cache / mark).exists():
                return []
        flags = [flag for flag in unit.flags() if flag.startswith(TELLING)]
        if (self.root / "src/base/err.h").exists() and unit.source != "src/base/err.c":
            flags += ["-include", str(PRELUDE)]
        command = ["clang-tidy", "--quiet", str(self.root / unit.source), "--", *flags]
        done = subprocess.run(command, cwd=unit.directory, capture_output=True, text=True, check=False)
        findings = []
        for line in done.stdout.splitlines():
            found = FINDING.match(line)
            if found:
                where, _, number = found[1].rpartition(":")
                findings.append(f"{os.path.relpath(unit.directory / where, self.root)}:{number}: {found[2]}")
        if done.returncode != 0 and not findings:
            findings.append(f"{unit.source}:1: clang-tidy failed: {(done.stdout + done.stderr).strip()[-500:]}")
        if mark and not findings:
            (self.cache / mark).touch()
        return findings

    def forget_unused(self):
        for entry in self.cache.iterdir():
            if entry.name not in self.used:
                entry.unlink()


def main():
    parser = common.arguments(__doc__, build=True)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*", help="only these sources (all)")
    args = parser.parse_args()
    units = common.units(args.root, args.build or args.root / "build/release")
    if args.files:
        units = [unit for unit in units if unit.source in args.files]
    tidy = Tidy(args.root)
    findings = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for some in pool.map(tidy.judge, units):
            findings.update(dict.fromkeys(some))
    if not args.files:
        tidy.forget_unused()
    return list(findings)


if __name__ == "__main__":
    common.run(main)
