"""Files through a stream, without an enclave."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from rich.console import Console

from casemate.cli.files import InputFileError, OutputFileError
from casemate.cli.streams import StreamFiles, pass_through
from casemate.client.streaming import pieces

if TYPE_CHECKING:
    from casemate.client import Enclave


class Stream:
    """Gives its input back, and then what ``at_end`` does."""

    def __init__(self, chunks: Any, at_end: Callable[[], object]) -> None:
        self._pieces = pieces(chunks)
        self._at_end = at_end
        self.sent = self.received = 0
        self.result = "a result"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to give up."""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sent = self.received = self.sent + len(piece)
            yield piece
        self._at_end()


class FakeEnclave:
    def __init__(self, at_end: Callable[[], object] = lambda: None) -> None:
        self._at_end = at_end

    def stream(self, _entry: str, _value: Any, chunks: Any, *, caller: object) -> Stream:
        assert caller is None
        return Stream(chunks, self._at_end)


def through(enclave: FakeEnclave, source: Path | None, target: Path | None, console: Console) -> Any:
    return pass_through(
        cast("Enclave", enclave), "echo", b"{}", caller=None, files=StreamFiles(source, target), console=console
    )


@pytest.fixture
def quiet() -> Console:
    return Console(file=io.StringIO(), force_terminal=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(3_000_000))
    return path


def test_a_terminal_sees_how_far_it_is(source: Path, tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    said = through(FakeEnclave(), source, tmp_path / "target", console)
    assert said.received == 3_000_000
    assert "3.0/3.0 MB" in screen.getvalue()
    assert "out 3.0 MB" in screen.getvalue()


def test_no_terminal_no_bar(source: Path, quiet: Console) -> None:
    through(FakeEnclave(), source, None, quiet)
    assert cast("io.StringIO", quiet.file).getvalue() == ""


def test_the_file_appears_when_all_of_it_is_there(source: Path, tmp_path: Path, quiet: Console) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    seen: list[bytes] = []
    through(FakeEnclave(lambda: seen.append(target.read_bytes())), source, target, quiet)
    assert seen == [b"old"]
    assert target.read_bytes() == source.read_bytes()


def interrupted() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_stream_leaves_nothing_behind(source: Path, tmp_path: Path, quiet: Console) -> None:
    with pytest.raises(KeyboardInterrupt):
        through(FakeEnclave(interrupted), source, tmp_path / "target", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full is Linux's")
def test_a_full_disk_is_said(source: Path, quiet: Console) -> None:
    with pytest.raises(OutputFileError, match="No space left"):
        through(FakeEnclave(), source, Path("/dev/full"), quiet)


def test_a_device_takes_pieces_as_they_come(source: Path, quiet: Console) -> None:
    assert through(FakeEnclave(), source, Path("/dev/null"), quiet).received == 3_000_000
    assert Path("/dev/null").is_char_device()


def test_a_source_that_has_gone_is_said(tmp_path: Path, quiet: Console) -> None:
    with pytest.raises(InputFileError, match="No such file"):
        through(FakeEnclave(), tmp_path / "gone", None, quiet)
