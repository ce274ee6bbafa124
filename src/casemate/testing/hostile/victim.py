"""The guest ``victim`` as its attackers know it: the places of its pages, and its output about them."""

import re
from dataclasses import dataclass

from casemate.images.vm.builtin import firmware
from casemate.images.vm.layout import SYMBOLS
from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.target import Heard
from casemate.wire.messages.vm.hypervisor import ExitReason

IMAGE = firmware("victim")
PROMPT = "r, b, w, o, e or h?\n"
"""The victim's prompt for a command."""

PAGE_A, PAGE_B = SYMBOLS["PAGE_A"], SYMBOLS["PAGE_B"]
READ_A, READ_B, WRITE_A, WRITE_OLD_A = b"r", b"b", b"w", b"o"

_READ = re.compile(r"([AB]): (\w{32}), (?:all as it was written|CHANGED: byte (\d+) on is (\w{32}))")
_WRITTEN = re.compile(r"A is written, number (\d+)")
_EXCEPTION = re.compile(r"unexpected exception (\d+), error code 0x0*(\w+)")
_VMM_COMMUNICATION, _NOT_VALIDATED = "29", "404"
_REFUSALS = (ExitReason.INVALID,)


@dataclass(frozen=True, slots=True)
class Read:
    """The content that the guest found in a page that it had filled with one record."""

    record: bytes
    """The first 16 bytes."""
    changed_at: int | None
    """Offset of the first record that differs from what it wrote; None where the whole page is unchanged."""
    found: bytes
    """That record."""


def last_read(heard: Heard, page: str) -> Read | None:
    """The last line about page ``A`` or ``B``; None where there is none."""
    found = [match for match in _READ.finditer(heard.text) if match[1] == page]
    if not found:
        return None
    _, record, at, changed = found[-1].groups()
    if at is None:
        return Read(bytes.fromhex(record), None, bytes.fromhex(record))
    return Read(bytes.fromhex(record), int(at), bytes.fromhex(changed))


def last_written(heard: Heard) -> int | None:
    """The last number that the guest reports to have written into A; None where it reports none."""
    found = _WRITTEN.findall(heard.text)
    return int(found[-1]) if found else None


def record(name: bytes, number: int) -> bytes:
    """A record, which fills a page: eight bytes of a name, eight of a number."""
    return name + number.to_bytes(8, "little")


NAME_A, NAME_B = b"page A, ", b"page B, "


def stopped(heard: Heard) -> AttackResult | None:
    """The result where the guest cannot go on; None where it waits for a command."""
    if heard.ended is None:
        return None
    told = _EXCEPTION.search(heard.text)
    if told is not None:
        is_unvalidated = told.groups() == (_VMM_COMMUNICATION, _NOT_VALIDATED)
        by = "#VC 0x404" if is_unvalidated else f"exception {told[1]}"
        return AttackResult(
            AttackOutcome.FAULT, by, f"the guest ends itself: {told.string[told.start() :].splitlines()[0]}"
        )
    outcome = AttackOutcome.REFUSAL if heard.ended in _REFUSALS else AttackOutcome.FAULT
    return AttackResult(outcome, str(heard.ended), f"the vCPU does not go on: {heard.detail}")


def readable(content: bytes) -> str:
    """Bytes that a guest has read, for a person: as text where they are text, else in hexadecimal."""
    text = content.rstrip(b"\0")
    if text and all(0x20 <= byte < 0x7F for byte in text):
        return f'"{text.decode("ascii")}"'
    return content.hex()
