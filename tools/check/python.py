#!/usr/bin/python3
"""Gate: every Python file of the tree compiles without a warning, and no compiled one is part of the tree."""
import warnings

import common


def main():
    args = common.arguments(__doc__).parse_args()
    findings = [f"{name}:1: a compiled file has no place in the tree" for name in common.tree_files(args.root, "*.pyc")]
    for name in common.tree_files(args.root, "*.py"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                compile(common.read(args.root, name), name, "exec", dont_inherit=True)
        except (SyntaxError, SyntaxWarning, DeprecationWarning, ValueError) as err:
            findings.append(f"{name}:{getattr(err, 'lineno', None) or 1}: {err}")
    return findings


if __name__ == "__main__":
    common.run(main)
