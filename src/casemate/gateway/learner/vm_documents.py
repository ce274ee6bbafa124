"""The JSON documents of the learner's VM."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from casemate.gateway.v1.documents import Base64, Document
from casemate.gateway.v1.vm.documents import Digest, HexNumber, VmNumber
from casemate.wire.messages.vm.host import VmState
from casemate.wire.snp.mode import VmMode

VISIBILITY = (
    "The operator of this machine could read this request and this answer. Pages of a launch are measured, not secret: "
    "what a guest writes itself is encrypted with a key that the operator does not have."
)
MAX_DATA = 256 * 1024
"""Longest text or base64 of pages in one request (characters)."""

MAX_LEARNER_MIB = 256
"""Most RAM of a learner's VM (MiB)."""

Hex = Annotated[str, Field(pattern="^(?:[0-9a-f]{2})*$")]


class BuiltIn(StrEnum):
    """The guests that come along; docs/vm-guests.md tells of each."""

    HELLO = "hello"
    REPORT = "report"
    SEAL = "seal"
    COUNT = "count"
    WALK = "walk"
    VICTIM = "victim"


class Encoding(StrEnum):
    """The encoding of `data`."""

    TEXT = "text"
    BASE64 = "base64"


class VmAnswer(Document):
    """Members that every answer about the learner's VM has beside its result."""

    vm: VmNumber
    mode: VmMode
    state: VmState
    digest: Annotated[Digest, Field(description="The launch digest; while it is launching, so far.")]
    seen_by: Annotated[Literal["operator"], Field(description="Who beside you could read this.")] = "operator"
    visibility: str = VISIBILITY


class LaunchVmRequest(Document):
    """A VM to launch; `{}` is one that can be attested."""

    guest: Annotated[BuiltIn, Field(description="Only `report` answers `/vm/attest`.")] = BuiltIn.REPORT
    mode: VmMode = VmMode.AUTHENTICATED
    memory_mib: Annotated[int, Field(strict=True, ge=4, le=MAX_LEARNER_MIB)] = 16
    vcpus: Annotated[int, Field(strict=True, ge=1, le=8)] = 1
    debug: Annotated[bool, Field(strict=True, description="The policy lets the hypervisor decrypt its memory.")] = False
    host_data: Annotated[
        str, Field(pattern="^[0-9a-fA-F]{64}$", description="32 bytes of the host's that reports carry.")
    ] = "00" * 32


class VcpuDocument(Document):
    """A vCPU before its first instruction."""

    vcpu: int
    measured: Annotated[bool, Field(description="Whether the launch digest has these registers in it already.")]
    sha384: Annotated[Digest, Field(description="Of the page of registers (VMSA), as PAGE_INFO will have it.")]
    registers: Annotated[dict[str, HexNumber], Field(description="Those that tell most; GET .../registers has all.")]


class PolicyDocument(Document):
    """GUEST_POLICY (AMD 56860, section 4.3)."""

    value: HexNumber
    smt: bool
    migration: bool
    debug: bool
    single_socket: bool
    abi: Annotated[str, Field(description="The least version of the firmware.")]


class FirmwareDocument(Document):
    """The firmware of a VM."""

    size: int
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="To compare it with the guest that you have.")]


class LaunchVmAnswer(VmAnswer):
    """LAUNCH_START is done."""

    guest: BuiltIn
    policy: PolicyDocument
    memory_mib: int
    vcpu_type: Annotated[str, Field(description="QEMU's name of the processor, which is measured in RDX.")]
    firmware: FirmwareDocument
    vcpus: list[VcpuDocument]
    next: str = "POST /vm/encrypt: the firmware's pages go in, then yours, and the digest moves with each."


class EncryptVmRequest(Document):
    """Pages to add; `{}` adds the firmware's alone."""

    vm: Annotated[VmNumber | None, Field(description="Default: the last one that your token launched here.")] = None
    data: Annotated[str, Field(max_length=MAX_DATA, description="The last page is filled with zeros.")] = ""
    encoding: Encoding = Encoding.TEXT
    gpa: Annotated[
        str, Field(pattern="^0x[0-9a-fA-F]{0,8}000$", description="Where in the guest's RAM: a multiple of 4096.")
    ] = "0x300000"


class EncryptedPage(Document):
    """One page, on both sides of the memory controller."""

    gpa: HexNumber
    spa: Annotated[HexNumber, Field(description="Where it is in DRAM.")]
    sha384: Annotated[Digest, Field(description="Of what you sent: this is measured.")]
    sent: Annotated[Hex, Field(description="The first bytes of what you sent.")]
    dram: Annotated[Hex, Field(description="The first bytes that are in DRAM now.")]


class EncryptVmAnswer(VmAnswer):
    """LAUNCH_UPDATE is done."""

    firmware_added: Annotated[bool, Field(description="The firmware's pages were still to come, and went in first.")]
    pages: Annotated[list[EncryptedPage], Field(description="Yours.")]


class AttestLearnersVmRequest(Document):
    """A challenge."""

    nonce: Annotated[
        str,
        Field(
            pattern="^(?:[0-9a-fA-F]{2}){1,64}$",
            description="1 to 64 bytes in hexadecimal, drawn by you, never used twice: REPORT_DATA, zeros behind it.",
        ),
    ]
    vm: Annotated[VmNumber | None, Field(description="Default: the last one that your token launched here.")] = None


class SnpReportFields(Document):
    """The fields of the attestation report (AMD 56860), in hexadecimal where they are bytes."""

    version: int
    guest_svn: int
    policy: PolicyDocument
    family_id: Hex
    image_id: Hex
    vmpl: int
    signing_key: str
    current_tcb: Hex
    platform_info: HexNumber
    report_data: Annotated[Hex, Field(description="Your nonce, zeros behind it.")]
    measurement: Annotated[Digest, Field(description="The launch digest.")]
    host_data: Hex
    id_key_digest: Hex
    author_key_digest: Hex
    report_id: Hex
    reported_tcb: Hex
    chip_id: Hex
    committed_tcb: Hex
    launch_tcb: Hex


class AttestVmAnswer(VmAnswer):
    """Evidence: unverified, until you verify it."""

    finished: Annotated[bool, Field(description="This request was the first: it measured registers, LAUNCH_FINISH.")]
    nonce: Hex
    fields: SnpReportFields
    report: Annotated[Base64, Field(description="The report itself, 1184 bytes.")]
    certificates: Annotated[str, Field(description="PEM: of the key that signed it, of its CA, of the root.")]
    verify: Annotated[list[str], Field(description="Commands that check it on your own computer.")]
