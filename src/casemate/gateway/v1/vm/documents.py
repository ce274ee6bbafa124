"""The JSON documents of confidential VMs. Addresses and registers have 64 bits, so they are hexadecimal text."""

import base64
from dataclasses import fields
from typing import Annotated

from pydantic import Field

from casemate.gateway.v1.documents import Base64, Document
from casemate.wire.messages.vm.host import ConsoleIs, VmEvidenceIs, VmIs, VmRan, VmsAre, VmState
from casemate.wire.messages.vm.hypervisor import ExitReason, RmpEntry, RmpIs
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import GuestPolicy
from casemate.wire.snp.vmsa import Segment, Vmsa

MAX_RUN_MS = 5_000
"""Longest run that one request may ask for (milliseconds): proxies close connections that wait longer for a response.
The next request continues the run."""

HEX_NUMBER = "^0x[0-9a-fA-F]{1,16}$"
MAX_SAFE = 2**53 - 1
"""The largest integer of I-JSON (RFC 7493)."""

HexNumber = Annotated[str, Field(pattern=HEX_NUMBER)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{96}$")]
VmNumber = Annotated[int, Field(strict=True, ge=0, le=MAX_SAFE, description="The host's number of this VM.")]


class VmDocument(Document):
    """A VM as its host describes it: the operator's claims, unverified until its report is appraised."""

    id: VmNumber
    name: str
    mode: VmMode
    state: VmState
    reason: Annotated[str, Field(description="Why it is in this state.")]
    policy: Annotated[HexNumber, Field(description="GUEST_POLICY (AMD 56860, section 4.3).")]
    debug: Annotated[bool, Field(description="The policy lets the hypervisor decrypt its memory.")]
    memory_mib: int
    vcpus: int
    digest: Annotated[Digest, Field(description="The launch digest; while it is launching, so far.")]


class VmsDocument(Document):
    """All VMs."""

    vms: list[VmDocument]


class RunRequest(Document):
    """The vCPU to run, and the limits at which the run ends."""

    vcpu: Annotated[int, Field(strict=True, ge=0, le=65535)] = 0
    instructions: Annotated[
        int | None,
        Field(strict=True, ge=0, le=MAX_SAFE, description="1 is a single step. Default: not counted, which is faster."),
    ] = None
    time_ms: Annotated[
        int, Field(strict=True, ge=0, le=MAX_RUN_MS, description="Milliseconds; the next run goes on from there.")
    ] = MAX_RUN_MS
    console: Annotated[
        int, Field(strict=True, ge=0, le=2**32 - 1, description="It ends with the exit that has printed so many bytes.")
    ] = 1 << 20


class RanDocument(Document):
    """How a run ended."""

    vm: VmDocument
    reason: ExitReason
    executed: Annotated[int, Field(ge=0, description="Instructions, as far as they are counted.")]
    exits: Annotated[int, Field(ge=0, description="How often the hypervisor was needed.")]
    printed: Annotated[int, Field(ge=0, description="Bytes on the console.")]
    detail: str


class MapRequest(Document):
    """One page of the nested page table."""

    gpa: Annotated[HexNumber, Field(description="Of the guest's page: a multiple of 4096.")]
    spa: Annotated[HexNumber, Field(description="Of the page of DRAM that shall be there.")]


class AssignRequest(Document):
    """One page of the reverse map table."""

    spa: Annotated[HexNumber, Field(description="Of the page of DRAM: a multiple of 4096.")]
    gpa: Annotated[HexNumber | None, Field(description="Where the guest has it from now; null: it is the host's.")] = (
        None
    )


class RmpEntryDocument(Document):
    """One page of DRAM in the reverse map table (APM volume 2, 15.36.3)."""

    spa: HexNumber
    assigned: Annotated[bool, Field(description="It is the guest's; else the hypervisor's, and the rest is moot.")]
    gpa: HexNumber
    validated: bool
    immutable: bool
    vmsa: bool
    permissions: Annotated[
        list[int],
        Field(description="Of VMPL 0 to 3: bit 0 read, 1 write, 2 execute as user, 3 execute as supervisor."),
    ]


class RmpDocument(Document):
    """Entries of the reverse map table, by ascending address."""

    entries: list[RmpEntryDocument]


class SegmentDocument(Document):
    """A segment register."""

    selector: HexNumber
    attrib: HexNumber
    limit: HexNumber
    base: HexNumber


class RegistersDocument(Document):
    """A vCPU's VMSA, with the APM's names (volume 2, appendix B, table B-4)."""

    registers: dict[str, HexNumber]
    segments: dict[str, SegmentDocument]


class ConsoleDocument(Document):
    """A piece of a guest's output. Old output is discarded, so `start` may be later than requested."""

    start: Annotated[int, Field(ge=0, description="The number of the first byte here.")]
    end: Annotated[int, Field(ge=0, description="The number of the next byte: ask from there.")]
    text: Annotated[str, Field(description="The same as UTF-8, for people.")]
    content: Base64
    ended: Annotated[bool, Field(description="Nothing more will come: the VM is gone.")]


class AttestVmRequest(Document):
    """The 64 bytes that the report is to contain."""

    report_data: Annotated[str, Field(pattern="^[0-9a-fA-F]{128}$", description="REPORT_DATA, 64 bytes, hexadecimal.")]


class VmEvidenceDocument(Document):
    """A report with its endorsements; unverified."""

    report: Annotated[Base64, Field(description="The attestation report (AMD 56860), 1184 bytes.")]
    certificates: Annotated[str, Field(description="PEM: of the key that signed it, of its CA, of the root.")]
    revocation_list: Annotated[
        Base64 | None, Field(description="The root's revocation list (DER); null: the host has none.")
    ]


def shown(vm: VmIs) -> VmDocument:
    """A VM as JSON."""
    return VmDocument(
        id=vm.vm,
        name=vm.name,
        mode=vm.mode,
        state=vm.state,
        reason=vm.reason,
        policy=hex(vm.policy),
        debug=bool(vm.policy & GuestPolicy.DEBUG),
        memory_mib=vm.memory_mib,
        vcpus=vm.vcpus,
        digest=vm.digest.hex(),
    )


def shown_all(found: VmsAre) -> VmsDocument:
    """All VMs as JSON."""
    return VmsDocument(vms=[shown(vm) for vm in found.vms])


def ran(found: VmRan, *, printed: int) -> RanDocument:
    """The end of a run as JSON; ``printed``: bytes of console output during the run."""
    return RanDocument(
        vm=shown(found.vm),
        reason=found.reason,
        executed=min(found.executed, MAX_SAFE),
        exits=min(found.exits, MAX_SAFE),
        printed=printed,
        detail=found.detail,
    )


def evidence(found: VmEvidenceIs) -> VmEvidenceDocument:
    """A report, its certificates and their revocation list as JSON."""
    listed = found.revocation_list
    return VmEvidenceDocument(
        report=base64.b64encode(found.report).decode(),
        certificates=found.certificates.decode("ascii", "replace"),
        revocation_list=None if listed is None else base64.b64encode(listed).decode(),
    )


def printed(found: ConsoleIs) -> ConsoleDocument:
    """A piece of console as JSON."""
    return ConsoleDocument(
        start=found.start,
        end=found.start + len(found.content),
        text=found.content.decode(errors="replace"),
        content=base64.b64encode(found.content).decode(),
        ended=found.ended,
    )


def rmp(found: RmpIs) -> RmpDocument:
    """Entries of the reverse map table as JSON."""
    return RmpDocument(entries=[entry(each) for each in found.entries])


def entry(found: RmpEntry) -> RmpEntryDocument:
    """An entry of the reverse map table as JSON."""
    return RmpEntryDocument(
        spa=hex(found.spa),
        assigned=found.assigned,
        gpa=hex(found.gpa),
        validated=found.validated,
        immutable=found.immutable,
        vmsa=found.vmsa,
        permissions=list(found.perms),
    )


def registers(vmsa: Vmsa) -> RegistersDocument:
    """A VMSA as JSON: all of its registers that are numbers."""
    values = {field.name: getattr(vmsa, field.name) for field in fields(vmsa)}
    return RegistersDocument(
        registers={name: hex(value) for name, value in values.items() if isinstance(value, int)},
        segments={name: _segment(value) for name, value in values.items() if isinstance(value, Segment)},
    )


def _segment(found: Segment) -> SegmentDocument:
    return SegmentDocument(
        selector=hex(found.selector), attrib=hex(found.attrib), limit=hex(found.limit), base=hex(found.base)
    )
