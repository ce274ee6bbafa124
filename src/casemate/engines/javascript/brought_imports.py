"""The imports of a JavaScript module that a caller has brought, found without parsing it.

A build parses a measured module with tree-sitter. Here the sources are hostile and the reader is an enclave, which has
one thread: so imports must stand at the top, before all other code, where a few expressions find each of them in one
pass. What looks like an import further down is none of the links, and the engine's loader refuses it in the guest.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from casemate.wire.errors import CasemateError
from casemate.wire.protocol.image_index import Link

MAX_TOP = 8 * 1024
"""Within so many bytes of a module its imports must stand: placing one takes a look at all that is before it."""
MAX_IMPORTS = 64
"""Most imports of a module."""

_SPACE = re.compile(rb"(?:[ \t\r\n]++|//[^\r\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
_QUOTED = rb"(?:\"[^\"\\\r\n]*+\"|'[^'\\\r\n]*+')"
_STATEMENT = re.compile(
    rb"(?P<word>import|export)(?P<clause>[\w$\s,{}*\x80-\xff]*+)(?P<specifier>" + _QUOTED + rb")"
    rb"(?P<json>\s*+with\s*+\{\s*+type\s*+:\s*+(?:\"json\"|'json')\s*+\})?+[ \t]*+;?"
)
_FROM = re.compile(rb"(?:^|[\s}*])from\s*$")


@dataclass
class ImportRefusedError(CasemateError):
    """An import that leads nowhere."""

    path: str
    line: int
    """From 1."""
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}"


def brought_links(path: str, source: bytes, files: Mapping[str, bytes]) -> tuple[Link, ...]:
    """The module's imports, in the order in which they stand.

    Args:
        path: its path.
        source: its text.
        files: all that has been brought with it, by path.

    Raises:
        ImportRefusedError: an import is not of another of these files, or there are too many.
    """
    links: list[Link] = []
    top = source[:MAX_TOP]
    at = _after_space(top, 0)
    while (found := _STATEMENT.match(top, at)) is not None and _is_import(found["word"], found["clause"]):
        if len(links) == MAX_IMPORTS:
            raise ImportRefusedError(path, _line(top, at), f"a module has at most {MAX_IMPORTS} imports")
        start, end = found.span("specifier")
        specifier = found["specifier"][1:-1].decode(errors="replace")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), specifier))
        wanted = (".json",) if found["json"] else (".js", ".mjs")
        if not specifier.startswith(("./", "../")) or target not in files or not target.endswith(wanted):
            reason = f"{specifier[:80]!r} is none of the modules that came with it"
            raise ImportRefusedError(path, _line(top, start), reason)
        links.append(Link(path, specifier, target, start, end))
        at = _after_space(top, found.end())
    return tuple(links)


def _after_space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _is_import(word: bytes, clause: bytes) -> bool:
    if word == b"import" and not clause.strip():
        return True
    is_clause = word == b"import" or clause.lstrip()[:1] in (b"*", b"{")
    return is_clause and _FROM.search(clause) is not None


def _line(text: bytes, at: int) -> int:
    return text.count(b"\n", 0, at) + 1
