import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.decimal_text import decimal
from casemate.wire.errors import WireError

ODD = [
    "",
    " 1",
    "1 ",
    "1\n",
    "+1",
    "-1",
    "01",
    "00",
    "1_0",
    "1.0",
    "1e0",
    "0x1",
    "\uff11",
    "\u0661",
    "\xb2",
    "1" * 5000,
    "none",
]


@pytest.mark.parametrize("text", ODD)
def test_a_number_has_one_form(text: str) -> None:
    with pytest.raises(WireError, match=r"number is .*, the format wants a decimal number from 0 to 99"):
        decimal("number", text, most=99)


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_number_within_bounds_is_read_and_no_other(number: int) -> None:
    assert decimal("number", str(number), most=2**64 - 1) == number
    with pytest.raises(WireError):
        decimal("number", str(number), most=number - 1)
