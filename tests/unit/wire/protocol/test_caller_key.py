import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.protocol.caller_key import caller_key_text, parse_caller_key

RFC_8032 = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
"""The public key of RFC 8032, section 7.1, test 1."""


def test_the_text_of_a_known_key() -> None:
    text = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert caller_key_text(RFC_8032) == text
    assert parse_caller_key("key", text) == RFC_8032


@given(st.binary(min_size=32, max_size=32))
def test_every_key_comes_back(key: bytes) -> None:
    assert parse_caller_key("key", caller_key_text(key)) == key


@given(st.text() | st.text().map(lambda text: f"ed25519:{text}") | st.binary(max_size=64).map(caller_key_text))
def test_any_text_is_the_one_spelling_of_a_key_or_refused(text: str) -> None:
    try:
        key = parse_caller_key("key", text)
    except WireError:
        return
    assert caller_key_text(key) == text


@pytest.mark.parametrize(
    "text", ["", "ed25519:", caller_key_text(RFC_8032)[8:], caller_key_text(RFC_8032) + "\n", RFC_8032.hex(), "\ud800"]
)
def test_other_spellings_are_refused_and_named(text: str) -> None:
    with pytest.raises(WireError, match=r"receipt\.caller"):
        parse_caller_key("receipt.caller", text)
