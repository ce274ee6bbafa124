"""The words about an exception in a guest's code: what it says, its place, and the line of the source at that place."""

from collections.abc import Sequence

from casemate.engines.command import SourceModule
from casemate.engines.frames import Failed

MAX_LINE = 200
"""Most characters of a line of source that are told."""


def words_of(failed: Failed, modules: Sequence[SourceModule]) -> str:
    """The exception in one line and, below it, the line of source in which it was thrown.

    They can hold anything that the guest has seen, so only a debug enclave may tell them, or one whose guest has not
    been called yet. The place is the guest's word: one that is in none of the modules is left out.
    """
    words = failed.message if failed.name == failed.code else f"{failed.name}: {failed.message}"
    place = failed.place
    if place is None:
        return words
    source = next((module.source for module in modules if module.path == place.path), None)
    if source is None:
        return words
    position = f"{place.path}:{place.line}" + (f":{place.column}" if place.column else "")
    return f"{words} at {position}{_excerpt(source, place.line, place.column)}"


def _excerpt(source: bytes, line: int, column: int) -> str:
    """That line of a source, indented on a line of its own; nothing if there is no such line or only blanks in it."""
    lines = source.split(b"\n")
    if not 1 <= line <= len(lines):
        return ""
    text = lines[line - 1].decode(errors="replace").rstrip()
    if len(text) > MAX_LINE:  # the part around the column
        start = min(max(0, column - 1 - MAX_LINE // 2), len(text) - MAX_LINE)
        text = text[start : start + MAX_LINE]
    shown = "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in text).strip()
    return f"\n    {shown}" if shown else ""
