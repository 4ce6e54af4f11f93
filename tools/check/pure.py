#!/usr/bin/python3
"""Gate: the objects of pure files (tools/layers.txt) call nothing but each other, the project's lower layers and
the harmless part of the C library. layers.py looks at what they include; this looks at what came out."""
import subprocess

import common
import layers


def symbols(unit, *flags):
    listed = subprocess.run(["nm", "-P", *flags, str(unit.object)], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise common.CannotLook(f"nm {unit.object}: {listed.stderr.strip()}")
    return [line.split()[0] for line in listed.stdout.splitlines()]


def main():
    args = common.arguments(__doc__, build=True).parse_args()
    rules = layers.Rules(args.root)
    every = common.units(args.root, args.build or args.root / "build/release")
    ours = {name for unit in every for name in symbols(unit, "--defined-only", "-g")}
    return [
        f"{unit.source}:1: a pure file calls {name}()"
        for unit in every
        if rules.is_pure(unit.source)
        for name in symbols(unit, "-u")
        if name not in ours and not rules.matches("pure-symbol", name)
    ]


if __name__ == "__main__":
    common.run(main)
