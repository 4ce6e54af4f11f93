#!/usr/bin/python3
"""Gate: no file of 1000 lines or more, no C function over 120 lines or a complexity over 25 (pmccabe's first
column, which counts a switch as one decision: full switches over states are wanted here). What is over the aims
of 600, 60 and 15 is summed up in one line; --all names it."""
import subprocess

import common

FILE_AIM, FILE_MOST = 600, 999
LINES_AIM, LINES_MOST = 60, 120
COMPLEXITY_AIM, COMPLEXITY_MOST = 15, 25


def files(root, findings, aims):
    patterns = [f"{top}/*.{end}" for top in ("src", "tests", "tools") for end in ("c", "h", "py", "sh")]
    for name in common.tree_files(root, *patterns):
        count = common.read(root, name).count("\n")
        if count > FILE_MOST:
            findings.append(f"{name}:1: {count} lines; no file has more than {FILE_MOST}")
        elif count > FILE_AIM:
            aims.append(f"{name}:1: {count} lines")


def functions(root, findings, aims):
    sources = common.tree_files(root, "src/*.[ch]", "tests/*.[ch]", "tools/*.[ch]")
    if not sources:
        raise common.CannotLook("no C sources")
    done = subprocess.run(["pmccabe", *sources], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or done.stderr.strip():
        raise common.CannotLook(f"pmccabe: {done.stderr.strip()}")
    for row in done.stdout.splitlines():
        complexity, _, _, line, lines, where = row.split("\t")
        name = where.split("(")[0]
        what = f"{name}:{line}: {where.split(': ', 1)[1]}(): {lines} lines, complexity {complexity}"
        if int(lines) > LINES_MOST or int(complexity) > COMPLEXITY_MOST:
            findings.append(f"{what}; at most {LINES_MOST} and {COMPLEXITY_MOST}")
        elif int(lines) > LINES_AIM or int(complexity) > COMPLEXITY_AIM:
            aims.append(what)


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--all", action="store_true", help="name what is over the aims too")
    args = parser.parse_args()
    findings, aims = [], []
    files(args.root, findings, aims)
    functions(args.root, findings, aims)
    if args.all:
        print("\n".join(aims))
    elif aims:
        print(f"over the aims ({FILE_AIM} lines a file, {LINES_AIM} a function, complexity {COMPLEXITY_AIM}), "
              f"within the limits: {len(aims)} (size.py --all names them)")
    return findings


if __name__ == "__main__":
    common.run(main)
