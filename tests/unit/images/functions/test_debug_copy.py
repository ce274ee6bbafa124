import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import FolderError
from casemate.images.functions.debug_copy import debug_copy
from casemate.wire.protocol.image_index import MANIFEST_PATH


def copied(text: str) -> str:
    files = debug_copy({MANIFEST_PATH: text.encode(), "guest/main.js": b"code"})
    assert files["guest/main.js"] == b"code"
    return files[MANIFEST_PATH].decode()


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
    assert "a line of its own" in refused.value.advice


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
