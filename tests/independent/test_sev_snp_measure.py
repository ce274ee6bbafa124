"""Launch digests against IBM's sev-snp-measure, which shares no code with this project."""

from itertools import product
from pathlib import Path

import pytest
from sevsnpmeasure import guest, vcpu_types
from sevsnpmeasure.gctx import GCTX
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType

from casemate.images.vm.builtin import GUESTS, firmware
from casemate.testing.firmware import SECTIONS, make_ovmf
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.paravirtual import guest_pages
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

THEIRS = {Vmm.QEMU: VMMType.QEMU, Vmm.EC2: VMMType.ec2, Vmm.GCE: VMMType.gce}
KERNEL, INITRD, APPEND = b"a kernel" * 1000, b"an initial RAM disk" * 1000, "console=ttyS0 root=/dev/vda"
BOOTS = ("disk", "kernel", "kernel, initrd and append")

COMBINATIONS = [
    *product(Vmm, ("EPYC-v4", "EPYC-Milan", "EPYC-Genoa", "EPYC-Turin"), (1, 4), ("disk",)),
    *product(Vmm, ("EPYC-Milan",), (1, 2, 64), BOOTS[1:]),
]


@pytest.mark.parametrize(("vmm", "vcpu_type", "vcpus", "boot"), COMBINATIONS)
def test_launch_digests_are_equal(tmp_path: Path, vmm: Vmm, vcpu_type: str, vcpus: int, boot: str) -> None:
    direct = boot != "disk"
    image = make_ovmf(8) if direct else make_ovmf(8, sections=SECTIONS)
    for name, content in (("ovmf", image), ("kernel", KERNEL), ("initrd", INITRD)):
        (tmp_path / name).write_bytes(content)
    everything = boot == BOOTS[2]
    theirs = guest.calc_launch_digest(
        SevMode.SEV_SNP,
        vcpus,
        vcpu_types.CPU_SIGS[vcpu_type],
        str(tmp_path / "ovmf"),
        str(tmp_path / "kernel") if direct else "",
        str(tmp_path / "initrd") if everything else "",
        APPEND if everything else "",
        0x1,
        vmm_type=THEIRS[vmm],
    )
    kernel = KernelHashes.of(KERNEL, INITRD if everything else b"", APPEND if everything else "") if direct else None
    ours = digest_of(
        planned.page for planned in plan(parse_ovmf(image), GuestShape(vcpus, VCPU_TYPES[vcpu_type], vmm, 0x1, kernel))
    )
    assert ours.hex() == theirs.hex()


@pytest.mark.parametrize("features", [0x1, 0x21])
def test_guest_features_are_measured_as_they_measure_them(tmp_path: Path, features: int) -> None:
    image = make_ovmf(8)
    (tmp_path / "ovmf").write_bytes(image)
    signature = VCPU_TYPES["EPYC-Genoa"]
    theirs = guest.calc_launch_digest(
        SevMode.SEV_SNP, 2, signature, str(tmp_path / "ovmf"), "", "", "", features, vmm_type=VMMType.QEMU
    )
    pages = (planned.page for planned in plan(parse_ovmf(image), GuestShape(2, signature, Vmm.QEMU, features)))
    assert digest_of(pages).hex() == theirs.hex()


@pytest.mark.parametrize("vmm", Vmm)
@pytest.mark.parametrize("name", GUESTS)
def test_built_in_guests_are_measured_as_they_measure_them(tmp_path: Path, name: str, vmm: Vmm) -> None:
    image = firmware(name)
    (tmp_path / "ovmf").write_bytes(image)
    signature = VCPU_TYPES["EPYC-Milan"]
    theirs = guest.calc_launch_digest(
        SevMode.SEV_SNP, 2, signature, str(tmp_path / "ovmf"), "", "", "", 0x1, vmm_type=THEIRS[vmm]
    )
    pages = (planned.page for planned in plan(parse_ovmf(image), GuestShape(2, signature, vmm)))
    assert digest_of(pages).hex() == theirs.hex()


def test_every_name_of_a_vcpu_means_the_same_processor() -> None:
    assert VCPU_TYPES == vcpu_types.CPU_SIGS


def test_a_functions_pages_are_measured_as_theirs_measures_pages() -> None:
    pages = bytes(range(256)) * 16 * 5
    theirs = GCTX()
    theirs.update_normal_pages(0, pages)
    assert digest_of(guest_pages(pages)).hex() == theirs.ld().hex()
