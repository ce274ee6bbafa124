"""Words about exceptions of the program: their names, messages and places.

Anything can be raised: an exception whose ``__str__`` raises, or has no end. What never returns is ended by the time
limit of the call, as any other endless loop.
"""

from collections.abc import Container, Iterator
from itertools import islice
from types import FrameType, TracebackType
from typing import NamedTuple

from casemate.engines.python.bootstrap.limits import MAX_PARTS, MAX_TEXT
from casemate.guest import EnclaveError


class Told(NamedTuple):
    """Name and message of an exception."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


UNTELLABLE = Told("Exception", "it raises another exception when it is asked what it is")
"""What is told of an exception that raises another one when it is asked what it is."""


def told(thrown: BaseException) -> Told:
    """Name and message of whatever was raised. What the enclave refused has the enclave's name for it."""
    try:
        return _told(thrown)
    except BaseException:  # its class is the program's, whose attributes and methods may raise, too
        return UNTELLABLE


def _told(thrown: BaseException) -> Told:
    if isinstance(thrown, EnclaveError) and isinstance(thrown.code, str):
        return Told(words(thrown.code), words(_message(thrown)))
    message = _message(thrown)
    if isinstance(thrown, BaseExceptionGroup):
        message = f"{message}: {'; '.join(str(told(part)) for part in thrown.exceptions[:MAX_PARTS])}"
    return Told(words(type(thrown).__name__), words(message))


def words(text: str) -> str:
    """A text of the program's, cut, without lone surrogates."""
    return text[:MAX_TEXT].encode(errors="replace").decode()


def place_of(thrown: BaseException, files: Container[object]) -> dict[str, object] | None:
    """Where it was raised: the deepest place in a file of the program's; None where there is none.

    Columns count characters from 1; 0 stands for none.
    """
    if isinstance(thrown, SyntaxError) and thrown.filename in files:
        return _place(str(thrown.filename), thrown.lineno, thrown.offset)
    found = None
    for trace in _traces(thrown.__traceback__):
        if trace.tb_frame.f_code.co_filename in files:
            found = trace
    if found is None:
        return None
    return _place_in(found.tb_frame, found.tb_lasti, found.tb_lineno)


def place_under_way(frame: FrameType | None, files: Container[object]) -> dict[str, object] | None:
    """Where a frame is, or the nearest of its callers that is of the program's; None where none is."""
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    return None if frame is None else _place_in(frame, frame.f_lasti, frame.f_lineno)


def _place_in(frame: FrameType, instruction: int, line: int) -> dict[str, object]:
    code, column = frame.f_code, None
    if instruction >= 0:
        column = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)[2]
    return _place(code.co_filename, line, _characters(frame, line, column))


def _place(path: str, line: int | None, column: int | None) -> dict[str, object]:
    return {"path": path, "line": max(line or 0, 0), "column": max(column or 0, 0)}


def _characters(frame: FrameType, number: int, offset: int | None) -> int:
    """The column of a byte offset in a line, from 1."""
    loader = frame.f_globals.get("__loader__")
    if offset is None or loader is None:
        return 0
    try:
        source = loader.get_source(frame.f_globals.get("__name__"))
        line = source.splitlines()[number - 1]
        return len(line.encode()[:offset].decode(errors="ignore")) + 1
    except Exception:  # the program may have replaced its own loader, or the line is none of its source
        return offset + 1


def _traces(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _message(thrown: BaseException) -> str:
    if isinstance(thrown, SyntaxError) and isinstance(thrown.msg, str):
        return thrown.msg  # its text would add the place
    try:
        return str(thrown)
    except BaseException:  # it is the program's own __str__
        return ""
