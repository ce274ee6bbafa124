"""``print``, :mod:`logging` and :mod:`warnings`: lines that a debug enclave shows its operator.

Any other enclave drops them. Without the permission ``log`` what prints is told so by an exception, except in a debug
enclave; warnings, which are the interpreter's words rather than the program's, are dropped then.
"""

import io
import sys
import warnings
from collections.abc import Callable
from typing import Any

from casemate.engines.python.bootstrap.errors import told
from casemate.engines.python.bootstrap.limits import MAX_LINES, MAX_TEXT
from casemate.guest import EnclaveError


def not_granted(permission: str) -> str:
    """Words for what a program lacks the permission for."""
    line = f'permissions = ["{permission}", ...]'
    return f'this needs the permission "{permission}": add {line} to [enclave] in casemate.toml'


class Console(io.TextIOBase):
    """What ``sys.stdout`` and ``sys.stderr`` are.

    Args:
        send: puts out a line while the enclave listens.
        is_heard: whether the enclave listens; what is printed otherwise is dropped.
    """

    def __init__(self, send: Callable[[str], None], is_heard: Callable[[], bool]) -> None:
        self._send = send
        self._is_heard = is_heard
        self._lines = 0
        self._open = ""
        """The beginning of a line whose end has not come."""
        self.granted = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        """Prints the lines of a text; the last one stays open until its end comes, or the call's."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._is_heard():
            return len(text)
        if not self.granted:
            raise EnclaveError("guest-error", not_granted("log"))
        start = 0
        while self._lines < MAX_LINES and (end := text.find("\n", start)) >= 0:
            self._put(self._open + text[start : min(end, start + MAX_TEXT)])
            start = end + 1
        if self._lines < MAX_LINES and len(self._open) < MAX_TEXT:
            self._open += text[start : start + MAX_TEXT]
        return len(text)

    def line(self, text: str) -> None:
        """Prints a line of the bootstrap's own, where the program may print."""
        if self.granted and self._is_heard():
            self.end()
            self._put(text)

    def begin(self) -> None:
        """A call begins, or a step of a stream."""
        self._lines, self._open = 0, ""

    def end(self) -> None:
        """Prints the line that is open."""
        if self._open:
            self._put(self._open)

    def _put(self, text: str) -> None:
        self._open = ""
        if self._lines < MAX_LINES:
            self._lines += 1
            self._send(text[:MAX_TEXT])


def install(console: Console) -> None:
    """Gives the program this console, and an input that has ended."""
    for name, stream in (("stdout", console), ("stderr", console), ("stdin", io.StringIO(""))):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        console.line(f"{filename}:{lineno}: {category.__name__}: {message}")

    def unraisable(what: Any) -> None:
        if what.exc_value is not None:
            console.line(f"an exception outside of a call: {told(what.exc_value)}")

    warnings.showwarning = show
    sys.unraisablehook = unraisable
