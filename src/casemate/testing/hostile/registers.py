"""Attacks on a vCPU that does not run: its registers are changed, or replaced by older ones."""

from casemate.testing.hostile.memory import put
from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.target import Target
from casemate.testing.hostile.victim import WRITE_A, last_written, stopped
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.snp.page_info import PAGE_SIZE

_R9 = 0x348
"""Offset of R9 in the VMSA (APM volume 2, table B-4), where ``victim`` keeps the last number that it wrote."""
_INJECTED = 7_000
_INTO_WATCHING = 1_000
"""Instructions from the guest's prompt until it looks at page A, with all that it knows in registers."""


def inject(target: Target, path: AttackPath) -> AttackResult:
    """Writes a number into R9, as if registers were not encrypted, so that the guest goes on from there."""
    _let_it_watch(target)
    number = _INJECTED.to_bytes(8, "little")
    return put(target, path, target.registers + _R9, number) or _number_of_next(target, wanted=_INJECTED + 1, honest=2)


def roll_back(target: Target, path: AttackPath) -> AttackResult:
    """Restores the VMSA from before the guest's last command, so that the guest forgets the command."""
    _let_it_watch(target)
    old = target.load(path, target.registers, PAGE_SIZE)
    _let_it_watch(target, WRITE_A)
    return put(target, path, target.registers, old) or _number_of_next(target, wanted=2, honest=3)


def _let_it_watch(target: Target, commands: bytes = b"") -> None:
    """Lets the guest run, and stops it outside of its own handlers, which keep registers on the stack."""
    target.listen(commands)
    target.step(_INTO_WATCHING)


def _number_of_next(target: Target, *, wanted: int, honest: int) -> AttackResult:
    """Has the guest write the next number into its page, and returns the result."""
    heard = target.listen(WRITE_A)
    written = last_written(heard)
    if written is None:
        result = stopped(heard)
        if result is None:
            raise RuntimeError(f"the guest has written nothing, and runs on: {heard.text!r}")
        return result
    if written == wanted:
        return AttackResult(
            AttackOutcome.SUCCESS, "", f"the guest writes {written} into its page, as the attacker wanted"
        )
    if written == honest:
        return AttackResult(AttackOutcome.NOTHING, "", f"the guest writes {written}, as it should")
    return AttackResult(AttackOutcome.GARBAGE, "", f"the guest writes {written} into its page, which nobody wanted")
