"""Chip to the VM's process, and back: the VM's own share of the silicon. Strictly in turns; the chip asks."""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U8, U32, U64, Bytes32, Limit, message
from casemate.wire.messages.snp_firmware import MAX_UPDATE_PAGES
from casemate.wire.protocol.sandbox_layers import LayerRequests, Layers
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE, PageType


@message(0xC0)
@dataclass(frozen=True, slots=True)
class PowerOn:
    """The first frame. The process was started with its descriptors: this link, the hypervisor's, the DRAM.

    Reply: ``Ready``.
    """

    mode: VmMode
    key: Bytes32
    """The VM's encryption key: new for each VM, known to this process and the chip alone."""
    tweak_key: Bytes32
    asid: U32
    pages: U32
    """Of DRAM."""
    top: U64
    """One more than the highest guest physical address."""
    policy: U64
    layers: LayerRequests
    """What the process's own sandbox must have."""


@message(0xC1)
@dataclass(frozen=True, slots=True)
class Ready:
    """The controller works; nothing runs yet."""

    layers: Layers


@message(0xC2)
@dataclass(frozen=True, slots=True)
class AddPages:
    """Take pages for the guest, as ``LaunchUpdate`` says. Reply: ``PagesAdded``, or a ``Fault``: then none is taken."""

    page_type: PageType
    spa: U64
    gpa: U64
    count: U32
    vmpl1_perms: U8
    vmpl2_perms: U8
    vmpl3_perms: U8
    content: Annotated[bytes, Limit(PAGE_SIZE)] | None
    """What the firmware itself puts there (a secrets page, a checked CPUID page); None: what DRAM holds."""


@message(0xC3)
@dataclass(frozen=True, slots=True)
class PagesAdded:
    """What was taken, so that the chip measures exactly that."""

    digests: Annotated[bytes, Limit(DIGEST_SIZE * MAX_UPDATE_PAGES)]
    """SHA-384 of each page, one after another, where the type is measured by content; else nothing."""


@message(0xC4)
@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page of DRAM before it is the guest's: a CPUID page, which the firmware checks. Reply: ``PageIs``."""

    spa: U64


@message(0xC5)
@dataclass(frozen=True, slots=True)
class PageIs:
    """4096 bytes."""

    content: Annotated[bytes, Limit(PAGE_SIZE)]


@message(0xC6)
@dataclass(frozen=True, slots=True)
class Finish:
    """The launch is over: from now vCPUs may run, and no pages are added. Reply: ``Finished``."""


@message(0xC7)
@dataclass(frozen=True, slots=True)
class Finished:
    """Vcpus may run."""
