#!/usr/bin/python3
"""Gate: man/usher.conf.5 describes each setting of src/tables/settings.def, in its section, with its default, its
range and its words; and no setting that the table does not have."""
import re

import common

TABLE = "src/tables/settings.def"
PAGE = "man/usher.conf.5"
HEADINGS = {
    "GLOBAL": "GLOBAL SETTINGS",
    "LISTENER": "LISTENERS",
    "TLS": "TLS",
    "POOL": "POOLS",
    "BACKEND": "BACKENDS",
}
ROW = re.compile(r'^SETTING_(\w+)\((\w+), (\w+), ("[^"]*"|REQUIRED), "([^"]*)", ')
ITEM = re.compile(r"^\.It Cm (\w+) = (.*)$")


def described(page):
    """The settings of the page: {(heading, name): (line, words behind the name, text)}."""
    settings, heading, text = {}, None, None
    for number, line in enumerate(page.splitlines(), 1):
        item = ITEM.match(line)
        if line.startswith(".Sh "):
            heading, text = line[4:], None
        elif item and heading in HEADINGS.values():
            text = []
            settings[(heading, item[1])] = (number, item[2], text)
        elif line.startswith(".El"):
            text = None
        elif text is not None:
            text.append(line)
    return settings


def wrong(row, words, text):
    """What the page says otherwise than the row."""
    _, name, kind, default, values = row.groups()
    text = " ".join(text)
    if default == "REQUIRED":
        wanted = "It must be given."
    else:
        wanted = f"Default: {default.strip(chr(34)) or 'empty'}" + (
            f"; it may be from {values}." if values and kind != "CHOICE" else "."
        )
    if wanted not in text:
        yield f"{name}: does not say \"{wanted}\""
    if kind == "CHOICE" and re.findall(r"Cm (\w+)", words) != values.split(" | "):
        yield f"{name}: its words are {values}"


def main():
    args = common.arguments(__doc__).parse_args()
    page = described(common.read(args.root, PAGE))
    rows = [ROW.match(line) for line in common.read(args.root, TABLE).splitlines() if line.startswith("SETTING_")]
    if not rows or None in rows:
        raise common.CannotLook(f"{TABLE}: a row that this gate does not understand")
    findings = []
    for row in rows:
        where = page.pop((HEADINGS[row[1]], row[2]), None)
        if where:
            findings += [f"{PAGE}:{where[0]}: {text}" for text in wrong(row, where[1], where[2])]
        else:
            findings.append(f"{PAGE}:1: {row[2]} is missing under {HEADINGS[row[1]]}")
    findings += [f"{PAGE}:{where[0]}: {name} is no setting" for (_, name), where in page.items()]
    return findings


if __name__ == "__main__":
    common.run(main)
