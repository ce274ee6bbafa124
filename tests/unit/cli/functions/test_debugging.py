from pathlib import Path

import pytest

from casemate.cli.functions.debugging import SourcePlace, debug_report, thrown_at
from casemate.client.errors import EnclaveRefusedError, HostRefusedError
from casemate.enclave.guest.failure_words import words_of
from casemate.engines.frames import Failed, Place
from casemate.images.layout import Module
from casemate.link.errors import PeerGoneError
from casemate.wire.protocol.faults import Code, fault

SOURCE = "one\n\tthrow new Error('x');\r\n" + "y" * 1000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guest").mkdir()
    (tmp_path / "guest" / "main.js").write_bytes(SOURCE.encode())
    return tmp_path


@pytest.mark.parametrize("message", ["x", "two\nlines", "thrown at guest/main.js:1:1", ""])
@pytest.mark.parametrize(("line", "column"), [(2, 8), (2, 0), (3, 900), (9, 1)])
def test_what_an_enclave_says_of_an_exception_is_read_back(message: str, line: int, column: int) -> None:
    failed = Failed(Code.GUEST_ERROR, "Error", message, Place("guest/main.js", line, column))
    words = words_of(failed, [Module("guest/main.js", SOURCE.encode(), ())])
    said = f"Error: {message}" if message else "Error"
    assert thrown_at(words) == (said, SourcePlace("guest/main.js", line, column))


@pytest.mark.parametrize("words", ["Error: look at me", "Error: at /etc/passwd:1:1", "x at guest/main.js:1:1 or so"])
def test_words_without_a_place_have_none(words: str) -> None:
    assert thrown_at(words) == (words, None)


def test_the_line_is_shown_with_a_caret_below_its_column(folder: Path) -> None:
    error = EnclaveRefusedError(fault(Code.GUEST_ERROR, "Error: x at guest/main.js:2:8\n    throw new Error('x');"))
    console: list[dict[str, object]] = [{"at": "now", "text": "line"}]
    told = debug_report(error, folder, console)
    assert told.message == "guest-error: Error: x at guest/main.js:2:8"
    assert told.advice == f"correct {folder}/guest/main.js, line 2"
    assert told.details == {
        "code": "guest-error",
        "console": console,
        "path": "guest/main.js",
        "line": "2",
        "column": "8",
        "excerpt": " throw new Error('x');\n       ^",
    }


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("ReferenceError: fetch is not defined", "ask the operator with context.ocall"),
        ("the code cannot be loaded: ReferenceError: require is not defined", "nothing of Node's"),
        ("ReferenceError: Worker is not defined", "do the work in turn"),
        ("ReferenceError: localStorage is not defined", "[state]"),
        ("EvalError: Code generation from strings disallowed for this context", "write it as a function"),
    ],
)
def test_what_javascript_cannot_do_is_told_with_what_it_can_do_instead(folder: Path, words: str, hint: str) -> None:
    told = debug_report(EnclaveRefusedError(fault(Code.GUEST_ERROR, f"{words} at guest/main.js:2:1")), folder, [])
    assert told.advice.startswith(f"correct {folder}/guest/main.js, line 2: ")
    assert hint in told.advice


def test_what_python_code_cannot_do_is_told_with_what_it_can_do_instead(folder: Path) -> None:
    words = "RuntimeError: can't start new thread at guest/main.{}:2:1"
    told = debug_report(EnclaveRefusedError(fault(Code.GUEST_ERROR, words.format("py"))), folder, [])
    assert told.advice.startswith(f"correct {folder}/guest/main.py, line 2: a function has no threads")
    told = debug_report(EnclaveRefusedError(fault(Code.GUEST_ERROR, words.format("js"))), folder, [])
    assert told.advice == f"correct {folder}/guest/main.js, line 2"


def test_a_refusal_that_the_function_met_keeps_its_advice_and_gets_its_line(folder: Path) -> None:
    words = "the manifest declares no such OCALL as 'x' at guest/main.js:2:8\n    throw new Error('x');\n    ^"
    told = debug_report(EnclaveRefusedError(fault(Code.OCALL_REFUSED, words)), folder, [])
    assert told.message == "ocall-refused: the manifest declares no such OCALL as 'x' at guest/main.js:2:8"
    assert told.advice.startswith(f"correct {folder}/guest/main.js, line 2: add a table [ocall.NAME]")
    assert told.details["excerpt"] == " throw new Error('x');\n       ^"


def test_where_a_call_was_whose_time_is_up_is_shown_and_is_perhaps_no_mistake(folder: Path) -> None:
    words = "the function did not return within the manifest's time limit; it was at guest/main.js:2:8\n    throw"
    told = debug_report(EnclaveRefusedError(fault(Code.TIME_LIMIT, words)), folder, [])
    assert told.message.endswith("; it was at guest/main.js:2:8")
    assert told.details["line"] == "2"
    assert told.advice.startswith(f"look at {folder}/guest/main.js, line 2: if it has a loop without an end")
    assert "raise time_ms" in told.advice


@pytest.mark.parametrize(
    "where", ["guest/main.js:9:1", "guest/gone.js:1:1", "guest/main.js:0:1", "guest/../../secret:1:1"]
)
def test_a_place_that_is_not_there_has_no_excerpt(where: str, folder: Path) -> None:
    (folder.parent / "secret").write_text("secret")
    told = debug_report(EnclaveRefusedError(fault(Code.GUEST_ERROR, f"Error: x at {where}")), folder, [])
    assert told.message.endswith(where)
    assert "excerpt" not in told.details


def test_other_errors_keep_their_words_and_get_the_console(folder: Path) -> None:
    for error in (
        PeerGoneError("gone at guest/main.js:2:2"),
        HostRefusedError(fault(Code.BUSY, "busy at guest/main.js:2:2")),
        EnclaveRefusedError(fault(Code.RESULT_REFUSED, '$: "x" is a required property')),
    ):
        told = debug_report(error, folder, [])
        assert told.message == str(error)
        assert "excerpt" not in told.details
        assert told.details["console"] == []
