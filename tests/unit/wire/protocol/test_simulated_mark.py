import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.der import SEQUENCE, UTF8_STRING, boolean, element
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SERIAL_TAIL_SIZE, SimulatedMark, SimulatedSerial


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


@given(st.booleans(), st.binary(min_size=SERIAL_TAIL_SIZE, max_size=SERIAL_TAIL_SIZE))
def test_a_serial_number_says_what_it_is(seeded: bool, tail: bytes) -> None:
    start = SimulatedSerial.of(seeded=seeded)
    number = start.number(tail)
    assert number.to_bytes(20, "big").startswith(b"SIMULATED")  # positive, and as long as RFC 5280 allows
    assert SimulatedSerial.find(number) is start


@pytest.mark.parametrize("serial", [-1, 0, 1, 1 << 158, (1 << 160) - 1, 1 << 160, 1 << 4000, -(1 << 159)])
def test_other_serial_numbers_say_nothing(serial: int) -> None:
    assert SimulatedSerial.find(serial) is None
