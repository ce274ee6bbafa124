"""Finds the imports of the guest's modules at build time: the place of each specifier, and the file that it means.

Nothing resolves imports inside the enclave: the engine puts each target's own name where the link says that its
specifier is. So only static imports are allowed, with relative specifiers, of measured files. tree-sitter parses the
modules; the engine decides on syntax when it loads the code. Where the two are known to split a source into different
tokens (hash-bangs, which end at different characters; ends of lines; HTML comments), the source is refused.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from casemate.images.errors import SourceError
from casemate.images.functions.json_modules import check_json
from casemate.images.layout import GUEST, CircularImportsError, load_order
from casemate.wire.errors import importing
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.manifest_text import MAIN_FILES

with importing("machine", "building an image"):
    import tree_sitter_javascript
    from tree_sitter import Language, Node, Parser, Query, QueryCursor

MAX_SOURCE = 4 * 1024 * 1024
"""Largest module (bytes): a larger table should be in a JSON file, which can be imported."""
MAX_SPECIFIER = 128
"""Longest import specifier (characters): no measured path needs more."""

_JAVASCRIPT = Language(tree_sitter_javascript.language())
_SPECIFIERS = Query(
    _JAVASCRIPT,
    """
    (import_statement source: (string) @specifier) @statement
    (export_statement source: (string) @specifier) @statement
    """,
)
_HASH_BANGS = Query(_JAVASCRIPT, "(hash_bang_line) @line")
_ODD_LINE_END = re.compile(rb"\r(?!\n)|\xe2\x80[\xa8\xa9]")
"""Characters that end a line, and so a comment, in ECMA-262 (12.3) but not in most editors and some parsers."""
_STRINGS = Query(_JAVASCRIPT, "(string) @string")
_HTML_COMMENTS = Query(_JAVASCRIPT, "(html_comment) @comment")
_DYNAMIC = Query(_JAVASCRIPT, "(call_expression function: (import)) @dynamic")
_EXPORTS = Query(
    _JAVASCRIPT,
    """
    (export_statement declaration: (function_declaration name: (identifier) @name))
    (export_statement declaration: (generator_function_declaration name: (identifier) @name))
    (export_statement declaration: (class_declaration name: (identifier) @name))
    (export_statement declaration: (lexical_declaration (variable_declarator name: (identifier) @name)))
    (export_statement declaration: (variable_declaration (variable_declarator name: (identifier) @name)))
    (export_specifier name: (_) @name !alias)
    (export_specifier alias: (_) @name)
    (namespace_export (_) @name)
    """,
)
_UNDECIDED = Query(
    _JAVASCRIPT,
    """
    (export_statement "*" @all . "from")
    (export_statement declaration: (_ (variable_declarator name: (object_pattern) @pattern)))
    (export_statement declaration: (_ (variable_declarator name: (array_pattern) @pattern)))
    """,
)
"""Exports whose names are in another file, or that are not worth finding."""
_JSON_ATTRIBUTE = "import_attribute"


@dataclass(frozen=True, slots=True)
class Linked:
    """What the guest's modules import and export."""

    links: tuple[Link, ...]
    """All imports, in the order of the image's index: by importer, then by place."""
    exports: Mapping[str, frozenset[str] | None]
    """The names that each module exports; None where they cannot be listed, as with ``export * from``."""


def link_modules(files: Mapping[str, bytes]) -> Linked:
    """Parses all modules under ``guest/``.

    Raises:
        SourceError: names the file, line and column that cannot be linked, and why.
    """
    links: list[Link] = []
    exports: dict[str, frozenset[str] | None] = {}
    for path in sorted(filter(_is_module, files), key=str.encode):
        module = _Module(path, files[path])
        links += module.links(files)
        exports[path] = module.exports()
    for path in sorted({link.target for link in links if link.target.endswith(".json")}):
        check_json(path, files[path])
    _check_circles(links, files)
    return Linked(tuple(links), exports)


def _is_module(path: str) -> bool:
    """Whether a file can be imported as code; a Python file beside it is data that nobody reads."""
    return path.startswith(GUEST) and path.endswith(MAIN_FILES[Engine.JAVASCRIPT][1])


