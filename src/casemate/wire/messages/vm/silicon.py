"""Chip to the VM's process, and back: the launch. The chip asks, strictly in turns."""

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
    """The VM's encryption key: new for each VM, known only to this process and the chip."""
    tweak_key: Bytes32
    asid: U32
    pages: U32
    """Pages of DRAM."""
    top: U64
    """One more than the highest guest physical address."""
    policy: U64
    layers: LayerRequests
    """The layers that the process's own sandbox must have."""


@message(0xC1)
@dataclass(frozen=True, slots=True)
class Ready:
    """The memory controller is ready; no vCPU runs yet."""

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
    """The content, where the firmware provides it (a secrets page, a checked CPUID page); None: the content of DRAM."""


@message(0xC3)
@dataclass(frozen=True, slots=True)
class PagesAdded:
    """The hashes of the pages as they were taken, so that the chip measures exactly those."""

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
    """The 4096 bytes of the page."""

    content: Annotated[bytes, Limit(PAGE_SIZE)]


@message(0xC6)
@dataclass(frozen=True, slots=True)
class Finish:
    """The launch is over: from now vCPUs may run, and no pages are added. Reply: ``Finished``."""


@message(0xC7)
@dataclass(frozen=True, slots=True)
class Finished:
    """Vcpus may run."""
