"""The copy of a program's process that serves calls."""

import os
from typing import NoReturn

from casemate.engines.frames import NO_CALL, FrameKind
from casemate.engines.python.bootstrap.calls import Calls
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME
from casemate.engines.python.bootstrap.line import Line
from casemate.engines.python.bootstrap.program import Program
from casemate.engines.python.bootstrap.streams import Streams

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
