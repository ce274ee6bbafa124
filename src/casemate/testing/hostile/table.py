"""The attacks, their paths, and the expected result of each in each mode; tests and docs are held to this table."""

from collections.abc import Callable
from dataclasses import dataclass

from casemate.testing.hostile.evidence import old_tcb, other_measurement, other_than_identified, replayed_report
from casemate.testing.hostile.memory import alias, dictionary, flip, move, reassign, remap, replay, swap
from casemate.testing.hostile.outcome import AttackResult
from casemate.testing.hostile.prover import Prover
from casemate.testing.hostile.registers import inject, roll_back
from casemate.testing.hostile.target import Target
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.snp.mode import VmMode


@dataclass(frozen=True, slots=True)
class MemoryAttack:
    """An attack on a running guest, by one path."""

    name: str
    path: AttackPath
    run: Callable[[Target, AttackPath], AttackResult]

    @property
    def way(self) -> str:
        """The path, for tables."""
        return str(self.path)


@dataclass(frozen=True, slots=True)
class EvidenceAttack:
    """An attack on the evidence that a guest's owner gets; it takes no path."""

    name: str
    run: Callable[[Prover], AttackResult]
    way = "-"


Attack = MemoryAttack | EvidenceAttack
Expected = tuple[str, str, str, str]
"""The expected cells, in the order of :class:`VmMode`."""

_BY_CPU = ("refusal (rmp-fault)",) * 2
_TAGGED = "fault (integrity)"
_GARBAGE = "undetected garbage"
_SEALED = ("refusal (invalid)",)
_UNHEARD = ("nothing (no evidence)",) * 2

TABLE: dict[Attack, Expected] = {
    MemoryAttack("replay", AttackPath.HYPERVISOR, replay): ("success", "success", *_BY_CPU),
    MemoryAttack("replay", AttackPath.DRAM, replay): ("success", "success", "success", _TAGGED),
    MemoryAttack("move", AttackPath.HYPERVISOR, move): (_GARBAGE, _GARBAGE, *_BY_CPU),
    MemoryAttack("move", AttackPath.DRAM, move): (_GARBAGE, _GARBAGE, _GARBAGE, _TAGGED),
    MemoryAttack("swap", AttackPath.HYPERVISOR, swap): (_GARBAGE, _GARBAGE, *_BY_CPU),
    MemoryAttack("swap", AttackPath.DRAM, swap): (_GARBAGE, _GARBAGE, _GARBAGE, _TAGGED),
    MemoryAttack("flip a bit", AttackPath.HYPERVISOR, flip): (_GARBAGE, _GARBAGE, *_BY_CPU),
    MemoryAttack("flip a bit", AttackPath.DRAM, flip): (_GARBAGE, _GARBAGE, _GARBAGE, _TAGGED),
    MemoryAttack("alias", AttackPath.HYPERVISOR, alias): ("success", "success", "success", _TAGGED),
    MemoryAttack("remap", AttackPath.HYPERVISOR, remap): ("success", "success", *("fault (nested-fault)",) * 2),
    MemoryAttack("reassign", AttackPath.HYPERVISOR, reassign): ("success", "success", *("fault (#VC 0x404)",) * 2),
    MemoryAttack("read patterns", AttackPath.HYPERVISOR, dictionary): ("success", "success", "success", "nothing"),
    MemoryAttack("read patterns", AttackPath.DRAM, dictionary): ("success", "success", "success", "nothing"),
    MemoryAttack("inject registers", AttackPath.HYPERVISOR, inject): ("success", *_SEALED, *_BY_CPU),
    MemoryAttack("inject registers", AttackPath.DRAM, inject): ("success", *_SEALED, _GARBAGE, _TAGGED),
    MemoryAttack("roll back registers", AttackPath.HYPERVISOR, roll_back): ("success", *_SEALED, *_BY_CPU),
    MemoryAttack("roll back registers", AttackPath.DRAM, roll_back): ("success", *_SEALED, "success", _TAGGED),
    EvidenceAttack("launch another guest", other_measurement): (
        "success",
        "success",
        *("refusal (snp.measurement)",) * 2,
    ),
    EvidenceAttack("launch it under an id block", other_than_identified): ("refusal (BAD_MEASUREMENT)",) * 4,
    EvidenceAttack("roll back the TCB", old_tcb): (*_UNHEARD, *("refusal (snp.tcb-reported)",) * 2),
    EvidenceAttack("replay a report", replayed_report): (*_UNHEARD, *("refusal (binding.report-data)",) * 2),
}
"""Attacks on running guests first; each attack with each path that leads to it."""


def expected(attack: Attack, mode: VmMode) -> str:
    """The expected result, as :attr:`AttackResult.cell` shows it."""
    return TABLE[attack][tuple(VmMode).index(mode)]
