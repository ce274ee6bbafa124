"""Python sources at build time: decoded and compiled as the guest's interpreter will, and never run.

What is refused here is what no interpreter could load, and what two readers would not take for the same text: other
encodings than UTF-8, a byte order mark, line ends that editors do not show. The parser is that of the interpreter that
builds, which the errors name, since the runtime's may have another minor version.
"""

import ast
import codecs
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from casemate.images.errors import SourceError
from casemate.images.layout import GUEST

MAX_SOURCE: Final = 4 * 1024 * 1024
"""Largest module (bytes): a larger table should be in a JSON file."""
BUILDER: Final = f"Python {sys.version_info.major}.{sys.version_info.minor}, which builds this image,"

_COOKIE = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)
"""An encoding's declaration, which may stand in the first two lines (PEP 263)."""
_BLANK = re.compile(rb"[ \t\f]*(?:#.*)?", re.ASCII)
_LONE_CR = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, slots=True)
class PythonModule:
    """One parsed file."""

    path: str
    name: str
    """The name by which others import it, such as ``words.index`` for ``guest/words/index.py``."""
    is_package: bool
    """Whether it is the ``__init__.py`` of its folder."""
    source: bytes
    tree: ast.Module

    @property
    def package(self) -> str:
        """What its relative imports start from; empty at the root, which is no package."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    def error(self, node: ast.AST, reason: str) -> SourceError:
        """The error at a node of the tree."""
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        text = self.source.split(b"\n")[line - 1]
        column = len(text[:offset].decode("utf-8", "replace")) + 1
        return SourceError.in_line(self.path, self.source, line, column, reason)


_ADVICE = {"'return' with value in async generator": ": give the result by context.finish(VALUE), and return nothing"}
"""What to write instead, for errors of syntax that are less about Python than about functions."""


def module_name(path: str) -> str:
    """The name by which a file below ``guest/`` is imported; empty for ``guest/__init__.py``."""
    parts = PurePosixPath(path.removeprefix(GUEST)).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse_module(path: str, source: bytes) -> PythonModule:
    """Compiles a source without running it.

    Raises:
        SourceError: it can never be loaded, or not everybody would read the same text.
    """
    _check_text(path, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what may be wrong in code that loads is for linters to say
            tree = ast.parse(source, path)
            compile(tree, path, "exec", dont_inherit=True)  # finds `return` outside of functions and the like
    except SyntaxError as error:  # TabError and IndentationError are of this class
        line, column = error.lineno or 1, max(error.offset or 1, 1)
        reason = f"{BUILDER} cannot load this: {error.msg}{_ADVICE.get(error.msg, '')}"
        raise SourceError.in_line(path, source, line, column, reason) from None
    except (RecursionError, MemoryError):
        raise SourceError(path, 1, 1, f"{BUILDER} cannot load this: it is nested too deeply") from None
    return PythonModule(path, module_name(path), path.endswith("/__init__.py"), source, tree)


def _check_text(path: str, source: bytes) -> None:
    """Checks that everybody reads the same text: UTF-8 without a mark, lines that end as everywhere."""
    if len(source) > MAX_SOURCE:
        raise SourceError(path, 1, 1, f"the module has {len(source)} bytes, at most {MAX_SOURCE} are allowed")
    if source.startswith(codecs.BOM_UTF8):
        raise SourceError(path, 1, 1, "the file begins with a byte order mark: save it as UTF-8 without one")
    if source.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SourceError(path, 1, 1, "this is UTF-16: save the file as UTF-8")
    _check_cookie(path, source)
    try:
        source.decode()
    except UnicodeDecodeError as error:
        raise SourceError.at(path, source, error.start, "this is not valid UTF-8") from None
    if (null := source.find(b"\0")) >= 0:
        raise SourceError.at(path, source, null, "a null byte: Python loads no source that has one")
    if (lone := _LONE_CR.search(source)) is not None:
        reason = "a lone CR ends a line here, which few editors show: lines end with LF or CRLF"
        raise SourceError.at(path, source, lone.start(), reason)


def _check_cookie(path: str, source: bytes) -> None:
    """Refuses a declared encoding that is not UTF-8; one on the second line counts below a blank line or a comment."""
    start = 0
    for line in source.split(b"\n", 2)[:2]:
        found = _COOKIE.match(line)
        if found is not None:
            declared = found[1].decode("ascii")
            if not _is_utf8(declared):
                reason = f"the encoding {declared[:80]} is declared: save the file as UTF-8, and take this line out"
                raise SourceError.at(path, source, start + found.start(1), reason)
            return
        if not _BLANK.fullmatch(line.rstrip(b"\r")):
            return
        start += len(line) + 1


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False
