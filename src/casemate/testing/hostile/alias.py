"""Two addresses for one cell of DRAM, by a memory module that lies about its size (BadRAM, CVE-2024-21944)."""

from dataclasses import dataclass

from casemate.testing.hostile.memory import told_of_a
from casemate.testing.hostile.outcome import AttackOutcome, Result
from casemate.testing.hostile.target import Target
from casemate.testing.hostile.victim import NAME_A, PAGE_A, WRITE_A, record
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.protocol.faults import FaultError
from casemate.wire.snp.page_info import PAGE_SIZE


@dataclass(frozen=True, slots=True)
class LyingModule:
    """One page of DRAM that answers at two addresses, of which the processor takes the second for another page.

    SIMULATED: a file has no two offsets for one byte, so what is stored at the alias is copied into the cell, and the
    cell to the alias before it is read. A real module has an address line less than its SPD chip says.
    """

    target: Target
    cell: int
    """SPA of a page of the guest's."""
    alias: int
    """SPA of a page that the reverse map table has as the hypervisor's."""

    def load(self) -> bytes:
        """What the host's CPU reads at the alias."""
        self.target.store(AttackPath.DRAM, self.alias, self.target.load(AttackPath.DRAM, self.cell, PAGE_SIZE))
        return self.target.load(AttackPath.HYPERVISOR, self.alias, PAGE_SIZE)

    def store(self, content: bytes) -> None:
        """What the host's CPU writes at the alias; FaultError where it may not."""
        self.target.store(AttackPath.HYPERVISOR, self.alias, content)
        self.target.store(AttackPath.DRAM, self.cell, self.target.load(AttackPath.DRAM, self.alias, PAGE_SIZE))


def alias(target: Target, path: AttackPath) -> Result:  # noqa: ARG001 - as every attack
    """Replays page A by stores of the host's CPU to its alias, which the reverse map table does not know."""
    target.listen()
    module = LyingModule(target, cell=PAGE_A, alias=target.spare)
    old = module.load()
    target.listen(WRITE_A)
    try:
        module.store(old)
    except FaultError as error:
        return Result(AttackOutcome.REFUSAL, str(error.fault.code), error.fault.reason)
    return told_of_a(target, wanted=record(NAME_A, 1), what="its old record")
