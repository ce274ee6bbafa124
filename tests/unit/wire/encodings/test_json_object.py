from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.errors import WireError

LIMIT = 100_000


def parsed(text: str) -> JsonObject:
    return parse_object("x", text.encode(), limit=LIMIT)


def test_gives_members_by_type() -> None:
    body = parsed('{"s": "a", "n": 7, "f": true, "h": "00fF", "d": "2025-06-19T10:56:11Z", "o": {"n": 1}, "l": ["a"]}')
    assert body.text("s") == "a"
    assert body.uint("n", 7) == 7
    assert body.flag("f")
    assert body.hexadecimal("h", 2) == b"\x00\xff"
    assert body.date("d") == datetime(2025, 6, 19, 10, 56, 11, tzinfo=UTC)
    assert body.child("o").uint("n", 1) == 1
    assert body.texts("l", limit=1) == ("a",)
    assert body.names() == ("s", "n", "f", "h", "d", "o", "l")


@pytest.mark.parametrize("value", ["true", "-1", "8", "1.0", "1e0", '"7"', "null", "[]"])
def test_refuses_what_is_no_unsigned_integer_in_range(value: str) -> None:
    with pytest.raises(WireError, match=r"x\.n"):
        parsed(f'{{"n": {value}}}').uint("n", 7)


@pytest.mark.parametrize("value", ["0", "0g", "00 ff", "00ff00", "0x00", "", " 00ff"])
def test_refuses_what_is_no_hexadecimal_of_the_right_size(value: str) -> None:
    with pytest.raises(WireError, match="2 bytes in hexadecimal"):
        parsed(f'{{"h": "{value}"}}').hexadecimal("h", 2)


@pytest.mark.parametrize(
    "value",
    [
        "2025-06-19",
        "2025-06-19T10:56:11",
        "2025-06-19T10:56:11+00:00",
        "2025-06-19T10:56:11.5Z",
        "2025-13-19T10:56:11Z",
        "2025-02-30T10:56:11Z",
        "٢٠٢٥-06-19T10:56:11Z",
        "",
    ],
)
def test_refuses_other_dates(value: str) -> None:
    with pytest.raises(WireError, match=r"x\.d"):
        parsed(f'{{"d": "{value}"}}').date("d")


def test_refuses_missing_and_unknown_members() -> None:
    body = parsed('{"a": 1}')
    with pytest.raises(WireError, match=r"x\.b is nothing"):
        body.value("b")
    with pytest.raises(WireError, match="only b"):
        body.only("b")
    assert not body.has("b")
    assert not parsed('{"b": null}').has("b")


def test_refuses_members_of_another_kind() -> None:
    body = parsed('{"n": 1, "l": [1], "long": ["a", "b"]}')
    for take in (body.text, body.flag, body.child, body.date):
        with pytest.raises(WireError, match=r"x\.n"):
            take("n")
    with pytest.raises(WireError, match=r"x\.l"):
        body.texts("l", limit=1)
    with pytest.raises(WireError, match=r"x.l\[0\]"):
        body.children("l", limit=1)
    with pytest.raises(WireError, match="at most 1"):
        body.texts("long", limit=1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"a": 1, "a": 1}',
        '{"a": NaN}',
        '{"a": 1' + "0" * 5000 + "}",
        '{"a": ' + "[" * 50_000,
        '{"a": ' + "[" * 3000 + "]" * 3000 + "}",
        '{"a": "\\ud800"}',
        '{"a": 1} {}',
        "\ufeff{}",
    ],
)
def test_refuses_hostile_json(text: str) -> None:
    with pytest.raises(WireError):
        parse_object("x", text.encode(), limit=LIMIT)


def test_refuses_more_than_the_limit_and_bytes_that_are_no_utf8() -> None:
    with pytest.raises(WireError, match="at most 3"):
        parse_object("x", b"{   }", limit=3)
    with pytest.raises(WireError):
        parse_object("x", b'{"a": "\xff"}', limit=LIMIT)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 1, 1)))
def test_dates_round_trip(moment: datetime) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    assert JsonObject("x", {"d": date_text(moment)}).date("d") == moment
