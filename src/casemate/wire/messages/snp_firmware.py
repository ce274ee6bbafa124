"""Host to chip: the commands of SEV-SNP firmware (AMD 56860, chapter 8), and what the chip says of VMs.

They travel on the link of :mod:`casemate.wire.messages.chip`. Each is answered by its reply or a ``Fault``; a command
that the firmware refuses has the code ``firmware-refused``, and words that begin with the status (``POLICY_FAILURE:``).
The chip reads the pages of a launch from the VM's DRAM, a file of the host's. Addresses are in bytes.
"""

from dataclasses import dataclass
from typing import Annotated

from casemate.wire.encodings.message import U8, U32, U64, Bytes32, Fixed, Limit, message
from casemate.wire.messages.request import Request
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PageType
from casemate.wire.snp.vlek import MAX_CSP_ID

MAX_DRAM_PAGES = 1 << 20
"""4 GiB."""

MAX_UPDATE_PAGES = 4096
"""Most pages of one LAUNCH_UPDATE: 16 MiB."""

MAX_CERTIFICATES = 64 * 1024
"""Longest certificate table (bytes)."""

Digest48 = Annotated[bytes, Fixed(48)]
Tcb = Annotated[bytes, Fixed(8)]


@message(0xB0)
@dataclass(frozen=True, slots=True)
class LaunchStart:
    """SNP_GCTX_CREATE, SNP_ACTIVATE and SNP_LAUNCH_START. Reply: ``LaunchStarted``.

    One descriptor comes with it: the VM's DRAM, a plain file of the host of ``4096 * pages`` bytes, open for reading
    and writing. No process maps it, because the host may truncate it at any time.
    """

    mode: VmMode
    policy: U64
    """GUEST_POLICY (56860, 4.3)."""
    pages: U32
    """Size of the VM's DRAM: system physical addresses 0 to 4096 * pages."""
    top: U64
    """One more than the highest guest physical address."""


@message(0xB1)
@dataclass(frozen=True, slots=True)
class LaunchStarted:
    """The VM was created. One descriptor comes with it: the hypervisor's end of the VM's socket."""

    vm: U64
    asid: U32


@message(0xB2)
@dataclass(frozen=True, slots=True)
class LaunchUpdate:
    """SNP_LAUNCH_UPDATE for ``count`` contiguous pages. Reply: ``LaunchDigest``.

    The pages are read from DRAM, measured, and encrypted in place. From then on they are the guest's: validated, and
    immutable to the host. Refused after SNP_LAUNCH_FINISH.
    """

    vm: U64
    page_type: PageType
    spa: U64
    gpa: U64
    """Ignored for a VMSA."""
    count: U32
    vmpl1_perms: U8 = 0
    vmpl2_perms: U8 = 0
    vmpl3_perms: U8 = 0


@message(0xB3)
@dataclass(frozen=True, slots=True)
class LaunchDigest:
    """The launch digest so far."""

    vm: U64
    digest: Digest48


@message(0xB4)
@dataclass(frozen=True, slots=True)
class LaunchFinish:
    """SNP_LAUNCH_FINISH: after it the guest can run, and nothing can be added. Reply: ``LaunchDigest``."""

    vm: U64
    host_data: Bytes32
    id_block: Annotated[bytes, Fixed(96)] | None = None
    """The measurement that the owner demands, signed by the id key (56860, table ID_BLOCK)."""
    id_auth: Annotated[bytes, Fixed(4096)] | None = None
    """Keys and signatures (56860, table ID_AUTH)."""
    author_key: bool = False
    """AUTHOR_KEY_EN: ``id_auth`` has an author key, which has signed the id key."""


@message(0xB5)
@dataclass(frozen=True, slots=True)
class GuestRequest:
    """SNP_GUEST_REQUEST: a guest's sealed message, relayed. Reply: ``GuestResponse``."""

    vm: U64
    request: Annotated[bytes, Limit(4096)]


@message(0xB6)
@dataclass(frozen=True, slots=True)
class GuestResponse:
    """The firmware's sealed answer, for the guest's response page."""

    response: Annotated[bytes, Limit(4096)]


@message(0xB7)
@dataclass(frozen=True, slots=True)
class DestroyVm:
    """SNP_DECOMMISSION: the keys are gone with the VM's process. Reply: ``VmProcessIs``."""

    vm: U64


@message(0xB8)
@dataclass(frozen=True, slots=True)
class VmProcessIs:
    """A reply; or, with request number 0, the news that a VM's process has ended."""

    vm: U64
    reason: Annotated[str, Limit(1024)]


@message(0xBA)
@dataclass(frozen=True, slots=True)
class PlatformIs:
    """The platform. TCB versions are 8 bytes: ``wire.snp.tcb``."""

    product: Annotated[str, Limit(16)]
    api_major: U8
    api_minor: U8
    build: U32
    current_tcb: Tcb
    reported_tcb: Tcb
    committed_tcb: Tcb
    mask_chip_id: bool
    report_version: U8
    """The version of ATTESTATION_REPORT that the firmware writes."""
    provider: Annotated[str, Limit(MAX_CSP_ID)]
    """The provider whose VLEK is loaded; empty where the chip's own VCEK signs reports."""
    guests: U32


@message(0xB9)
@dataclass(frozen=True, slots=True)
class PlatformStatus(Request[PlatformIs]):
    """SNP_PLATFORM_STATUS."""


@message(0xBB)
@dataclass(frozen=True, slots=True)
class SetConfig(Request[PlatformIs]):
    """SNP_SET_CONFIG: sets fields of reports, within limits."""

    reported_tcb: Tcb
    """The new reported TCB: no component above the current or below the committed one; zeros for the current TCB."""
    mask_chip_id: bool


@message(0xBC)
@dataclass(frozen=True, slots=True)
class Commit(Request[PlatformIs]):
    """SNP_COMMIT: the platform cannot be rolled back below the current TCB any more."""


@message(0xBD)
@dataclass(frozen=True, slots=True)
class GetCertificates:
    """The certificates of the key that signs reports now. Reply: ``CertificatesAre``."""


@message(0xBE)
@dataclass(frozen=True, slots=True)
class CertificatesAre:
    """The certificates, as the maker's key service would give them."""

    chain: Annotated[bytes, Limit(MAX_CERTIFICATES)]
    """PEM: VCEK, ASK, ARK; or VLEK, ASVK, ARK."""


@message(0xBF)
@dataclass(frozen=True, slots=True)
class LoadVlek(Request[PlatformIs]):
    """SNP_VLEK_LOAD: a cloud provider's key signs reports until the chip's next start.

    The key is for the reported TCB, and useless after that has changed.

    SIMULATED: the chip has its maker wrap the key. Real: the host brings what AMD has wrapped.
    """

    csp_id: Annotated[str, Limit(MAX_CSP_ID)]
