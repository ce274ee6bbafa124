from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from casemate.cli import handlers_log
from casemate.cli.handlers_log import HandlersLog
from casemate.process.log_file import RotatingFile

PRINTED = "2026-12-01 10:00:00,{ms:03} handlers.stdout INFO {text}"


def line(text: str, ms: int = 7) -> str:
    return PRINTED.format(ms=ms, text=text) + "\n"


Opens = Callable[..., HandlersLog]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opens]:
    """Opens the log in a folder, the test's own unless another is given, for the test's time."""
    with ExitStack() as held:
        yield lambda folder=tmp_path, **options: held.enter_context(closing(HandlersLog(folder, **options)))


def texts(log: HandlersLog) -> list[str]:
    return [each.text for each in log.new()]


def test_each_line_is_read_once_when_it_is_whole(tmp_path: Path, opened: Opens) -> None:
    log = opened()
    assert texts(log) == []
    file = tmp_path / "ocalls.log"
    file.write_text(line("one") + line("two")[:-3])
    assert texts(log) == ["one"]
    assert texts(log) == []
    with file.open("a") as more:
        more.write(line("two")[-3:] + line("three"))
    assert texts(log) == ["two", "three"]


def test_what_went_wrong_is_told_and_what_is_usual_is_not(tmp_path: Path, opened: Opens) -> None:
    begin = "2026-12-01 10:00:00,123 casemate.ocalls."
    (tmp_path / "ocalls.log").write_text(
        f"{begin}serving INFO /x/handlers.py answers rates\n{begin}answering ERROR OCALL rates of enclave 1: no\n"
        "(3 lines before this one could not be written)\n\nnonsense\n"
    )
    (found,) = opened().new()
    assert (found.text, found.at % 1000) == ("OCALL rates of enclave 1: no", 123)


def test_a_log_can_be_read_from_its_end(tmp_path: Path, opened: Opens) -> None:
    file = tmp_path / "ocalls.log"
    file.write_text(line("before"))
    log = opened(from_end=True)
    other = opened(tmp_path / "none", from_end=True)
    with file.open("a") as more:
        more.write(line("after"))
    assert texts(log) == ["after"]
    assert texts(other) == []


def test_nothing_is_lost_where_a_full_file_is_put_aside(tmp_path: Path, opened: Opens) -> None:
    file = RotatingFile(tmp_path / "ocalls.log", 200)
    log = opened()
    seen: list[str] = []
    for at in range(40):
        file.write(line(str(at)).rstrip().encode())
        if at % 3 == 0:
            seen += texts(log)
    file.close()
    assert seen + texts(log) == [str(at) for at in range(40)]


def test_of_a_long_log_the_last_is_read(tmp_path: Path, opened: Opens) -> None:
    (tmp_path / "ocalls.log").write_text("".join(line(str(at)) for at in range(handlers_log.MAX_READ // 40)))
    found = texts(opened())
    assert found[-1] == str(handlers_log.MAX_READ // 40 - 1)
    assert "0" not in found


def test_something_else_of_that_name_is_not_read(tmp_path: Path, opened: Opens) -> None:
    (tmp_path / "elsewhere").write_text(line("a link's"))
    (tmp_path / "ocalls.log").symlink_to(tmp_path / "elsewhere")
    assert texts(opened()) == []
