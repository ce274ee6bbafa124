"""Attacks on a guest's memory: on a page's content, on where the page is, and on what its ciphertext gives away."""

from contextlib import suppress
from dataclasses import dataclass

from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.target import Target
from casemate.testing.hostile.victim import (
    NAME_A,
    NAME_B,
    PAGE_A,
    PAGE_B,
    READ_A,
    READ_B,
    WRITE_A,
    WRITE_OLD_A,
    Read,
    last_read,
    last_written,
    readable,
    record,
    stopped,
)
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.protocol.faults import FaultError
from casemate.wire.snp.page_info import PAGE_SIZE

_BIT = 1 << 3
_FLIPPED = 0x120
"""Offset of the byte that :func:`flip` changes."""


def replay(target: Target, path: AttackPath) -> AttackResult:
    """Puts back what was in page A before the guest wrote it anew."""
    target.listen()
    old = target.load(path, PAGE_A, PAGE_SIZE)
    target.listen(WRITE_A)
    return put(target, path, PAGE_A, old) or told_of_a(target, wanted=record(NAME_A, 1), what="its old record")


def move(target: Target, path: AttackPath) -> AttackResult:
    """Copies the ciphertext of page B over page A."""
    target.listen()
    other = target.load(path, PAGE_B, PAGE_SIZE)
    return put(target, path, PAGE_A, other) or told_of_a(target, wanted=record(NAME_B, 1), what="B's record")


def swap(target: Target, path: AttackPath) -> AttackResult:
    """Exchanges the ciphertexts of both pages."""
    target.listen()
    page_a, page_b = (target.load(path, page, PAGE_SIZE) for page in (PAGE_A, PAGE_B))
    refused = put(target, path, PAGE_A, page_b) or put(target, path, PAGE_B, page_a)
    if refused is not None:
        return refused
    heard = target.listen(READ_A + READ_B)
    read_a, read_b = last_read(heard, "A"), last_read(heard, "B")
    if read_a is None or read_b is None:
        return stopped_or_silent(target, stopped(heard))
    if (read_a.record, read_b.record) == (record(NAME_B, 1), record(NAME_A, 1)):
        return AttackResult(AttackOutcome.SUCCESS, "", "each page reads as the other")
    return AttackResult(
        AttackOutcome.GARBAGE, "", f"A reads {readable(read_a.record)}, B reads {readable(read_b.record)}: nobody's"
    )


def flip(target: Target, path: AttackPath) -> AttackResult:
    """Changes one bit of page A's ciphertext."""
    target.listen()
    (byte,) = target.load(path, PAGE_A + _FLIPPED, 1)
    refused = put(target, path, PAGE_A + _FLIPPED, bytes([byte ^ _BIT]))
    if refused is not None:
        return refused
    honest = record(NAME_A, 1)
    return told_of_a(target, wanted=bytes([honest[0] ^ _BIT]) + honest[1:], what="one bit changed")


def put(target: Target, path: AttackPath, spa: int, content: bytes) -> AttackResult | None:
    """Stores ``content``; returns the refusal, or None."""
    try:
        target.store(path, spa, content)
    except FaultError as error:
        return AttackResult(AttackOutcome.REFUSAL, str(error.fault.code), error.fault.reason)
    return None


def told_of_a(target: Target, *, wanted: bytes, what: str) -> AttackResult:
    """Has the guest read page A, and compares what it finds with ``wanted``, which the attacker hopes for."""
    heard = target.listen(READ_A)
    read = last_read(heard, "A")
    if read is None:
        return stopped_or_silent(target, stopped(heard))
    return judged(read, wanted, what)


def judged(read: Read, wanted: bytes, what: str) -> AttackResult:
    """The result, from what the guest has read and what the attacker hoped for."""
    if read.changed_at is None:
        return AttackResult(AttackOutcome.NOTHING, "", "the guest reads what it has written")
    if read.found == wanted:
        return AttackResult(AttackOutcome.SUCCESS, "", f"the guest reads {what}: {readable(read.found)}")
    return AttackResult(
        AttackOutcome.GARBAGE, "", f"from byte {read.changed_at} on the guest reads {readable(read.found)}, nobody's"
    )


