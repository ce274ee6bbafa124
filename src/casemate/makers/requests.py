"""What the commands of both makers take: a request on standard input, and options."""

from argparse import Namespace
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from casemate.makers.errors import MakerError

Command = Callable[[Path, Namespace, datetime, BinaryIO], bytes]
"""State directory, options, the time and standard input, to the answer's JSON."""

MAX_REQUEST = 64 * 1024
"""Longest request on standard input (bytes of JSON)."""

_MAX_NAME = 64


def advisory_of(arguments: Namespace) -> str:
    """The ``--advisory`` of a command line.

    Raises:
        MakerError: it is not a short name.
    """
    advisory: str = arguments.advisory
    if not (0 < len(advisory) <= _MAX_NAME and advisory.isascii() and advisory.isprintable()):
        raise MakerError(f"advisory is {advisory!a}, want a short name such as SIM-SA-00006")
    return advisory
