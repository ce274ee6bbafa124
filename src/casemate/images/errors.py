"""What can be wrong with a folder or a value, one class for each reaction."""

from typing import Self

from casemate.wire.errors import CasemateError


class SchemaMismatchError(CasemateError):
    """A value is not as its schema says. The message holds no value, so it may be shown where the value may not."""


class FolderError(CasemateError):
    """The folder cannot become an image: the message names the file and the rule."""


class SourceError(CasemateError):
    """A module of the guest's code cannot be linked: the message names file, line and column.

    Args:
        path: below the image's folder.
        line: from 1.
        column: in characters, from 1.
        reason: what is wrong there.
    """

    def __init__(self, path: str, line: int, column: int, reason: str) -> None:
        super().__init__(f"{path}:{line}:{column}: {reason}")
        self.path = path
        self.line = line
        self.column = column

    @classmethod
    def at(cls, path: str, source: bytes, offset: int, reason: str) -> Self:
        """The error at a byte of the module's source."""
        before = source[:offset].decode("utf-8", "replace")
        line_start = before.rfind("\n") + 1
        return cls(path, before.count("\n") + 1, len(before) - line_start + 1, reason)


class KeyFileError(CasemateError):
    """The developer's key file cannot be used: the message says what to do."""


class ImageFileError(CasemateError):
    """An image's files are missing, or do not belong together."""


class BuildTimeError(CasemateError):
    """The build's time is in no year that a SIGSTRUCT can name."""