class _Module:
    """One parsed file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path = path
        self.source = source
        if len(source) > MAX_SOURCE:
            raise SourceError(path, 1, 1, f"the module has {len(source)} bytes, at most {MAX_SOURCE} are allowed")
        try:
            source.decode()
        except UnicodeDecodeError as error:
            raise SourceError.at(path, source, error.start, "this is not valid UTF-8") from None
        self._root = Parser(_JAVASCRIPT).parse(source).root_node
        if self._root.has_error:
            raise self._error(_first_error(self._root), "this is not a valid JavaScript module")
        for node in _captured(_HASH_BANGS, self._root, "line"):
            raise self._error(node, "a module of an enclave has no #! line: nobody starts it as a program")
        self._check_line_ends()
        for node in _captured(_HTML_COMMENTS, self._root, "comment"):
            raise self._error(node, "modules have no comments of HTML's: write // instead")

    def _check_line_ends(self) -> None:
        """Refuses line ends that most editors do not show.

        In string literals U+2028 and U+2029 are ordinary characters (ECMA-262, 12.9.4).
        """
        odd = [found.start() for found in _ODD_LINE_END.finditer(self.source)]
        if not odd:
            return
        strings = [(node.start_byte, node.end_byte) for node in _captured(_STRINGS, self._root, "string")]
        for offset in odd:
            kind = _LINE_ENDS[self.source[offset : offset + 3]] if self.source[offset] != _CR else "a lone CR"
            if kind == "a lone CR" or not any(start < offset < end for start, end in strings):
                reason = f"{kind} ends a line here, which few editors show: lines end with LF or CRLF"
                raise SourceError.at(self.path, self.source, offset, reason)

    def links(self, files: Mapping[str, bytes]) -> list[Link]:
        """The module's static imports, in source order."""
        for node in _captured(_DYNAMIC, self._root, "dynamic"):
            raise self._error(node, "import() is not available in an enclave: import at the top of the module")
        found = []
        for _, captures in QueryCursor(_SPECIFIERS).matches(self._root):
            (literal,), (statement,) = captures["specifier"], captures["statement"]
            found.append(self._link(literal, statement, files))
        return sorted(found, key=lambda link: link.start)

    def _link(self, literal: Node, statement: Node, files: Mapping[str, bytes]) -> Link:
        specifier = self.source[literal.start_byte + 1 : literal.end_byte - 1].decode()
        if "\\" in specifier:
            raise self._error(literal, "an import specifier is written without escapes")
        if len(specifier) > MAX_SPECIFIER:
            raise self._error(literal, f"an import specifier has at most {MAX_SPECIFIER} characters")
        if not specifier.startswith(("./", "../")):
            reason = f"{specifier!r} is not relative: an enclave imports measured files alone, by ./; "
            raise self._error(literal, f"{reason}bundle a package into one (`casemate docs writing-functions`)")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(self.path), specifier))
        if not target.startswith(GUEST) or target not in files:
            raise self._error(literal, f"{specifier!r} would be {target}, which is not a measured file under {GUEST}")
        self._check_type(literal, statement, target)
        return Link(self.path, specifier, target, literal.start_byte, literal.end_byte)

    def _check_type(self, literal: Node, statement: Node, target: str) -> None:
        """Checks the import attributes: ``type: "json"`` for JSON, none for code; other files cannot be imported."""
        attributes = [self._text(child) for child in statement.named_children if child.type == _JSON_ATTRIBUTE]
        is_json = [text.translate(_PLAIN) for text in attributes] == ["withtype:json"]
        if _is_module(target) and not attributes:
            return
        if target.endswith(".json") and is_json:
            return
        if target.endswith(".json"):
            raise self._error(literal, 'JSON is imported as: import data from "./data.json" with { type: "json" }')
        raise self._error(literal, f"{target} is neither a .js or .mjs module nor a .json file imported as one")

    def exports(self) -> frozenset[str] | None:
        """The names that it exports; None where they cannot be listed."""
        if QueryCursor(_UNDECIDED).captures(self._root):
            return None
        names = [node for node in _captured(_EXPORTS, self._root, "name") if not _is_default(node)]
        if any("\\" in self._text(node) for node in names):
            return None
        return frozenset(self._text(node).strip("\"'") for node in names)

    def _text(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode()

    def _error(self, node: Node, reason: str) -> SourceError:
        return SourceError.at(self.path, self.source, node.start_byte, reason)


_CR = 0x0D
_LINE_ENDS = {"\u2028".encode(): "U+2028", "\u2029".encode(): "U+2029"}

_PLAIN = str.maketrans("", "", " \t\r\n{},'\"")
"""Characters in ``with { type: "json" }`` that do not change its meaning."""


def _captured(query: Query, root: Node, name: str) -> list[Node]:
    return QueryCursor(query).captures(root).get(name, [])


def _is_default(name: Node) -> bool:
    """Whether a declaration is exported as ``default``, so that its own name is not."""
    statement = name.parent.parent if name.parent is not None else None
    return statement is not None and any(child.type == "default" for child in statement.children)


def _first_error(root: Node) -> Node:
    """The first node at which the parser failed or inserted something."""
    for node in _walk(root):
        if node.is_error or node.is_missing:
            return node
    return root


def _walk(root: Node) -> Iterator[Node]:
    """The nodes with an error in them, in the order in which they stand, without recursion."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += [child for child in reversed(node.children) if child.has_error or child.is_missing]


def _check_circles(links: list[Link], files: Mapping[str, bytes]) -> None:
    """Refuses modules that import each other.

    A module is loaded after those that it imports, so none of them could be first.
    """
    try:
        load_order(tuple(links), [link.importer for link in links])
    except CircularImportsError as error:
        link = next(link for link in links if (link.importer, link.target) == error.circle[:2])
        reason = f"modules import each other: {' -> '.join(error.circle)}"
        raise SourceError.at(link.importer, files[link.importer], link.start, reason) from None
