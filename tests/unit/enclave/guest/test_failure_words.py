"""What a debug enclave says of an exception, with the line of the source."""

import pytest
from tests.rigs.engine import Module

from casemate.enclave.guest.failure_words import MAX_LINE, words_of, words_of_refused
from casemate.engines.frames import Failed, Place
from casemate.wire.protocol.faults import Code, fault

LONG = "a" * 1000 + "!" + "b" * 1000
MODULES = [
    Module("guest/main.js", b"one\r\n\t  two \xc3\xa4\x1b[31m\n\n" + LONG.encode() + b"\nbad \xff end"),
    Module("guest/other.py", b"x = 1"),
]


def said(path: str, line: int, column: int) -> str:
    failed = Failed(Code.GUEST_ERROR, "TypeError", "no", Place(path, line, column))
    return words_of(failed, MODULES)


@pytest.mark.parametrize(("path", "line", "column", "words"), [
    ("guest/main.js", 1, 2, "TypeError: no at guest/main.js:1:2\n    one\n     ^"),
    ("guest/main.js", 2, 5, "TypeError: no at guest/main.js:2:5\n    two ä?[31m\n     ^"),
    ("guest/main.js", 3, 1, "TypeError: no at guest/main.js:3:1"),
    ("guest/main.js", 5, 1, "TypeError: no at guest/main.js:5:1\n    bad \ufffd end\n    ^"),
    ("guest/main.js", 6, 1, "TypeError: no at guest/main.js:6:1"),
    ("guest/main.js", 0, 0, "TypeError: no at guest/main.js:0"),
    ("guest/main.js", 2**31 - 1, 2**31 - 1, "TypeError: no at guest/main.js:2147483647:2147483647"),
    ("guest/other.py", 1, 0, "TypeError: no at guest/other.py:1\n    x = 1"),
    ("guest/none.js", 1, 1, "TypeError: no"),
    ("", 1, 1, "TypeError: no"),
])  # fmt: skip
def test_the_line_is_that_of_the_image(path: str, line: int, column: int, words: str) -> None:
    assert said(path, line, column) == words


@pytest.mark.parametrize(("column", "text"), [
    (0, "a" * MAX_LINE),
    (1001, "a" * 100 + "!" + "b" * 99 + "\n    " + " " * 100 + "^"),
    (2001, "b" * MAX_LINE + "\n    " + " " * (MAX_LINE - 1) + "^"),
    (2**31 - 1, "b" * MAX_LINE),
])  # fmt: skip
def test_of_a_long_line_the_part_around_the_column_is_told(column: int, text: str) -> None:
    assert said("guest/main.js", 4, column).partition("\n    ")[2] == text


@pytest.mark.parametrize(("failed", "words"), [
    (Failed(Code.GUEST_ERROR, "MemoryError", "", Place("guest/other.py", 1, 0)),
     "MemoryError at guest/other.py:1\n    x = 1"),
    (Failed(Code.GUEST_ERROR, "MemoryError", ""), "MemoryError"),
    (Failed(Code.GUEST_ERROR, "guest-error", "no permission"), "no permission"),
    (Failed(Code.RESULT_REFUSED, "Error", "it is not JSON: it is a set"), "it is not JSON: it is a set"),
    (Failed(Code.OUTPUT_LIMIT, "Error", "too long"), "too long"),
    (Failed(Code.RESULT_REFUSED, "Error", ""), "Error"),
])  # fmt: skip
def test_names_and_messages_are_told_where_they_say_something(failed: Failed, words: str) -> None:
    assert words_of(failed, MODULES) == words


@pytest.mark.parametrize(("failed", "words"), [
    (Failed(Code.GUEST_ERROR, "ocall-refused", "no", Place("guest/other.py", 1, 1)),
     "no at guest/other.py:1:1\n    x = 1\n    ^"),
    (Failed(Code.GUEST_ERROR, "KeyError", "'a'", Place("guest/other.py", 1, 5)),
     "no; then KeyError: 'a' at guest/other.py:1:5\n    x = 1\n        ^"),
    (Failed(Code.GUEST_ERROR, "ocall-refused", "no"), "no"),
])  # fmt: skip
def test_a_refusal_is_told_with_the_place_of_what_failed_over_it(failed: Failed, words: str) -> None:
    assert words_of_refused(fault(Code.OCALL_REFUSED, "no"), failed, MODULES) == words


def test_without_a_place_the_exception_is_told_alone() -> None:
    assert words_of(Failed(Code.GUEST_ERROR, "Error", "m"), MODULES) == "Error: m"
