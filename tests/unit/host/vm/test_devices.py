"""Serial ports and the console behind them."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from casemate.host.vm.console import KEPT, Console
from casemate.host.vm.devices import MAX_HANDED, MAX_INPUT, Devices
from casemate.wire.snp.port_access import PortAccess

IN_DATA, OUT_DATA = PortAccess(0x2F8, 1, is_in=True), PortAccess(0x2F8, 1, is_in=False)
STATUS = PortAccess(0x2FD, 1, is_in=True)


def test_what_is_given_is_read_once_and_in_order() -> None:
    devices = Devices()
    devices.data.give(b"ab")
    assert devices.access(STATUS, 0) & 1
    assert [devices.access(IN_DATA, 0) for _ in range(3)] == [ord("a"), ord("b"), 0]
    assert not devices.access(STATUS, 0) & 1


def test_what_nobody_listens_to_is_cut() -> None:
    devices = Devices()
    for _ in range(MAX_HANDED + 10):
        devices.access(OUT_DATA, 1)
    assert len(devices.handed) == MAX_HANDED
    devices.data.give(bytes(MAX_INPUT + 10))
    assert devices.access(STATUS, 0) & 1


def test_the_divisor_is_no_output() -> None:
    devices = Devices()
    devices.access(PortAccess(0x3FB, 1, is_in=False), 0x80)
    devices.access(PortAccess(0x3F8, 1, is_in=False), ord("x"))
    devices.access(PortAccess(0x3FB, 1, is_in=False), 0x03)
    devices.access(PortAccess(0x3F8, 1, is_in=False), ord("y"))
    assert devices.console.read(0, 10) == (0, b"y")


@given(port=st.integers(0, 0xFFFF), size=st.sampled_from((1, 2, 4)), is_in=st.booleans(), value=st.integers(0, 1 << 32))
def test_every_port_answers(port: int, size: int, is_in: bool, value: int) -> None:
    assert 0 <= Devices().access(PortAccess(port, size, is_in), value) < 1 << 8 * size


def test_old_output_is_forgotten_and_numbers_go_on() -> None:
    console = Console()
    for number in range(3 * KEPT):
        console.put(number % 251)
    start, content = console.read(0, 10)
    assert start > 0
    assert content == bytes((start + at) % 251 for at in range(10))
    assert console.end == 3 * KEPT
    assert console.end - start >= KEPT


def test_whoever_waits_is_told_of_a_byte_and_of_the_end() -> None:
    async def wait() -> None:
        console = Console()
        waiting = asyncio.create_task(console.wait(0))
        await asyncio.sleep(0)
        console.put(1)
        await asyncio.wait_for(waiting, 1)
        waiting = asyncio.create_task(console.wait(1))
        await asyncio.sleep(0)
        console.close()
        await asyncio.wait_for(waiting, 1)

    asyncio.run(wait())
