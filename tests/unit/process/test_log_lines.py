import io
import logging

import pytest

from casemate.process.log_lines import OneLineFormatter, one_line

FORGED = "x\n2026-01-01 00:00:00,000 casemate.host WARNING enclave 1 (bank) died: forged"


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
