import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.der import SEQUENCE, UTF8_STRING, boolean, element
from casemate.wire.errors import WireError
from casemate.wire.simulated import SimulatedMark


@pytest.mark.parametrize("seeded", [False, True])
def test_mark_round_trips_and_says_what_it_is(*, seeded: bool) -> None:
    mark = SimulatedMark.of(seeded=seeded)
    assert SimulatedMark.parse(mark.encode()) == mark
    assert b"SIMULATED" in mark.encode()
    assert ("seed" in mark.text) is seeded


@pytest.mark.parametrize(
    "value",
    [
        element(SEQUENCE, element(UTF8_STRING, b"REAL"), boolean(value=False)),
        element(SEQUENCE, element(UTF8_STRING, b"SIMULATED")),
        element(SEQUENCE, element(UTF8_STRING, b"SIMULATED"), boolean(value=False), boolean(value=False)),
        SimulatedMark.of(seeded=False).encode() + b"\x00",
        b"",
    ],
)
def test_refuses_other_values(value: bytes) -> None:
    with pytest.raises(WireError):
        SimulatedMark.parse(value)


@given(st.binary(max_size=100))
def test_random_bytes_give_a_mark_or_a_wire_error(data: bytes) -> None:
    try:
        mark = SimulatedMark.parse(data)
    except WireError:
        return
    assert mark.encode() == data
