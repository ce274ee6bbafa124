"""Exits under plain SEV: the hypervisor reads and writes the guest's registers where they lie, as it always has."""

from dataclasses import replace
from typing import Any

from casemate.host.vm.cpuid import Cpuid
from casemate.host.vm.devices import Devices
from casemate.host.vm.guest import Guest
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.hypervisor import ExitReason, VcpuExit
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.port_access import PortAccess
from casemate.wire.snp.vmsa import Vmsa

_LOW = 0xFFFF_FFFF


async def serve_open_registers(guest: Guest, ended: VcpuExit, vmsa_spa: int) -> str | None:
    """Does what the guest's instruction was to do, and lets the guest go on behind it.

    Returns:
        Why the guest cannot go on, or None.
    """
    try:
        registers = Vmsa.parse(await guest.link.load(vmsa_spa, PAGE_SIZE))
    except WireError as error:
        return f"its registers were changed while they lay open: {error}"
    try:
        changes = _done(ended, registers, guest.devices, guest.cpuid)
    except WireError as error:
        return f"port I/O of a kind that this hypervisor does not serve: {error}"
    await guest.link.store(vmsa_spa, replace(registers, rip=registers.guest_nrip, **changes).encode())
    return None


def _done(ended: VcpuExit, registers: Vmsa, devices: Devices, cpuid: Cpuid) -> dict[str, Any]:
    if ended.reason is ExitReason.PORT:
        access = PortAccess.parse(ended.info_1)
        value = devices.access(access, registers.rax)
        return {"rax": access.merge(registers.rax, value)} if access.is_in else {}
    if ended.reason is ExitReason.CPUID:
        eax, ebx, ecx, edx = cpuid.answer(registers.rax & _LOW, registers.rcx & _LOW)
        return {"rax": eax, "rbx": ebx, "rcx": ecx, "rdx": edx}
    return {} if ended.info_1 else {"rax": 0, "rdx": 0}  # registers that nobody has read as zero
