#!/usr/bin/python3
"""Gate: every example configuration passes `usher check`: the *.conf files of etc/ and docs/, and in every Markdown
page the blocks fenced as ```conf, which are whole configurations. (Parts of one are fenced without a word.)"""
import pathlib
import re
import subprocess
import tempfile

import common

BLOCK = re.compile(r"^```conf\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples(root):
    """(name, line before the first, text) of each."""
    for name in common.tree_files(root, "etc/*.conf", "docs/*.conf"):
        yield name, 0, common.read(root, name)
    for name in common.tree_files(root, "*.md"):
        text = common.read(root, name)
        for block in BLOCK.finditer(text):
            yield name, text.count("\n", 0, block.start(1)), block[1]


def judge(usher, name, before, text):
    with tempfile.TemporaryDirectory() as folder:
        example = pathlib.Path(folder, "usher.conf")
        example.write_text(text)
        command = [usher, "check", "--no-files", "-c", example]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode == 0:
            return []
        findings = re.findall(rf"^{re.escape(str(example))}:(\d+): (.*)", done.stderr, re.MULTILINE)
        if not findings:
            findings = [(1, f"usher check ended with {done.returncode}: {done.stderr.strip()}")]
        return [f"{name}:{int(line) + before}: {words}" for line, words in findings]


def main():
    parser = common.arguments(__doc__)
    parser.add_argument("--usher", type=pathlib.Path, default=common.TOP / "build/release/usher")
    args = parser.parse_args()
    if not args.usher.exists():
        raise common.CannotLook(f"{args.usher} is not there; build first (make)")
    found = list(examples(args.root))
    if not found:
        raise common.CannotLook("no example configuration")
    return [finding for example in found for finding in judge(args.usher, *example)]


if __name__ == "__main__":
    common.run(main)
