"""`casemate call --stream-in --stream-out`: files through an enclave, with a bar, and kept once all of it holds."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from casemate.cli.files import STANDARD_INPUT, InputFileError, OutputFileError, check_place
from casemate.wire.errors import os_error_text

if TYPE_CHECKING:
    from io import FileIO

    from rich.console import Console

    from casemate.client.caller_keys import CallerKey
    from casemate.client.core import Result
    from casemate.client.sync import Enclave

STANDARD_OUTPUT = Path("-")

Tell = Callable[[int, int], None]
"""Callback with the number of bytes sent and received so far."""


@dataclass(frozen=True, slots=True)
class StreamFiles:
    """The file that is streamed in, and the one that takes what comes out."""

    source: Path | None
    """The file to read; None for no input."""
    target: Path | None
    """The file to write; None to discard the output."""

    @property
    def takes_stdout(self) -> bool:
        """Whether the stream goes to standard output, so that the result has to go elsewhere."""
        return self.target == STANDARD_OUTPUT


@dataclass(frozen=True, slots=True)
class Streamed:
    """The sizes of a finished stream's input and output."""

    result: "Result"
    files: StreamFiles
    sent: int
    received: int

    def document(self) -> dict[str, object]:
        target = None if self.files.target is None else str(self.files.target)
        return {"bytes_in": self.sent, "bytes_out": self.received, "file": target}

    def facts(self) -> list[tuple[str, str]]:
        target = "dropped; --stream-out FILE keeps it" if self.files.target is None else str(self.files.target)
        return [("stream", f"{self.received} bytes, {target}")]


def stream_files(source: Path | None, target: Path | None, *, input_file: Path, as_json: bool) -> StreamFiles | None:
    """The files that the user named; None where nothing is streamed.

    Raises:
        BadParameter: two things want standard input, or standard output.
        InputFileError, OutputFileError: a file is not there, or has no place.
    """
    if source is None and target is None:
        return None
    if source == STANDARD_INPUT == input_file:
        raise typer.BadParameter("standard input is --input's already", param_hint="--stream-in")
    if target == STANDARD_OUTPUT and as_json:
        raise typer.BadParameter("standard output is --json's already", param_hint="--stream-out")
    if source is not None and source != STANDARD_INPUT and (source.is_dir() or not os.access(source, os.R_OK)):
        why = "a directory" if source.is_dir() else "no permission" if source.exists() else "no such file"
        raise InputFileError(f"stream {source}: cannot be read: {why}")
    if target is not None and target != STANDARD_OUTPUT:
        check_place(target, what="stream")
    return StreamFiles(source, target)


def pass_through(
    enclave: "Enclave",
    entry: str,
    arguments: bytes,
    *,
    caller: "CallerKey | None",
    files: StreamFiles,
    console: "Console",
) -> Streamed:
    """Streams a file through an entry point.

    A file that the output goes to appears once the stream has ended and its receipt holds. Standard output gets each
    piece as it comes: as the enclave put it out, but before anybody can say that it is whole. The exit code says that.
    """
    from casemate.wire.encodings.json_text import parse_json

    value = parse_json("input", arguments, limit=len(arguments))
    with ExitStack() as stack:
        source = stack.enter_context(_source(files.source))
        write = stack.enter_context(_target(files.target))
        tell = stack.enter_context(_bar(console, files.source))
        stream = stack.enter_context(enclave.stream(entry, value, source or b"", caller=caller))
        for piece in stream:
            write(piece)
            tell(stream.sent, stream.received)
        return Streamed(stream.result, files, stream.sent, stream.received)


@contextmanager
def _source(path: Path | None) -> Iterator[BinaryIO | None]:
    if path is None:
        yield None
    elif path == STANDARD_INPUT:
        yield sys.stdin.buffer
    else:
        try:
            file = path.open("rb")
        except OSError as error:
            raise InputFileError(f"stream {path}: {os_error_text(error)}") from None
        with file:
            yield file


@contextmanager
def _target(path: Path | None) -> Iterator[Callable[[bytes], object]]:
    """A function that writes the output. A regular file is put in place when the block ends well."""
    if path is None:
        yield lambda _: None
        return
    if path == STANDARD_OUTPUT:
        yield _write_through
        return
    is_device = path.exists() and not path.is_file()
    draft = path if is_device else path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with _complaining(path):
            file = draft.open("wb", buffering=0)
        with file:
            yield lambda piece: _write_all(path, file, piece)
        if not is_device:
            with _complaining(path):
                draft.replace(path)
    finally:
        if not is_device:
            draft.unlink(missing_ok=True)


def _write_all(path: Path, file: "FileIO", piece: bytes) -> None:
    view = memoryview(piece)
    with _complaining(path):
        while view:
            view = view[file.write(view) or 0 :]


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFileError(f"stream {path}: cannot be written: {os_error_text(error)}") from None


def _write_through(piece: bytes) -> None:
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


@contextmanager
def _bar(console: "Console", source: Path | None) -> Iterator[Tell]:
    """A progress bar on a terminal: of the input, if its size is known, with the size of the output beside it."""
    if not console.is_terminal:
        yield lambda _sent, _received: None
        return
    from rich.filesize import decimal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    size = source.stat().st_size if source is not None and source.is_file() else None
    columns = (TextColumn("streaming"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TextColumn("{task.fields[out]}"), console=console, transient=True) as progress:
        task = progress.add_task("streaming", total=size, out="")
        yield lambda sent, received: progress.update(task, completed=sent, out=f"out {decimal(received)}")
