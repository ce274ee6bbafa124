"""Calls of a function's copy: in one piece, or with a stream that is kept in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.files import InputFileError, read_file
from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from casemate.client.caller_keys import CallerKey
    from casemate.client.core import Result
    from casemate.client.sync import Enclave
    from casemate.wire.protocol.manifest import EntryPoint

MAX_STREAM = 64 * 1024 * 1024
"""Longest stream in either direction (bytes): it is kept in memory, and an example is short."""

STREAM = ".stream"
"""What the file is called that is streamed in, beside a file of arguments with another ending."""


class EndlessStreamError(CasemateError):
    """A function has put out more than what is kept of a stream."""


@dataclass(frozen=True, slots=True)
class Gave:
    """What a call has given."""

    result: "Result"
    sent: int = 0
    """Bytes that the function has taken of the stream."""
    stream: bytes | None = None
    """What it has put out; None where its entry point has no stream."""


def call_copy(
    enclave: "Enclave", entry: "EntryPoint", arguments: Any, pieces: Sequence[bytes], caller: "CallerKey | None"
) -> Gave:
    """Calls an entry point.

    Args:
        enclave: the copy.
        entry: the entry point.
        arguments: JSON.
        pieces: what is streamed in, each piece by itself.
        caller: who signs.

    Raises:
        EndlessStreamError: it put out more than ``MAX_STREAM``.
        InputFileError: there is something to stream in, and the entry point has no stream.
    """
    if not entry.stream:
        if pieces:
            raise InputFileError(f"entry point {entry.name!r} takes no stream: {STREAM} files are for stream = true")
        return Gave(enclave.call(entry.name, arguments, caller=caller))
    out = bytearray()
    with enclave.stream(entry.name, arguments, pieces, caller=caller) as stream:
        for piece in stream:
            out += piece
            if len(out) > MAX_STREAM:
                raise EndlessStreamError(
                    f"{entry.name} has put out more than {MAX_STREAM} bytes, its end was not waited for"
                )
    return Gave(stream.result, stream.sent, bytes(out))


def read_stream(path: Path) -> bytes:
    """What is streamed in.

    Raises:
        InputFileError: it cannot be read, or is longer than ``MAX_STREAM``.
    """
    return read_file(path, what="stream", limit=MAX_STREAM)


def stream_text(stream: bytes) -> str:
    """What was put out as text, as far as it is UTF-8; the other bytes as escapes."""
    return stream.decode("utf-8", "backslashreplace")
