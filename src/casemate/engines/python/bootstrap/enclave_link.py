"""The link to the enclave: which call is under way, and what is asked and printed in it.

The enclave ends a guest that speaks when it is not its turn. So the link knows the call under way, and code that a call
has left behind (a task, an object kept in a variable) finds that its call is over.
"""

import os
from typing import Any

from casemate.engines.frames import NO_CALL, FrameKind
from casemate.engines.python.bootstrap.json_text import decode
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME
from casemate.engines.python.bootstrap.line import Line
from casemate.guest import ABSENT, EnclaveError


class EnclaveLink:
    """Speaks for the call under way."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self._call: bytes | None = None

    @property
    def call(self) -> bytes | None:
        """The call under way."""
        return self._call

    @property
    def listens(self) -> bool:
        """Whether the enclave expects frames now."""
        return self._call is not None

    def begin(self, call: bytes = NO_CALL) -> None:
        """A call begins, or a step of a stream; or the program is being loaded."""
        self._call = call

    def over(self) -> None:
        """It is over: what the program goes on to ask is refused, and what it prints is dropped."""
        self._call = None

    def ask(self, call: bytes, kind: FrameKind, head: dict[str, object], text: bytes) -> Any:
        """The enclave's answer: see :class:`~casemate.engines.python.bootstrap.context.Asker`."""
        self.check_is_under_way(call)
        self.line.send_head(kind, call, head, text)
        answer = self.line.receive()
        if answer.kind == FrameKind.ANSWER:
            return decode(answer.body) if answer.body else ABSENT
        if answer.kind != FrameKind.REFUSAL:
            os._exit(BROKEN_FRAME)  # the enclave never sends anything else here
        said, _ = answer.opened()
        raise EnclaveError(str(said["name"]), str(said["message"]))

    def check_is_under_way(self, call: bytes) -> None:
        """Raises ``RuntimeError`` where a call is over."""
        if call != self._call:
            raise RuntimeError("this call is over")

    def print(self, text: str) -> None:
        """Sends a line of the console."""
        if self._call is not None:
            self.line.send(FrameKind.PRINTED, self._call, text.encode(errors="replace"))
