"""The words about an exception in a guest's code: what it says, its place, and the line of the source at that place."""

from collections.abc import Sequence

from casemate.engines.command import SourceModule
from casemate.engines.frames import Failed, Place
from casemate.wire.protocol.faults import Code, Fault

MAX_LINE = 200
"""Most characters of a line of source that are told."""


def words_of(failed: Failed, modules: Sequence[SourceModule]) -> str:
    """The exception in one line and, below it, the line of source in which it was thrown, with a caret.

    They can hold anything that the guest has seen, so only a debug enclave may tell them, or one whose guest has not
    been called yet. The place is the guest's word: one that is in none of the modules is left out.
    """
    return _exception(failed) + place_words(failed.place, modules)


def words_of_refused(refused: Fault, failed: Failed, modules: Sequence[SourceModule]) -> str:
    """What was refused in a call that failed later; where it failed; and why, if not over the refusal."""
    then = "" if failed.name == refused.code else f"; then {_exception(failed)}"
    return refused.reason + then + place_words(failed.place, modules)


def _exception(failed: Failed) -> str:
    """Its name and message; the message alone where the words are the engine's own or the enclave's."""
    if failed.message and (failed.code is not Code.GUEST_ERROR or failed.name == failed.code):
        return failed.message
    return f"{failed.name}: {failed.message}" if failed.message else failed.name


def place_words(place: Place | None, modules: Sequence[SourceModule]) -> str:
    """``at`` the place, and the line of source below it; empty where it is in none of the modules."""
    source = None if place is None else next((module.source for module in modules if module.path == place.path), None)
    if place is None or source is None:
        return ""
    position = f"{place.path}:{place.line}" + (f":{place.column}" if place.column else "")
    return f" at {position}{_excerpt(source, place.line, place.column)}"


def _excerpt(source: bytes, line: int, column: int) -> str:
    """That line of a source, indented on a line of its own, and a caret below its column, if it has one.

    Nothing if there is no such line or only blanks in it.
    """
    lines = source.split(b"\n")
    if not 1 <= line <= len(lines):
        return ""
    text = lines[line - 1].decode(errors="replace").rstrip()
    start = min(max(0, column - 1 - MAX_LINE // 2), max(0, len(text) - MAX_LINE))  # of the part around the column
    cut = text[start : start + MAX_LINE]
    shown = "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in cut)
    below = column - 1 - start - (len(shown) - len(shown.lstrip()))
    shown = shown.strip()
    caret = f"\n    {' ' * below}^" if 0 <= below < len(shown) else ""
    return f"\n    {shown}{caret}" if shown else ""
