"""How far the calls of different callers are kept apart inside an enclave."""

from enum import StrEnum


class Isolation(StrEnum):
    """Which calls may run in one guest, so that one can meet what another left there.

    A guest is the process in which the function's code runs. What a call leaves in it (global variables, caches, open
    files) can reach the calls after it, whether its author meant that or not.
    """

    CALLER = "caller"
    """A guest serves one caller only; the default."""
    CALL = "call"
    """Each call gets a guest of its own."""
    SHARED = "shared"
    """One guest serves all callers, one call at a time."""
