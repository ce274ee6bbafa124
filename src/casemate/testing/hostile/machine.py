"""The victim as a VM of a whole machine of one's own, by way of its host."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from casemate.client import Client
from casemate.client.vm.sync import Budget
from casemate.testing.hostile.target import Heard
from casemate.testing.hostile.victim import IMAGE, PROMPT
from casemate.testing.lone_guest import SIGNATURE
from casemate.wire.messages.vm.host import AttackPath, LaunchVm, VmIs, VmState
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE
from casemate.wire.snp.vmm import Vmm

MEMORY_MIB = 4
POLICY = 0x3_0000
"""GUEST_POLICY: SMT allowed, debugging not."""
PATIENCE = 20.0
"""Seconds that a guest may take for its next character."""
_GOES_ON = (ExitReason.PAUSED, ExitReason.TIME)


def launch_message(name: str, image: bytes, mode: VmMode, *, memory_mib: int = MEMORY_MIB, vcpus: int = 1) -> LaunchVm:
    """The request that launches the victim; host data are zeros."""
    return LaunchVm(
        name=name,
        mode=mode,
        firmware=image,
        memory_mib=memory_mib,
        vcpus=vcpus,
        vcpu_signature=SIGNATURE,
        vmm=Vmm.QEMU,
        guest_features=int(mode.has_rmp),
        policy=POLICY,
        host_data=bytes(32),
    )


class MachineTarget:
    """A :class:`~casemate.testing.hostile.target.Target`; destroys its VM with its context.

    What the host's CPU does goes through the host; the bus is the file that the operator has in the state directory.
    """

    def __init__(self, client: Client, state: Path, mode: VmMode) -> None:
        """Launches it on the machine in ``state``, to whose host ``client`` is connected."""
        self.mode = mode
        self._vms = client.vms
        self.vm: VmIs = self._vms.launch(launch_message("victim", IMAGE, mode))
        self.registers = (MEMORY_MIB << 20) + len(IMAGE)
        self.spare = self.registers + PAGE_SIZE
        self._dram = state / "host" / "vms" / f"{self.vm.vm}.dram"
        self._heard = 0

    def listen(self, commands: bytes = b"") -> Heard:
        """Lets the guest run; it stops right after its prompt."""
        self._vms.give(self.vm.vm, commands)
        prompts, heard = max(1, len(commands)), ""
        while True:
            ran = self._vms.run(self.vm.vm, budget=Budget(time=PATIENCE, console=1))
            heard += self._news()
            if ran.vm.state not in (VmState.LAUNCHED, VmState.HALTED) or ran.reason not in _GOES_ON:
                return Heard(heard, ran.reason, ran.detail)
            if ran.reason is ExitReason.TIME or (heard.count(PROMPT) == prompts and heard.endswith(PROMPT)):
                return Heard(heard, None, "")

    def step(self, instructions: int) -> None:
        self._vms.run(self.vm.vm, budget=Budget(instructions=instructions))

    def load(self, path: AttackPath, spa: int, size: int) -> bytes:
        if path is AttackPath.HYPERVISOR:
            return self._vms.memory(self.vm.vm, spa, size)
        descriptor = os.open(self._dram, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, spa)
        finally:
            os.close(descriptor)

    def store(self, path: AttackPath, spa: int, content: bytes) -> None:
        self._vms.write(self.vm.vm, path, spa, content)

    def map(self, gpa: int, spa: int) -> None:
        self._vms.map(self.vm.vm, gpa, spa)

    def assign(self, spa: int, gpa: int | None) -> None:
        self._vms.assign(self.vm.vm, spa, gpa)

    def _news(self) -> str:
        found = self._vms.console(self.vm.vm, self._heard)
        self._heard = found.start + len(found.content)
        return found.content.decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vms.destroy(self.vm.vm)
