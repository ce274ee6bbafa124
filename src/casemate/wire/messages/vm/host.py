"""Client to host, and host to client: confidential VMs."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U16, U32, U64, Bytes32, Bytes64, Fixed, Limit, Name, message
from casemate.wire.messages.request import Request
from casemate.wire.messages.snp_firmware import MAX_CERTIFICATES
from casemate.wire.messages.vm.hypervisor import MAX_COPY, Done, ExitReason, MemoryIs, RmpIs
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import REPORT_SIZE
from casemate.wire.snp.vmm import Vmm

MAX_FIRMWARE = 64 * 1024 * 1024
"""Longest firmware image (bytes)."""

MAX_KERNEL = 32 * 1024 * 1024
"""Longest kernel, or initial RAM disk (bytes)."""

MAX_INPUT = 4096
"""Most bytes for a guest's second serial port at a time."""

MAX_CONSOLE = 64 * 1024
"""Most bytes of console in one answer."""


class VmState(StrEnum):
    """The states of a VM."""

    LAUNCHING = "launching"  # between LAUNCH_START and LAUNCH_FINISH
    LAUNCHED = "launched"  # it can run, and is not running now
    RUNNING = "running"
    HALTED = "halted"  # a vCPU executed HLT with nothing left to wake it
    STOPPED = "stopped"  # by a fault of its own, or one that an attack has caused: it cannot go on
    LOST = "lost"  # its process died


@message(0xE1)
@dataclass(frozen=True, slots=True)
class VmIs:
    """One VM as the host sees it."""

    vm: U64
    name: Name
    mode: VmMode
    state: VmState
    reason: Annotated[str, Limit(1024)]
    """Why it is in this state, for a person."""
    policy: U64
    memory_mib: U32
    vcpus: U16
    digest: Annotated[bytes, Fixed(48)]
    """The launch digest; during the launch, the digest so far."""


@message(0xE0)
@dataclass(frozen=True, slots=True)
class LaunchVm(Request[VmIs]):
    """Start a VM from a firmware image in OVMF's shape; its state is ``launching`` unless ``finish`` is set."""

    name: Name
    mode: VmMode
    firmware: Annotated[bytes, Limit(MAX_FIRMWARE)]
    memory_mib: U32
    vcpus: U16
    vcpu_signature: U32
    """CPUID Fn0000_0001_EAX."""
    vmm: Vmm
    guest_features: U64
    policy: U64
    host_data: Bytes32
    kernel: Annotated[bytes, Limit(MAX_KERNEL)] | None = None
    initrd: Annotated[bytes, Limit(MAX_KERNEL)] | None = None
    append: Annotated[bytes, Limit(4096)] | None = None
    id_block: Annotated[bytes, Fixed(96)] | None = None
    id_auth: Annotated[bytes, Fixed(4096)] | None = None
    author_key: bool = False
    finish: bool = True
    """Add VMSAs and finish the launch at once; otherwise ``EncryptVm`` may add pages, and ``FinishVm`` ends the launch.
    """
    firmware_later: bool = False
    """Only LAUNCH_START: the firmware's pages are added before the first others, or at the end. Not with ``finish``."""


@message(0xE3)
@dataclass(frozen=True, slots=True)
class VmsAre:
    """All VMs of this host."""

    vms: tuple[VmIs, ...]


@message(0xE2)
@dataclass(frozen=True, slots=True)
class ListVms(Request[VmsAre]):
    """All VMs of this host."""


@message(0xE4)
@dataclass(frozen=True, slots=True)
class GetVm(Request[VmIs]):
    """One VM."""

    vm: U64


@message(0xE5)
@dataclass(frozen=True, slots=True)
class EncryptVm(Request[VmIs]):
    """LAUNCH_UPDATE with normal pages, from ``gpa`` on; the last is filled with zeros.

    The firmware's pages go first where they are not in yet; then there may be no others.
    """

    vm: U64
    gpa: U64
    content: Annotated[bytes, Limit(MAX_FIRMWARE)]


@message(0xE6)
@dataclass(frozen=True, slots=True)
class FinishVm(Request[VmIs]):
    """VMSAs and LAUNCH_FINISH."""

    vm: U64


@message(0xE8)
@dataclass(frozen=True, slots=True)
class VmRan:
    """How the run ended."""

    vm: VmIs
    reason: ExitReason
    executed: U64
    exits: U64
    """Exits to the hypervisor."""
    detail: Annotated[str, Limit(256)]


