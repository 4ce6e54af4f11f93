#!/usr/bin/python3
"""Gate: a folder of src/ includes only what its layer may, third-party headers stay in the one file that wraps
them, and pure files see no header of sockets, clocks or files. The rules are data: tools/layers.txt."""
import fnmatch
import re

import common

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Rules:
    """tools/layers.txt, parsed."""

    def __init__(self, root):
        self.layer, self.may_use = {}, {}
        self.headers, self.words = [], {}
        for number, line in enumerate(common.read(root, "tools/layers.txt").splitlines(), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            kind, rest = words[0], words[1:]
            if kind == "folder" and len(rest) >= 3:
                self.layer[rest[0]], self.may_use[rest[0]] = int(rest[1]), rest[2:]
            elif kind == "header" and len(rest) >= 2:
                self.headers.append((rest[0], rest[1:]))
            elif kind in ("system", "pure", "pure-system", "pure-folder", "pure-symbol") and rest:
                self.words.setdefault(kind, []).extend(rest)
            else:
                raise common.CannotLook(f"tools/layers.txt:{number}: not understood: {line}")
        for folder, uses in self.may_use.items():
            for use in uses:
                if use not in ("all", "-") and use not in self.layer and not re.fullmatch(r"\d+(-\d+)?", use):
                    raise common.CannotLook(f"tools/layers.txt: {folder} may use {use}, which is no folder")

    def matches(self, kind, name):
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.words.get(kind, []))

    def is_pure(self, path):
        return self.matches("pure", path)

    def allows(self, folder, target):
        if folder == target:
            return True
        for use in self.may_use[folder]:
            if use in ("all", target):
                return True
            first, _, last = use.partition("-")
            if first.isdigit() and int(first) <= self.layer[target] <= int(last or first):
                return True
        return False


def folder_of(path):
    """The folder below src/ that a file belongs to; the file's own name when it lies in src/ itself."""
    return path.split("/")[1]


def judge_project(rules, path, name):
    if "/" not in name or name.startswith(("./", "../")):
        return f'"{name}": a project include names its folder'
    target = name.split("/")[0]
    if target not in rules.layer:
        return f'"{name}": no folder {target} in tools/layers.txt'
    folder = folder_of(path)
    if not rules.allows(folder, target):
        allowed = " ".join(rules.may_use[folder])
        return f'"{name}": {folder} (layer {rules.layer[folder]}) may use: {allowed}; not {target}'
    if rules.is_pure(path) and not rules.matches("pure-folder", target):
        return f'"{name}": a pure file may not include {target}/'
    return None


def judge_system(rules, path, name):
    for pattern, files in rules.headers:
        if fnmatch.fnmatch(name, pattern):
            if any(fnmatch.fnmatch(path, file) for file in files):
                return None
            return f"<{name}>: only {' '.join(files)} may include it"
    if not rules.matches("system", name):
        return f"<{name}>: unknown; a third-party header is bound to the file that wraps it in tools/layers.txt"
    if rules.is_pure(path) and not rules.matches("pure-system", name):
        return f"<{name}>: a pure file may not include it"
    return None


def main():
    args = common.arguments(__doc__).parse_args()
    rules = Rules(args.root)
    files = common.tree_files(args.root, "src/*.c", "src/*.h", "src/*.def")
    if not files:
        raise common.CannotLook("no sources below src/")
    findings = []
    for path in files:
        if folder_of(path) not in rules.layer:
            findings.append(f"{path}:1: {folder_of(path)} is not in tools/layers.txt")
            continue
        for number, line in enumerate(common.read(args.root, path).splitlines(), 1):
            found = INCLUDE.match(line)
            if found:
                judge = judge_project if found[1] == '"' else judge_system
                message = judge(rules, path, found[2])
                if message:
                    findings.append(f"{path}:{number}: {message}")
    return findings


if __name__ == "__main__":
    common.run(main)
