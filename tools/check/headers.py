#!/usr/bin/python3
"""Gate: every header below src/ compiles alone, and twice in a row, with the flags of the build."""
import concurrent.futures
import os
import subprocess

import common


def judge(compiler, flags, directory, name):
    text = f'#include "{name}"\n' * 2
    command = [compiler, *flags, "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=directory, check=False)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    first = next((line for line in lines if "error:" in line), lines[0] if lines else "the compiler failed")
    return f"src/{name}:1: does not compile alone: {first.strip()}"


def main():
    args = common.arguments(__doc__, build=True).parse_args()
    sample = common.units(args.root, args.build or args.root / "build/release")[0]
    headers = [name.removeprefix("src/") for name in common.tree_files(args.root, "src/*.h")]
    if not headers:
        raise common.CannotLook("no headers below src/")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = pool.map(lambda name: judge(sample.compiler, sample.flags(), sample.directory, name), headers)
        return [verdict for verdict in verdicts if verdict]


if __name__ == "__main__":
    common.run(main)
