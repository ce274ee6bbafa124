import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import FolderError
from casemate.images.functions.manifest_copy import with_keys


def copied(text: str) -> str:
    return with_keys(text.encode(), {("enclave", "debug"): True}).decode()


def test_several_keys_are_set_and_missing_tables_made() -> None:
    text = '[enclave]\nproduct_id = 1 # why\n[callers] # who\nann = "old" # her\n'
    changes: dict[tuple[str, str], bool | int | str] = {
        ("enclave", "product_id"): 7,
        ("callers", "ann"): "new",
        ("callers", "ben"): "b",
        ("state", "max"): 1,
    }
    assert tomllib.loads(with_keys(text.encode(), changes).decode()) == {
        "enclave": {"product_id": 7},
        "callers": {"ann": "new", "ben": "b"},
        "state": {"max": 1},
    }


@pytest.mark.parametrize("text", [b"[enclave", b"\xff", b"enclave = 7"])
def test_what_is_no_manifest_is_left_to_its_parser(text: bytes) -> None:
    assert with_keys(text, {("enclave", "debug"): True}) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[enclave]\ndebug = false # why\nname = 'x'\n", "[enclave]\ndebug = true # why\nname = 'x'\n"),
        ("[enclave]\nname = 'x'\n", "[enclave]\ndebug = true\nname = 'x'\n"),
        ("[enclave]\r\nname = 'x'\r\n", "[enclave]\r\ndebug = true\nname = 'x'\r\n"),
        ("# [enclave]\n [ enclave ] # words\n", "# [enclave]\n [ enclave ] # words\ndebug = true\n"),
        (
            "[a]\ndebug = false\n[enclave]\n[b]\ndebug = false\n",
            "[a]\ndebug = false\n[enclave]\ndebug = true\n[b]\ndebug = false\n",
        ),
        ("[enclave]\ndebug = true\n", "[enclave]\ndebug = true\n"),
        ("[enclave]", "[enclave]\ndebug = true"),
    ],
)
def test_debug_is_set_and_nothing_else(text: str, wanted: str) -> None:
    made = copied(text)
    assert tomllib.loads(made) == tomllib.loads(wanted)
    assert made.replace("\r", "") == wanted.replace("\r", "")


@pytest.mark.parametrize(
    "text",
    [
        "enclave = { name = 'x' }\n",
        "enclave.name = 'x'\n",
        "[enclave]\nname = '''\ndebug = false\n'''\n",
        "a = '''\n[enclave]\n'''\n[enclave]\nname = 'x'\n",
        "['enclave']\nname = 'x'\n",
        "[enclave]\n'debug' = false\n",
    ],
)
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(FolderError, match="no table") as refused:
        copied(text)
    assert "lines of their own" in refused.value.advice


@given(st.lists(st.sampled_from(["debug = false\n", "x = 1\n", "# y\n", "[t]\n", "[enclave]\n", "z = '''\n", "'''\n"])))
def test_whatever_comes_out_differs_in_debug_alone(lines: list[str]) -> None:
    text = "".join(lines)
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    if "enclave" not in wanted:
        return
    try:
        made = tomllib.loads(copied(text))
    except FolderError:
        return
    wanted["enclave"]["debug"] = True
    assert made == wanted
