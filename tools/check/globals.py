#!/usr/bin/python3
"""Gate: no writable global or static variable but those listed in tools/globals.txt, each with its reason.

Looks at the release objects, since a compiler knows best what it made writable. What the linker makes read-only
after relocation (.data.rel.ro) is constant and does not count.

tools/globals.txt: one variable a line, `FILE NAME reason...`. A row that matches nothing any more is a finding too.
"""
import re
import subprocess

import common

LIST = "tools/globals.txt"
WRITABLE = re.compile(r"^\.(data|bss|tdata|tbss|sdata|sbss)(\.|$)|^\*COM\*$")
ROW = re.compile(r"^[0-9a-f]{8,} (.{7}) (\S+)\s+[0-9a-f]{8,} (.*)$")


def allowed(root):
    rows = {}
    for number, line in enumerate(common.read(root, LIST).splitlines(), 1):
        words = line.split("#")[0].split(None, 2)
        if not words:
            continue
        if len(words) < 3:
            raise common.CannotLook(f"{LIST}:{number}: needs file, name and a reason")
        rows[(words[0], words[1])] = number
    return rows


def variables(unit):
    """Names of the writable variables of an object; the number that the compiler gives local ones is cut off."""
    listed = subprocess.run(["objdump", "-t", str(unit.object)], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise common.CannotLook(f"objdump {unit.object}: {listed.stderr.strip()}")
    found = set()
    for line in listed.stdout.splitlines():
        row = ROW.match(line)
        if row and "d" not in row[1] and WRITABLE.match(row[2]) and not row[2].startswith(".data.rel.ro"):
            found.add(re.sub(r"\.\d+$", "", row[3].replace(".hidden ", "").strip()))
    return sorted(found)


def main():
    args = common.arguments(__doc__, build=True).parse_args()
    rows = allowed(args.root)
    findings, used = [], set()
    for unit in common.units(args.root, args.build or args.root / "build/release"):
        for name in variables(unit):
            if (unit.source, name) in rows:
                used.add((unit.source, name))
            else:
                findings.append(f"{unit.source}:1: writable global {name}; not in {LIST}")
    findings += [
        f"{LIST}:{number}: no writable {name} in {source} any more; remove the row"
        for (source, name), number in rows.items()
        if (source, name) not in used
    ]
    return findings


if __name__ == "__main__":
    common.run(main)
