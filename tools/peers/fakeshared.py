"""What hangs on the folders of a fake server beside mail: rights (RFC 4314) and annotations (RFC 5464),
where its ways offer ACL and METADATA."""

from __future__ import annotations

from .fakestore import StoredFolder
from .fakewords import Refused, octets_of, text, wire_string


class Shared:
    """Commands of a session that has the folder, need() and untagged() of fakeimap.Session."""

    def do_getacl(self, tokens: list) -> None:
        self.need("ACL")
        folder = self.folder(tokens[0])
        words = [folder.wire, *(word for row in sorted(folder.acl.items()) for word in row)]
        self.untagged(b"ACL ", b" ".join(wire_string(octets_of(word)) for word in words))

    def do_setacl(self, tokens: list) -> None:
        self.need("ACL")
        folder, who, letters = self.folder(tokens[0]), text(tokens[1]), text(tokens[2])
        if not letters.startswith("+"):
            raise Refused("BAD Rights are only ever added here")
        had = folder.acl.get(who, "")
        folder.acl[who] = "".join(sorted({*had, *letters[1:]}))

    def do_getmetadata(self, tokens: list) -> None:
        self.need("METADATA")
        folder = self.folder(tokens[1])
        if folder.notes:
            self.untagged(b"METADATA ", wire_string(octets_of(folder.wire)), told(folder))

    def do_setmetadata(self, tokens: list) -> None:
        self.need("METADATA")
        name, value = tokens[1]
        self.folder(tokens[0]).notes[text(name)] = text(value)


def told(folder: StoredFolder) -> bytes:
    words = [word for row in sorted(folder.notes.items()) for word in row]
    return b" (" + b" ".join(wire_string(octets_of(word)) for word in words) + b")"