@message(0xE7)
@dataclass(frozen=True, slots=True)
class RunVm(Request[VmRan]):
    """Let a vCPU run, and serve its exits, until it halts, stops, or a budget ends."""

    vm: U64
    vcpu: U16
    instructions: U64
    """Most instructions; 1 is a single step."""
    time_ms: U32
    console: U32
    """Ends the run with the exit at which this many bytes have been printed; the output of one exit is not cut."""


@message(0xE9)
@dataclass(frozen=True, slots=True)
class PauseVm(Request[VmIs]):
    """Ends a run that is under way."""

    vm: U64


@message(0xEA)
@dataclass(frozen=True, slots=True)
class DestroyVm(Request[VmIs]):
    """End a VM. Its keys are gone when this is answered, with its last state."""

    vm: U64


@message(0xEC)
@dataclass(frozen=True, slots=True)
class ConsoleIs:
    """A piece of the console. Old output is forgotten beyond a limit, so ``start`` may be later than asked."""

    start: U64
    content: Annotated[bytes, Limit(MAX_CONSOLE)]
    ended: bool
    """The output has ended: the VM is gone."""


@message(0xEB)
@dataclass(frozen=True, slots=True)
class ReadConsole(Request[ConsoleIs]):
    """What the guest has printed on its serial port, from byte ``start`` on."""

    vm: U64
    start: U64


class View(StrEnum):
    """The view of memory that is shown."""

    HYPERVISOR = "hypervisor"  # by system physical address: ciphertext where it is the guest's
    GUEST = "guest"  # by guest physical address, decrypted: only where the guest's policy allows debug


@message(0xED)
@dataclass(frozen=True, slots=True)
class VmMemory(Request[MemoryIs]):
    """A piece of a VM's memory."""

    vm: U64
    view: View
    address: U64
    size: U32


@message(0xEE)
@dataclass(frozen=True, slots=True)
class VmRmp(Request[RmpIs]):
    """Entries of the reverse map table, of ``count`` pages from ``spa`` on."""

    vm: U64
    spa: U64
    count: U32


@message(0xF0)
@dataclass(frozen=True, slots=True)
class VmEvidenceIs:
    """A VM's report and the endorsements of its key; unverified."""

    report: Annotated[bytes, Fixed(REPORT_SIZE)]
    certificates: Annotated[bytes, Limit(MAX_CERTIFICATES)]
    """PEM: the key that signed, its CA, the root."""
    revocation_list: Annotated[bytes, Limit(MAX_CERTIFICATES)] | None = None
    """The root's, in DER; None where the host has none."""


@message(0xEF)
@dataclass(frozen=True, slots=True)
class AttestVm(Request[VmEvidenceIs]):
    """Hands 64 bytes to the guest over its second serial port, and lets it run until it hands back a report.

    The guest must be one that does so (the built-in guest ``report`` does): nobody but the guest can ask the firmware
    for its report.
    """

    vm: U64
    report_data: Bytes64


class AttackPath(StrEnum):
    """How a store reaches DRAM."""

    HYPERVISOR = "hypervisor"  # by the host's CPU: the RMP is heeded
    DRAM = "dram"  # by an interposer on the bus: no CPU sees it


@message(0xF1)
@dataclass(frozen=True, slots=True)
class WriteVm(Request[Done]):
    """Write to a VM's DRAM, as a hostile host does in a lesson. Code ``rmp-fault`` where the RMP stops it."""

    vm: U64
    path: AttackPath
    spa: U64
    content: Annotated[bytes, Limit(MAX_COPY)]


@message(0xF2)
@dataclass(frozen=True, slots=True)
class MapVm(Request[Done]):
    """Points a guest's page at another page of DRAM, in the nested page table."""

    vm: U64
    gpa: U64
    spa: U64


@message(0xF3)
@dataclass(frozen=True, slots=True)
class VmRegisters(Request[MemoryIs]):
    """A vCPU's VMSA in the clear: only under plain SEV, or where the guest's policy allows debugging.

    While it is launching they are the host's own, which everybody may see: those that will be measured.
    """

    vm: U64
    vcpu: U16


@message(0xF4)
@dataclass(frozen=True, slots=True)
class GiveVm(Request[Done]):
    """Bytes for the guest's second serial port; it reads them when it next runs."""

    vm: U64
    content: Annotated[bytes, Limit(MAX_INPUT)]


@message(0xF5)
@dataclass(frozen=True, slots=True)
class AssignVm(Request[Done]):
    """RMPUPDATE of one page, as a hostile hypervisor does it in a lesson. Refused where there is no RMP."""

    vm: U64
    spa: U64
    gpa: U64 | None
    """The GPA at which the guest gets the page, not validated; None assigns it to the hypervisor."""
