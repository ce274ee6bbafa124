"""A VM whose hypervisor and memory bus an attacker controls: the interface for attacks on memory."""

from dataclasses import dataclass
from typing import Protocol

from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.snp.mode import VmMode


@dataclass(frozen=True, slots=True)
class Heard:
    """A guest's output in one run, and the reason for its end."""

    text: str
    ended: ExitReason | None
    """None where the guest waits for a command."""
    detail: str

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.text.splitlines()


class Target(Protocol):
    """One VM with the built-in guest ``victim``, whose RAM is at SPAs that equal its GPAs.

    What the machine refuses is a :class:`~casemate.wire.protocol.faults.FaultError`.
    """

    @property
    def mode(self) -> VmMode:
        """The protection of its memory. For tables only: attacks must not depend on it."""

    @property
    def registers(self) -> int:
        """SPA of the VMSA of its first vCPU."""

    @property
    def spare(self) -> int:
        """The SPA of the first of some pages that belong to the hypervisor."""

    def listen(self, commands: bytes = b"") -> Heard:
        """Gives the guest commands, and lets it run until its next prompt, or until it cannot go on.

        It stops at the exit of the prompt's last character: always at the same instruction.
        """

    def step(self, instructions: int) -> None:
        """Lets it run this many instructions, as a timer interrupt would end it."""

    def load(self, path: AttackPath, spa: int, size: int) -> bytes:
        """Reads DRAM: by the host's CPU, or on the bus."""

    def store(self, path: AttackPath, spa: int, content: bytes) -> None:
        """Writes DRAM: by the host's CPU, or on the bus."""

    def map(self, gpa: int, spa: int) -> None:
        """Points a page of the guest's at another page of DRAM, in the nested page table."""

    def assign(self, spa: int, gpa: int | None) -> None:
        """RMPUPDATE: the page of DRAM is the guest's at ``gpa``, not validated; or with None the hypervisor's."""
