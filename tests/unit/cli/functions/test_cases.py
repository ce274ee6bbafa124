from pathlib import Path

import pytest

from casemate.cli.files import InputFileError
from casemate.cli.functions.cases import Case, CaseCall, Expected, cases_of
from casemate.wire.errors import WireError


@pytest.fixture
def case(tmp_path: Path) -> Path:
    made = tmp_path / "tests" / "cases" / "one"
    made.mkdir(parents=True)
    return made


def calls(folder: Path, text: str) -> tuple[CaseCall, ...]:
    (folder / "case.toml").write_text(text)
    (found,) = cases_of(folder.parents[2], entries=2)
    assert found.name == "one"
    return found.calls


def test_a_case_lists_calls_in_their_order(case: Path) -> None:
    (case / "in.json").write_text('{"a": null}')
    (case / "out.json").write_text("[1]")
    text = """
    [[call]]
    entry = "put"
    caller = "ann"
    input_file = "in.json"
    expected_file = "out.json"
    [[call]]
    input = { a = [1, 2.5, "x", true] }
    expected = false
    [[call]]
    error = "caller-refused"
    [[call]]
    """
    assert calls(case, text) == (
        CaseCall("put", "ann", {"a": None}, Expected([1])),
        CaseCall(None, None, {"a": [1, 2.5, "x", True]}, Expected(False)),
        CaseCall(None, None, None, Expected(error="caller-refused")),
        CaseCall(None, None, None, Expected(is_any=True)),
    )


def test_two_files_are_a_case_of_one_call(case: Path, tmp_path: Path) -> None:
    for folder, number in ((case, 1), (tmp_path, 2)):
        (folder / "input.json").write_text(str(number))
        (folder / "expected.json").write_text(str(number))
    own, inner = (Case(name, (CaseCall(None, None, at, Expected(at)),)) for name, at in (("input.json", 2), ("one", 1)))
    assert cases_of(tmp_path, entries=1) == (own, inner)
    assert cases_of(tmp_path, entries=2) == (inner,), "the folder's own files do not say which entry point is meant"


def test_streams_are_files_texts_or_pieces(case: Path) -> None:
    (case / "letter.txt").write_bytes(b"\xff\n")
    text = """
    [[call]]
    stream_in = "a b"
    stream_out = "A B"
    [[call]]
    stream_in = ["a", "b", ""]
    stream_out_file = "letter.txt"
    [[call]]
    stream_in_file = "letter.txt"
    error = "too-long"
    """
    assert calls(case, text) == (
        CaseCall(None, None, None, Expected(is_any=True, stream=b"A B"), (b"a b",)),
        CaseCall(None, None, None, Expected(is_any=True, stream=b"\xff\n"), (b"a", b"b", b"")),
        CaseCall(None, None, None, Expected(error="too-long"), (b"\xff\n",)),
    )


def test_streams_stand_beside_input_and_result(case: Path) -> None:
    for name, text in (("input.json", "1"), ("expected.json", "2"), ("input.stream", "in"), ("expected.stream", "out")):
        (case / name).write_text(text)
    (found,) = cases_of(case.parents[2], entries=1)
    assert found.calls == (CaseCall(None, None, 1, Expected(2, stream=b"out"), (b"in",)),)


def test_a_case_without_a_result_is_told_what_to_write(case: Path) -> None:
    with pytest.raises(InputFileError, match=r"input\.json: No such file"):
        cases_of(case.parents[2], entries=1)
    (case / "input.json").write_text("1")
    with pytest.raises(InputFileError, match=r"no expected\.json") as caught:
        cases_of(case.parents[2], entries=1)
    assert "any result will do" in str(caught.value.advice)


def test_a_folder_without_cases_has_none(tmp_path: Path) -> None:
    assert cases_of(tmp_path, entries=1) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[call", "not TOML"),
        ("\ufeff\0", "not TOML"),
        ("", "want \\[\\[call\\]\\]"),
        ("call = 7", "want \\[\\[call\\]\\]"),
        ("call = [7]", "call 1: got no table"),
        ("[[call]]\n[other]", "got other keys"),
        ("[[call]]\nentri = 'x'", "got the key 'entri', want one of caller, entry, error"),
        ("[[call]]\nentry = 7", "entry is no text"),
        ("[[call]]\ninput = 1\ninput_file = 'x'", "got input and input_file, want one"),
        ("[[call]]\nexpected = 1\nerror = 'x'", "got expected and error, want one"),
        ("[[call]]\n[[call]]\ninput = {a = 2026-01-01}", "call 2: got a date, which JSON does not have"),
        ("[[call]]\ninput_file = 'gone.json'", "gone.json"),
        ("[[call]]\nstream_in = 7", "stream_in is neither text nor a list of texts"),
        ("[[call]]\nstream_in = ['a', 7]", "stream_in is neither text nor a list of texts"),
        ("[[call]]\nstream_in = 'a'\nstream_in_file = 'x'", "got stream_in and stream_in_file, want one"),
        ("[[call]]\nstream_out = 'a'\nerror = 'x'", "got stream_out and error, want one"),
        ("[[call]]\nstream_out_file = 'gone.txt'", "gone.txt"),
    ],
)
def test_what_no_case_can_say_is_refused_with_its_place(text: str, words: str, case: Path) -> None:
    with pytest.raises(InputFileError, match=words):
        calls(case, text)


def test_a_file_that_is_no_json_is_refused_with_its_name(case: Path) -> None:
    (case / "input.json").write_text("{")
    (case / "expected.json").write_text("1")
    with pytest.raises(WireError, match=r"input\.json"):
        cases_of(case.parents[2], entries=1)
