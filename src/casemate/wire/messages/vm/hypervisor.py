"""The hypervisor (a part of the host) to a VM's process, and back: what the host's CPU can do to a guest.

Numbered calls (:mod:`casemate.link.calls`); the VM answers each with its reply or a ``Fault``, and trusts none of them.
All addresses are in bytes; ``spa`` is an offset in the DRAM file, ``gpa`` is the guest's address. A store into DRAM by
a device or an interposer, which no CPU sees, needs no message: the host has the file.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.fields import MAX_U64
from casemate.wire.encodings.message import U8, U32, U64, Limit, message

UNLIMITED = MAX_U64
"""A budget of instructions without a limit: they are not counted, which is faster."""

MAX_COPY = 1024 * 1024
"""Most bytes of one read or store."""

MAX_RMP_ENTRIES = 16_384
"""Most entries of one ``RmpIs``."""


@message(0xC8)
@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out."""


@message(0xC9)
@dataclass(frozen=True, slots=True)
class RmpUpdate:
    """RMPUPDATE (APM volume 3) for ``count`` pages that follow each other in both spaces. Reply: ``Done``.

    As on hardware it clears VALIDATED and, where the page changes hands, all VMPL permissions. Refused in modes without
    an RMP. A page that was the guest's keeps its ciphertext.
    """

    spa: U64
    count: U32
    assigned: bool
    """Assigned to this guest; otherwise to the hypervisor."""
    gpa: U64
    immutable: bool


@message(0xCA)
@dataclass(frozen=True, slots=True)
class MapNested:
    """Maps ``count`` pages from ``gpa`` to ``spa`` in the nested page table; None unmaps them. Reply: ``Done``."""

    gpa: U64
    spa: U64 | None
    count: U32


@message(0xCB)
@dataclass(frozen=True, slots=True)
class HostStore:
    """A store by the host's CPU. Reply: ``Done``, or a ``Fault`` of code ``rmp-fault`` (a #PF with the RMP bit)."""

    spa: U64
    content: Annotated[bytes, Limit(MAX_COPY)]


@message(0xCC)
@dataclass(frozen=True, slots=True)
class HostLoad:
    """A load by the host's CPU, C-bit clear: ciphertext where it is a guest's. Reply: ``MemoryIs``."""

    spa: U64
    size: U32


@message(0xCD)
@dataclass(frozen=True, slots=True)
class MemoryIs:
    """Bytes of memory."""

    content: Annotated[bytes, Limit(MAX_COPY)]


@message(0xCE)
@dataclass(frozen=True, slots=True)
class DebugLoad:
    """SNP_DBG_DECRYPT: plaintext of guest memory. Reply: ``MemoryIs``; refused unless the guest's policy allows it."""

    gpa: U64
    size: U32


@message(0xCF)
@dataclass(frozen=True, slots=True)
class RmpRead:
    """RMPREAD of ``count`` pages from ``spa``. Reply: ``RmpIs``."""

    spa: U64
    count: U32


@dataclass(frozen=True, slots=True)
class RmpEntry:
    """One page of DRAM in the reverse map table (APM volume 2, 15.36.3)."""

    spa: U64
    assigned: bool
    """True if the page is assigned to this guest; otherwise it is the hypervisor's and the other fields have no
    meaning."""
    gpa: U64
    validated: bool
    immutable: bool
    vmsa: bool
    perms: tuple[U8, ...]
    """Permissions of VMPL 0 to 3: bit 0 read, 1 write, 2 user execute, 3 supervisor execute."""


@message(0xD0)
@dataclass(frozen=True, slots=True)
class RmpIs:
    """Entries in the order of their addresses."""

    entries: tuple[RmpEntry, ...]


@message(0xD1)
@dataclass(frozen=True, slots=True)
class Vmrun:
    """VMRUN: executes the vCPU whose VMSA is the page at ``vmsa``. Reply: ``VcpuExit``.

    Only one vCPU of a VM runs at a time. Between slices of the run, the VM serves other requests, and ``Pause``.
    """

    vmsa: U64
    """The SPA of the VMSA."""
    instructions: U64
    """Most instructions; 1 is a single step."""
    time_ms: U32
    """Most time on the host's clock."""
    ghcb: U64 | None = None
    """The GHCB MSR as the hypervisor sets it: its answer in the MSR protocol. None: as the guest left it."""


class ExitReason(StrEnum):
    """The reason for an exit to the hypervisor."""

    HALT = "halt"
    VMGEXIT = "vmgexit"  # ``ghcb`` says where, or in the MSR protocol what
    PORT = "port"  # IN or OUT under plain SEV: info_1 is EXITINFO1
    CPUID = "cpuid"  # plain SEV
    MSR = "msr"  # plain SEV: info_1 is 1 for WRMSR
    NESTED_FAULT = "nested-fault"  # info_1 the error code, whose bit 31 is RMP; info_2 the GPA
    SHUTDOWN = "shutdown"  # triple fault
    INVALID = "invalid"  # VMEXIT_INVALID: the page is not a VMSA, or fails its check
    INTEGRITY = "integrity"  # ``authenticated``: a page is not what the guest last wrote; info_2 the GPA. It is final
    INSTRUCTIONS = "instructions"  # budget
    TIME = "time"  # budget
    PAUSED = "paused"


@message(0xD2)
@dataclass(frozen=True, slots=True)
class VcpuExit:
    """The part of an exit that the hypervisor may see (VMCB control area: EXITCODE, EXITINFO1, EXITINFO2, GHCB)."""

    reason: ExitReason
    info_1: U64
    info_2: U64
    ghcb: U64
    executed: U64
    """Instructions of this run, as far as the emulator counts them."""
    detail: Annotated[str, Limit(256)]
    """An explanation for people; contains nothing of the guest's memory."""


@message(0xD3)
@dataclass(frozen=True, slots=True)
class Pause:
    """Ends the run that is under way with ``PAUSED``. Reply: ``Done``."""


@message(0xD4)
@dataclass(frozen=True, slots=True)
class DebugRegisters:
    """The VMSA in the clear (SNP_DBG_DECRYPT). Reply: ``MemoryIs``; refused as ``DebugLoad`` is, except under SEV."""

    vmsa: U64
