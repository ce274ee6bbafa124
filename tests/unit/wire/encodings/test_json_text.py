import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.json_text import MAX_DEPTH, MAX_INTEGER, MAX_ITEMS, encode_json, parse_json
from casemate.wire.errors import WireError

LIMIT = 100_000
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(VALUES)
def test_what_is_encoded_parses_to_the_same(value: Any) -> None:
    text = encode_json(value)
    assert parse_json("text", text, limit=LIMIT) == value
    assert encode_json(parse_json("text", text, limit=LIMIT)) == text


@given(st.binary() | st.text('[]{}",:\\u0dD8e1-. ').map(str.encode))
def test_any_bytes_give_a_value_or_a_wire_error(text: bytes) -> None:
    try:
        value = parse_json("text", text, limit=LIMIT)
    except WireError:
        return
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a":1,"a":2}', "same name twice"),
        (b'[{"a":1,"\\u0061":2}]', "same name twice"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b'{"a":[1e400]}', "beyond a double"),
        (b"9" * 400 + b".0", "beyond a double"),
        (b"9007199254740992", "2\\^53"),
        (b"[-9007199254740992]", "2\\^53"),
        (b"1" * 5000, "endless"),
        (b'"\\ud800"', "no Unicode"),
        (b'{"\\udc00":1}', "no Unicode"),
        (b'"\xff"', "no Unicode"),
        (b'"\xed\xa0\x80"', "no Unicode"),
        (b"[" * 100_000, "nesting|no JSON"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nesting"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "nesting"),
        (b"", "no JSON"),
        (b"\xef\xbb\xbf1", "no JSON"),
        ("1".encode("utf-16"), "no Unicode"),
        (b"1 2", "no JSON"),
        (b"[1,]", "no JSON"),
        (b"'a'", "no JSON"),
        (b"01", "no JSON"),
    ],
)
def test_refuses_what_parsers_disagree_about(text: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        parse_json("text", text, limit=LIMIT)


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"1"] * (MAX_ITEMS + 1)) + b"]",
        b"[" + b",".join([b"[]"] * (MAX_ITEMS // 3 + 1)) + b"]",
        b"[" + b",".join([b'{"":0}'] * (MAX_ITEMS // 4 + 1)) + b"]",
        b"{" + b",".join(b'"%d":0' % number for number in range(MAX_ITEMS // 2 + 1)) + b"}",
        b'"' + b'\\"' * 5_000_000,
        b'"' + b"," * 5_000_000 + b"\\",
    ],
    ids=["numbers", "arrays", "objects", "members", "an endless string", "an endless string of commas"],
)
def test_refuses_more_members_than_memory_should_hold_and_quickly(text: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(WireError):
        parse_json("text", text, limit=1 << 24)
    assert time.monotonic() - started < 2


def test_commas_in_strings_do_not_count() -> None:
    text = encode_json({"text": "a, b, [c] " * MAX_ITEMS})
    assert len(parse_json("text", text, limit=1 << 24)["text"]) == 10 * MAX_ITEMS


def test_accepts_as_many_strings_in_all_that_a_call_may_carry() -> None:
    text = b"[" + b",".join([b'"%b"' % (b"a" * 44)] * (MAX_ITEMS - 2)) + b"]"
    assert len(text) < 1 << 24
    assert len(parse_json("text", text, limit=1 << 24)) == MAX_ITEMS - 2


def test_accepts_as_many_members_as_it_says() -> None:
    assert len(parse_json("text", b"[" + b",".join([b"1"] * (MAX_ITEMS - 2)) + b"]", limit=1 << 24)) == MAX_ITEMS - 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["\U0001f600", "' + "a" * 8_000_000 + '"]', "up to 4 bytes"),
        ('["\\ud83d\\ude00' + "a" * 12_000_000 + '"]', "up to 4 bytes"),
        ("[" + ",".join(['"\u20acaaaaaaaaaaaaaaaaaaaaaaaa"'] * (MAX_ITEMS - 3)) + "]", "up to 2 bytes"),
    ],
    ids=["a wide character", "an escaped wide character", "many strings with a wide character"],
)
def test_refuses_text_that_takes_more_memory_than_its_length_says(text: str, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_json("text", text.encode(), limit=1 << 24)


@pytest.mark.parametrize("character", ["a", "\\u20ac", "\u20ac", '\\"', "\\\\"])
def test_accepts_one_string_of_all_that_a_call_may_carry(character: str) -> None:
    count = ((1 << 24) - 2) // len(character.encode())
    assert len(parse_json("text", f'"{character * count}"'.encode(), limit=1 << 24)) == count


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '{"\\uD83D\\uDE00": ["\\\\ud83d"]}'])
def test_accepts_pairs_of_surrogates(text: str) -> None:
    assert encode_json(parse_json("text", text.encode(), limit=LIMIT))


@pytest.mark.parametrize("text", ['"\\ud83d"', '[{"\\ude00": 1}]', '[["\\ud83d\\ud83d"]]', '{"a": "\\uDE00\\uD83D"}'])
def test_refuses_lone_surrogates_in_values_and_names(text: str) -> None:
    with pytest.raises(WireError, match="no Unicode"):
        parse_json("text", text.encode(), limit=LIMIT)


def test_refuses_long_text_before_parsing() -> None:
    with pytest.raises(WireError, match="at most 3"):
        parse_json("text", b"1111", limit=3)


def test_accepts_the_deepest_nesting() -> None:
    parse_json("text", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, limit=LIMIT)


@pytest.mark.parametrize("number", ["9007199254740993", "100000000000000000000", "-18446744073709551615"])
def test_rounds_integers_as_javascript_did_where_asked(number: str) -> None:
    assert parse_json("text", f"[{number}]".encode(), limit=LIMIT, round_integers=True) == [float(number)]


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0e5", "-0E-1"])
@pytest.mark.parametrize("round_integers", [True, False])
def test_minus_zero_is_one_number_however_it_is_written(text: str, round_integers: bool) -> None:
    value = parse_json("text", f'{{"-0": [{text}, 0, -1]}}'.encode(), limit=LIMIT, round_integers=round_integers)
    assert encode_json(value) == b'{"-0":[-0.0,0,-1]}'


def test_errors_do_not_quote_the_text() -> None:
    with pytest.raises(WireError) as caught:
        parse_json("text", b'{"secret": hunter2}', limit=LIMIT)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
