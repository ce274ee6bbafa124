import errno
import io
import logging
from pathlib import Path

import pytest
from tests.rigs.log_file import on

from casemate.process.log_file import LogFileHandler, OneLineFormatter, RotatingFile, one_line

FORGED = "x\n2026-01-01 00:00:00,000 casemate.host WARNING enclave 1 (bank) died: forged"


def test_a_line_that_cannot_be_written_is_dropped_and_one_that_was_torn_ends(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 10_000)
    disk = on(file, 8)
    assert file.write(b"first")
    assert not file.write(b"second")  # two bytes of it
    assert not file.write(b"third")
    disk.room = 100
    assert file.write(b"fourth")
    assert (tmp_path / "log").read_bytes() == b"first\nse\nfourth\n"
    file.close()


def test_a_full_file_is_changed_for_a_new_one_once_there_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path / "log", 10)
    assert file.write(b"a" * 20)

    def no_room(_path: Path, _flags: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(file, "_opened", no_room)
        assert not file.write(b"b")
        assert not file.write(b"b")
    assert file.write(b"c")
    assert (tmp_path / "log").read_bytes() == b"c\n"
    assert (tmp_path / "log.1").read_bytes() == b"a" * 20 + b"\n"
    file.close()


def test_a_handler_says_how_many_records_it_could_not_write(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 10_000)
    handler = LogFileHandler(file)
    log = logging.getLogger("casemate.test_log_file")
    log.propagate = False
    log.addHandler(handler)
    log.warning("first")
    disk = on(file, 0)
    for number in range(3):
        log.warning("lost %d", number)
    disk.room = 1000
    log.warning("next \ud800")
    log.warning("last")
    log.removeHandler(handler)
    handler.close()
    assert (tmp_path / "log").read_text().splitlines() == [
        "first",
        "(3 lines before this one could not be written)",
        "next \\ud800",
        "last",
    ]


@pytest.fixture
def lines() -> "tuple[logging.Logger, io.StringIO]":
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(OneLineFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    log = logging.getLogger("casemate.test_log_lines")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers = [handler]
    return log, out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä 漢 too", "plain, ä 漢 too"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x85\u2028\u2029\u202e", r"\x85\u2028\u2029\u202e"),
        ("\x00\ud800", r"\x00\ud800"),
    ],
)
def test_escapes_what_is_not_printable(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_strangers_words_stay_on_their_line(lines: "tuple[logging.Logger, io.StringIO]") -> None:
    log, out = lines
    log.info("guest prints: %s", FORGED)
    assert out.getvalue().count("\n") == 1
    assert r"guest prints: x\n2026-01-01" in out.getvalue()


def test_words_in_a_trace_are_indented(lines: "tuple[logging.Logger, io.StringIO]") -> None:
    log, out = lines
    try:
        raise ValueError(FORGED)
    except ValueError:
        log.exception("a defect")
    first, *rest = out.getvalue().rstrip("\n").split("\n")
    assert first.endswith("ERROR a defect")
    assert rest
    assert all(line.startswith("    ") for line in rest)
