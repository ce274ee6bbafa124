"""What can be wrong with a folder or a value, one class for each reaction."""

from collections.abc import Callable
from typing import Self

from casemate.wire.errors import CasemateError


class SchemaMismatchError(CasemateError):
    """A value is not as its schema says. The message holds no value, so it may be shown where the value may not.

    Args:
        message: the error's.
        explain: says which member it is, what the schema wants of it, and how it begins, for whoever may see the value.
            Only called where that is told, since it takes longer than the check.
    """

    def __init__(self, message: str, explain: Callable[[], str] | None = None) -> None:
        super().__init__(message)
        self._explain = explain

    @property
    def explanation(self) -> str:
        """The member, what is wanted, and its beginning; the message where the member is not known."""
        return str(self) if self._explain is None else self._explain()


def mismatch_words(error: CasemateError, *, explain: bool) -> str:
    """The words about a value that is not as it has to be; only if ``explain``, they may quote the value."""
    return error.explanation if explain and isinstance(error, SchemaMismatchError) else str(error)


class FolderError(CasemateError):
    """The folder cannot become an image: the message names the file and the rule."""


_LONGEST_EXCERPT = 100
"""Characters of a line that an excerpt shows."""


class SourceError(CasemateError):
    """A file of the guest's code can never be loaded: the message names file, line and column.

    Args:
        path: below the image's folder.
        line: from 1.
        column: in characters, from 1.
        reason: what is wrong there.
        text: the whole line; empty where there is nothing to show.
    """

    def __init__(self, path: str, line: int, column: int, reason: str, *, text: str = "") -> None:
        super().__init__(f"{path}:{line}:{column}: {reason}")
        self.path = path
        self.line = line
        self.column = column
        self.excerpt = line_excerpt(text, column)
        """The line, cut around the column, and a caret below it; None where there is nothing to show."""

    @classmethod
    def at(cls, path: str, source: bytes, offset: int, reason: str) -> Self:
        """The error at a byte of the file."""
        before = source[:offset].decode("utf-8", "replace")
        line_start = before.rfind("\n") + 1
        return cls.in_line(path, source, before.count("\n") + 1, len(before) - line_start + 1, reason)

    @classmethod
    def in_line(cls, path: str, source: bytes, line: int, column: int, reason: str) -> Self:
        """The error at a line and a column of the file."""
        lines = source.split(b"\n")
        text = lines[line - 1].decode("utf-8", "replace").rstrip("\r") if 0 < line <= len(lines) else ""
        return cls(path, line, column, reason, text=text)


def line_excerpt(text: str, column: int) -> str | None:
    """A line and the caret below it, of which no character steers a terminal or has a width of its own choice."""
    if not text.strip():
        return None
    from unicodedata import combining, east_asian_width  # not for enclaves, which raise no such error

    first = max(0, min(column - 1 - _LONGEST_EXCERPT // 2, len(text) - _LONGEST_EXCERPT))
    shown = "".join(
        character if character.isprintable() and not combining(character) else " " if character == "\t" else "\ufffd"
        for character in text[first : first + _LONGEST_EXCERPT]
    )
    below = "".join("  " if east_asian_width(character) in "FW" else " " for character in shown[: column - 1 - first])
    cut_before, cut_behind = "..." if first else "", "..." if first + _LONGEST_EXCERPT < len(text) else ""
    return f"{cut_before}{shown}{cut_behind}\n{' ' * len(cut_before)}{below}^"


class KeyFileError(CasemateError):
    """The developer's key file cannot be used: the message says what to do."""


class ImageFileError(CasemateError):
    """An image's files are missing, or do not belong together."""


class BuildTimeError(CasemateError):
    """The build's time is in no year that a SIGSTRUCT can name."""