def stopped_or_silent(target: Target, result: AttackResult | None) -> AttackResult:
    """The result of a guest that stopped. A guest that runs on silently is a defect of the lesson."""
    if result is None:
        raise RuntimeError(f"the guest says nothing of its pages, and runs on: {target.listen().text!r}")
    return result


_BLOCK = 16
"""Bytes of an AES block, and of a record."""


def dictionary(target: Target, path: AttackPath) -> AttackResult:
    """Notes the ciphertexts of known records of page A, and looks up which of them the guest writes unseen.

    Equal plaintexts at one address have equal ciphertexts where encryption is deterministic, so no key is needed.
    """
    target.listen()
    known = {target.load(path, PAGE_A, _BLOCK): 1}
    target.listen(WRITE_A)
    known[target.load(path, PAGE_A, _BLOCK)] = 2
    secret = last_written(target.listen(WRITE_OLD_A))
    guessed = known.get(target.load(path, PAGE_A, _BLOCK))
    if guessed is None:
        return AttackResult(AttackOutcome.NOTHING, "", f"the page's ciphertext is none of the {len(known)} seen before")
    if guessed == secret:
        return AttackResult(
            AttackOutcome.SUCCESS, "", f"the ciphertext is of number {guessed}, which the guest has written"
        )
    return AttackResult(
        AttackOutcome.GARBAGE, "", f"the ciphertext is of number {guessed}; the guest has written {secret}"
    )


def remap(target: Target, _path: AttackPath) -> AttackResult:
    """Points page A at page B in the nested page table: the guest is to take B's content for A's."""
    target.listen()
    target.map(PAGE_A, PAGE_B)
    return told_of_a(target, wanted=record(NAME_B, 1), what="B's record")


def reassign(target: Target, _path: AttackPath) -> AttackResult:
    """Like :func:`remap`, after an entry in the reverse map table that B's page of DRAM is the guest's page A."""
    target.listen()
    with suppress(FaultError):  # SEV and SEV-ES have no reverse map table
        target.assign(PAGE_A, None)
        target.assign(PAGE_B, PAGE_A)
    target.map(PAGE_A, PAGE_B)
    return told_of_a(target, wanted=record(NAME_B, 1), what="B's record")


@dataclass(frozen=True, slots=True)
class LyingModule:
    """A memory module that lies about its size (BadRAM, CVE-2024-21944): one page of DRAM answers at two addresses.

    The processor takes the second address for another page.

    SIMULATED: a file has no two offsets for one byte, so what is stored at the alias is copied into the cell, and the
    cell to the alias before it is read. A real module has an address line less than its SPD chip says.
    """

    target: Target
    cell: int
    """SPA of a page of the guest's."""
    alias: int
    """SPA of a page that the reverse map table has as the hypervisor's."""

    def load(self) -> bytes:
        """Reads at the alias with the host's CPU."""
        self.target.store(AttackPath.DRAM, self.alias, self.target.load(AttackPath.DRAM, self.cell, PAGE_SIZE))
        return self.target.load(AttackPath.HYPERVISOR, self.alias, PAGE_SIZE)

    def store(self, content: bytes) -> None:
        """Writes at the alias with the host's CPU; FaultError if that is refused."""
        self.target.store(AttackPath.HYPERVISOR, self.alias, content)
        self.target.store(AttackPath.DRAM, self.cell, self.target.load(AttackPath.DRAM, self.alias, PAGE_SIZE))


def alias(target: Target, _path: AttackPath) -> AttackResult:
    """Replays page A by stores of the host's CPU to its alias, which the reverse map table does not know."""
    target.listen()
    module = LyingModule(target, cell=PAGE_A, alias=target.spare)
    old = module.load()
    target.listen(WRITE_A)
    try:
        module.store(old)
    except FaultError as error:
        return AttackResult(AttackOutcome.REFUSAL, str(error.fault.code), error.fault.reason)
    return told_of_a(target, wanted=record(NAME_A, 1), what="its old record")
