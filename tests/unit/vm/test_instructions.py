"""Where the emulator has to stop: every place, and decoded as the processor does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.vm.vcpu.instructions import Instruction, InstructionKind, beginnings, decode

CASES = {
    "f4": Instruction(InstructionKind.HLT, 1),
    "0fa2": Instruction(InstructionKind.CPUID, 2),
    "0f32": Instruction(InstructionKind.RDMSR, 2),
    "0f30": Instruction(InstructionKind.WRMSR, 2),
    "cd80": Instruction(InstructionKind.INT, 2, 0x80),
    "f30f01d9": Instruction(InstructionKind.VMGEXIT, 4),
    "f20f01d9": Instruction(InstructionKind.VMGEXIT, 4),
    "f20f01ff": Instruction(InstructionKind.PVALIDATE, 4),
    "f30f01fe": Instruction(InstructionKind.RMPADJUST, 4),
    "ec": Instruction(InstructionKind.PORT, 1, 0x211),
    "ee": Instruction(InstructionKind.PORT, 1, 0x210),
    "66ed": Instruction(InstructionKind.PORT, 2, 0x221),
    "ef": Instruction(InstructionKind.PORT, 1, 0x240),
    "e460": Instruction(InstructionKind.PORT, 2, 0x211, 0x60),
    "f36e": Instruction(InstructionKind.PORT, 2, 0x21C),
    "48f4": Instruction(InstructionKind.HLT, 2),
}


@pytest.mark.parametrize("code", CASES)
def test_decodes(code: str) -> None:
    raw = bytes.fromhex(code)
    assert decode(raw.ljust(15, b"\x90"), long_mode=True) == CASES[code]
    page = b"\x90" * 100 + raw + b"\x90" * 100
    assert 100 in beginnings(page)


@pytest.mark.parametrize("code", ["90", "0f01d9", "0f01d0", "0f05", "0f0b", "c3", "0f", "66", "", "cd", "e4", "0f01"])
def test_all_else_is_the_emulators(code: str) -> None:
    assert decode(bytes.fromhex(code), long_mode=True) is None


def test_in_16_and_32_bits_a_rex_prefix_is_an_instruction_of_its_own() -> None:
    assert decode(bytes.fromhex("48f4"), long_mode=False) is None


@given(page=st.binary(max_size=300), at=st.integers(0, 299))
def test_no_place_where_one_could_begin_is_left_out(page: bytes, at: int) -> None:
    found = decode(page[at : at + 15], long_mode=True)
    prefixes = 0 if found is None else found.length
    if found is not None and prefixes <= 5:  # more prefixes than anybody writes
        assert at in beginnings(page)
