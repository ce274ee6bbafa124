"""Attacks on where the guest's pages are: another page of DRAM at the same guest physical address."""

from contextlib import suppress

from casemate.testing.hostile.memory import told_of_a
from casemate.testing.hostile.outcome import Result
from casemate.testing.hostile.target import Target
from casemate.testing.hostile.victim import NAME_B, PAGE_A, PAGE_B, record
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.protocol.faults import FaultError


def remap(target: Target, path: AttackPath) -> Result:  # noqa: ARG001 - as every attack
    """Points page A at page B in the nested page table: the guest is to take B's content for A's."""
    target.listen()
    target.map(PAGE_A, PAGE_B)
    return told_of_a(target, wanted=record(NAME_B, 1), what="B's record")


def reassign(target: Target, path: AttackPath) -> Result:  # noqa: ARG001 - as every attack
    """The same, and the reverse map table is told first that B's page of DRAM is the guest's A."""
    target.listen()
    with suppress(FaultError):  # where there is no such table, there is none to be in the way
        target.assign(PAGE_A, None)
        target.assign(PAGE_B, PAGE_A)
    target.map(PAGE_A, PAGE_B)
    return told_of_a(target, wanted=record(NAME_B, 1), what="B's record")
