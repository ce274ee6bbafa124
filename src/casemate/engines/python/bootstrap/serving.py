"""The copy of a program's process that serves calls."""

import os
import signal
from types import FrameType
from typing import NoReturn

from casemate.engines.frames import NO_CALL, FrameKind
from casemate.engines.python.bootstrap.calls import Calls
from casemate.engines.python.bootstrap.errors import place_under_way
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME
from casemate.engines.python.bootstrap.line import Line
from casemate.engines.python.bootstrap.program import Program
from casemate.engines.python.bootstrap.streams import Streams
from casemate.wire.protocol.faults import Code

_STEPS = frozenset({FrameKind.OPEN, FrameKind.CHUNK, FrameKind.END, FrameKind.PULL})


def serve(program: Program, reading: int, writing: int) -> NoReturn:
    """Says that the program is loaded, and serves its calls until the enclave has gone.

    Args:
        program: loaded by the process that this one is a copy of.
        reading: the descriptor that the enclave writes to.
        writing: the descriptor that it reads from.
    """
    line = Line(reading, writing)
    program.enclave.line = line
    calls, streams = Calls(program), Streams(program)
    if program.debug:
        signal.signal(signal.SIGALRM, lambda _, frame: _tell_where(program, frame))
    line.send(FrameKind.LOADED, NO_CALL)
    while True:
        frame = line.receive()
        if frame.kind == FrameKind.CALL:
            calls.serve(frame)
        elif frame.kind in _STEPS:
            streams.serve(frame)
        elif frame.kind == FrameKind.DROP:
            streams.drop(frame.call)
        else:
            os._exit(BROKEN_FRAME)


def _tell_where(program: Program, frame: FrameType | None) -> None:
    """The last word of a call whose time is up: the enclave ends this process next, whatever it goes on to do."""
    call = program.enclave.call
    if call is not None:
        said = {"code": Code.GUEST_ERROR, "name": "", "message": "", "place": place_under_way(frame, program.files)}
        program.enclave.line.send_head(FrameKind.FAILED, call, said)
        while True:  # until the enclave has gone: if it ended now, its end might be noticed before its word
            program.enclave.line.receive()
