import itertools
import subprocess
import sys

import pytest

from casemate.images.vm.assemble import AssemblyError, Source, assemble
from casemate.images.vm.builtin import GUESTS, UnknownGuestError, firmware, sources
from casemate.images.vm.firmware import build_firmware
from casemate.images.vm.layout import IMAGE, IMAGE_SIZE, SECTIONS, SYMBOLS
from casemate.wire.snp.ovmf import SectionType, parse_ovmf

LEAST = "bsp_reset: hlt\nap_reset: hlt\n"


@pytest.mark.parametrize("name", GUESTS)
def test_an_image_is_in_ovmf_s_shape(name: str) -> None:
    ovmf = parse_ovmf(firmware(name))
    labels = assemble(sources(name), symbols=SYMBOLS, base=IMAGE).labels
    assert ovmf.gpa == IMAGE
    assert ovmf.sections == SECTIONS
    assert ovmf.reset_eip == labels["ap_reset"]
    assert ovmf.hash_table_gpa is None


def test_the_reset_vector_jumps_to_the_first_vcpu_s_start() -> None:
    image = build_firmware([Source("a.s", "nop\n" + LEAST)])
    opcode, distance = image[-16], int.from_bytes(image[-15:-13], "little")
    assert opcode == 0xE9
    assert (0xFFF0 + 3 + distance) & 0xFFFF == (IMAGE + 1) & 0xFFFF


def test_the_image_is_the_same_in_every_process() -> None:
    script = "from casemate.images.vm.builtin import firmware; print(firmware('victim').hex())"
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    assert bytes.fromhex(printed) == firmware("victim")


def test_the_guests_differ() -> None:
    assert len({firmware(name) for name in GUESTS}) == len(GUESTS)


def test_there_is_no_other_guest() -> None:
    with pytest.raises(UnknownGuestError, match="choose one of hello, report"):
        firmware("linux")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bsp_reset: hlt", "ap_reset"),
        ("ap_reset: hlt", "bsp_reset"),
        (LEAST + f".zero {IMAGE_SIZE}", "too long"),
    ],
)
def test_refuses_code_that_makes_no_image(text: str, reason: str) -> None:
    with pytest.raises(AssemblyError, match=reason):
        build_firmware([Source("a.s", text)])


def test_what_guests_use_does_not_overlap() -> None:
    regions = sorted((section.gpa, section.gpa + section.size) for section in SECTIONS)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(regions))
    started = next(section for section in SECTIONS if section.section_type is SectionType.SEC_MEMORY)
    assert SYMBOLS["STACKS"] - SYMBOLS["GHCBS"] == SYMBOLS["MAX_VCPUS"] * 0x1000
    assert started.gpa <= SYMBOLS["PML4"] < SYMBOLS["ANSWER"] < started.gpa + started.size
