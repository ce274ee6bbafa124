"""Reading without a key: equal plaintexts at one address have equal ciphertexts, where encryption is deterministic."""

from casemate.testing.hostile.outcome import AttackOutcome, Result
from casemate.testing.hostile.target import Target
from casemate.testing.hostile.victim import PAGE_A, WRITE_A, WRITE_OLD_A, last_written
from casemate.wire.messages.vm.host import AttackPath

_BLOCK = 16
"""Bytes of an AES block, and of a record."""


def dictionary(target: Target, path: AttackPath) -> Result:
    """Notes the ciphertexts of known records of page A, and looks up which of them the guest writes unseen."""
    target.listen()
    known = {target.load(path, PAGE_A, _BLOCK): 1}
    target.listen(WRITE_A)
    known[target.load(path, PAGE_A, _BLOCK)] = 2
    secret = last_written(target.listen(WRITE_OLD_A))
    guessed = known.get(target.load(path, PAGE_A, _BLOCK))
    if guessed is None:
        return Result(AttackOutcome.NOTHING, "", f"the page's ciphertext is none of the {len(known)} seen before")
    if guessed == secret:
        return Result(AttackOutcome.SUCCESS, "", f"the ciphertext is of number {guessed}, which the guest has written")
    return Result(AttackOutcome.GARBAGE, "", f"the ciphertext is of number {guessed}; the guest has written {secret}")
