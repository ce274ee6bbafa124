"""Cuts what one commit writes into parts that fit a frame each."""

from casemate.enclave.store.state import cost
from casemate.wire.protocol.state_changes import MAX_PART_CHANGES, MAX_PART_SIZE, Change


def in_parts(changes: tuple[Change, ...]) -> list[tuple[Change, ...]]:
    """The changes in order, cut; one part at least, though it be empty."""
    parts: list[tuple[Change, ...]] = []
    part: list[Change] = []
    size = 0
    for change in changes:
        grows = cost(change.key, change.value or b"")
        if part and (size + grows > MAX_PART_SIZE or len(part) == MAX_PART_CHANGES):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(change)
        size += grows
    return [*parts, tuple(part)]
