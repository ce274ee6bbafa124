"""The pages that a hypervisor gives to the firmware to launch a guest, in order, and the resulting launch digest."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from casemate.wire.errors import WireError
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.ovmf import Content, Ovmf, Section, SectionType
from casemate.wire.snp.page_info import (
    DIGEST_SIZE,
    PAGE_SIZE,
    LaunchPage,
    PageType,
    extend,
    extend_run,
    hash_pages,
)
from casemate.wire.snp.vmm import Vmm
from casemate.wire.snp.vmsa import BSP_EIP, reset_state

MAX_VCPUS = 512
_EMPTY = bytes(PAGE_SIZE)
_PIECE = 128 * PAGE_SIZE
"""Bytes of firmware that are hashed at a time."""


@dataclass(frozen=True, slots=True)
class GuestShape:
    """Everything about a guest that is measured, besides its firmware."""

    vcpus: int
    """1 to 512."""
    vcpu_signature: int
    """CPUID Fn0000_0001_EAX; only QEMU has it measured."""
    vmm: Vmm
    guest_features: int = 0x1
    """SEV_FEATURES of the VMSA (APM volume 2, table B-4); bit 0 is SNP."""
    kernel: KernelHashes | None = None
    """None where the firmware boots from a disk."""


class Part(StrEnum):
    """The origin of a page, for people."""

    FIRMWARE = "firmware"
    ZERO = "zero memory"
    SECRETS = "secrets page"
    CPUID = "CPUID page"
    CALLING_AREA = "SVSM calling area"
    KERNEL_HASHES = "kernel hashes"
    VMSA = "vCPU registers"


@dataclass(frozen=True, slots=True)
class PlannedPage:
    """A page and its origin."""

    part: Part
    page: LaunchPage


def plan(ovmf: Ovmf, shape: GuestShape) -> Iterator[PlannedPage]:
    """Every page, in the order in which the hypervisor adds it.

    Raises:
        WireError: the firmware has no place for something that the guest needs.
    """
    _check(ovmf, shape)
    for offset in range(0, len(ovmf.content), PAGE_SIZE):
        content = ovmf.content[offset : offset + PAGE_SIZE]
        yield PlannedPage(Part.FIRMWARE, LaunchPage(PageType.NORMAL, ovmf.gpa + offset, content))
    yield from _after_firmware(ovmf, shape)


def hash_firmware(content: Content) -> Iterator[bytes]:
    """SHA-384 of each page, in order."""
    for at in range(0, len(content), _PIECE):
        yield from hash_pages(content[at : at + _PIECE])


def launch_digest(
    ovmf: Ovmf, shape: GuestShape, hash_firmware: Callable[[Content], Iterable[bytes]] = hash_firmware
) -> bytes:
    """The launch digest (48 bytes) of the pages of :func:`plan`, computed without making each of them.

    Args:
        ovmf: the firmware.
        shape: what else is measured.
        hash_firmware: SHA-384 of each page in order; another function than the default may do it on several processors.

    Raises:
        WireError: the firmware has no place for something that the guest needs.
    """
    _check(ovmf, shape)
    digest = extend_run(bytes(DIGEST_SIZE), hash_firmware(ovmf.content), PageType.NORMAL, ovmf.gpa)
    for planned in _after_firmware(ovmf, shape):
        digest = extend(digest, planned.page)
    return digest


def page_count(ovmf: Ovmf, shape: GuestShape) -> int:
    """The number of pages of :func:`plan`."""
    return len(ovmf.content) // PAGE_SIZE + sum(1 for _ in _after_firmware(ovmf, shape))


def _after_firmware(ovmf: Ovmf, shape: GuestShape) -> Iterator[PlannedPage]:
    late = [section for section in ovmf.sections if shape.vmm is Vmm.EC2 and section.section_type is SectionType.CPUID]
    for section in (*(section for section in ovmf.sections if section not in late), *late):
        yield from _section(ovmf, shape, section)
    for number in range(shape.vcpus):
        eip = BSP_EIP if number == 0 else ovmf.reset_eip or 0
        registers = reset_state(eip, shape.vmm, shape.vcpu_signature, shape.guest_features)
        yield PlannedPage(Part.VMSA, LaunchPage(PageType.VMSA, 0, registers.encode()))


def digest_of(pages: Iterable[LaunchPage]) -> bytes:
    """The launch digest of these pages (48 bytes)."""
    digest = bytes(DIGEST_SIZE)
    for page in pages:
        digest = extend(digest, page)
    return digest


def _check(ovmf: Ovmf, shape: GuestShape) -> None:
    if not 1 <= shape.vcpus <= MAX_VCPUS:
        raise WireError("vCPUs", got=shape.vcpus, want=f"1 to {MAX_VCPUS}")
    if shape.vcpus > 1 and ovmf.reset_eip is None:
        raise WireError("OVMF.SEV_ES_RESET_BLOCK", got="not there", want="where the second vCPU starts")
    places = [section for section in ovmf.sections if section.section_type is SectionType.KERNEL_HASHES]
    if shape.kernel is not None and not (places and ovmf.hash_table_gpa):
        raise WireError("OVMF", got="no place for kernel hashes", want="one that supports a measured direct boot")
    if shape.kernel is not None and [place.size for place in places] != [PAGE_SIZE]:
        raise WireError(
            "OVMF.SEV_METADATA kernel hashes", got=f"{len(places)} sections", want="one section of one page"
        )


def _section(ovmf: Ovmf, shape: GuestShape, section: Section) -> Iterator[PlannedPage]:
    for gpa in range(section.gpa, section.gpa + section.size, PAGE_SIZE):
        yield _page(ovmf, shape, section.section_type, gpa)


def _page(ovmf: Ovmf, shape: GuestShape, kind: SectionType, gpa: int) -> PlannedPage:
    match kind:
        case SectionType.SECRETS:
            return PlannedPage(Part.SECRETS, LaunchPage(PageType.SECRETS, gpa, _EMPTY))
        case SectionType.CPUID:
            return PlannedPage(Part.CPUID, LaunchPage(PageType.CPUID, gpa, _EMPTY))
        case SectionType.SVSM_CAA:
            return PlannedPage(Part.CALLING_AREA, LaunchPage(PageType.ZERO, gpa, _EMPTY))
        case SectionType.KERNEL_HASHES if shape.kernel is not None and ovmf.hash_table_gpa is not None:
            content = shape.kernel.page(ovmf.hash_table_gpa % PAGE_SIZE)
            return PlannedPage(Part.KERNEL_HASHES, LaunchPage(PageType.NORMAL, gpa, content))
    unmeasured = kind is SectionType.SEC_MEMORY and shape.vmm is Vmm.GCE
    return PlannedPage(Part.ZERO, LaunchPage(PageType.UNMEASURED if unmeasured else PageType.ZERO, gpa, _EMPTY))
