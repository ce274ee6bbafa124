"""The guests without SEV: what is theirs alone, and not the protection's."""

import re

import pytest
from tests.rigs.images.bare import Bare

from casemate.images.vm.builtin import firmware


def test_hello_greets() -> None:
    assert Bare(firmware("hello")).run() == (
        "Hello from a confidential VM.\nmode: no SEV\nprocessor: AuthenticAMD, 0x0000000000800f12\n"
    )


@pytest.mark.parametrize("name", ["report", "seal"])
def test_guests_that_need_the_firmware_say_so(name: str) -> None:
    assert Bare(firmware(name)).run() == "the firmware hears guests under SEV-SNP alone, and this is no SEV\n"


def test_count_counts_on() -> None:
    printed = Bare(firmware("count")).run(2_000_000)
    assert printed.startswith("vCPU 0 has counted to 262144\nvCPU 0 has counted to 524288\n")


def test_walk_prints_every_level() -> None:
    printed = Bare(firmware("walk")).run()
    assert re.findall(r"level (\d), entry (\d+)", printed) == [
        *[("4", "0"), ("3", "0"), ("2", "0"), ("1", "32")],
        *[("4", "0"), ("3", "3"), ("2", "511")],
    ]


def test_victim_does_as_it_is_told() -> None:
    printed = Bare(firmware("victim"), b"rwrerbxh").run()
    assert re.findall(r"^[^r].*", printed, re.MULTILINE) == [
        "page A is at 0x0000000000200000, page B at 0x0000000000201000",
        f"A: {b'page A, '.hex()}0100000000000000, all as it was written",
        f"B: {b'page B, '.hex()}0100000000000000, all as it was written",
        f"A: {b'page A, '.hex()}0100000000000000, all as it was written",
        "A is written, number 2",
        f"A: {b'page A, '.hex()}0200000000000000, all as it was written",
        "A and B are written the same",
        f"A: {b'both are'.hex()}0300000000000000, all as it was written",
        f"B: {b'both are'.hex()}0300000000000000, all as it was written",
        "halt",
    ]


def test_victim_sees_a_change() -> None:
    guest = Bare(firmware("victim"), b"rh")
    guest.before_data = lambda: guest.emulator.mem_write(0x20_0123, b"!")
    assert "CHANGED: byte 288 on is 70616721" in guest.run()
