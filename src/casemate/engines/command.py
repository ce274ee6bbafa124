"""The program that a guest is given, and the command that starts its engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.manifest import Permission


class SourceModule(Protocol):
    """A file of the guest's code and where its import specifiers stand."""

    @property
    def path(self) -> str:
        """The module's path in the image."""

    @property
    def source(self) -> bytes:
        """The module's source."""

    @property
    def links(self) -> tuple[Link, ...]:
        """The modules that its import specifiers resolve to, in source order."""


@dataclass(frozen=True, slots=True)
class GuestProgram:
    """All that a guest is given to run."""

    modules: Sequence[SourceModule]
    """Each after those that it imports; the last is the main one, whose functions are called."""
    entries: tuple[str, ...]
    """The functions that must be there."""
    output_limit: int
    """Longest result (bytes of JSON)."""
    ocall_limit: int
    """Longest arguments of an OCALL (bytes of JSON)."""
    streams: tuple[str, ...] = ()
    """Entries that are asynchronous generators, to be stepped through."""
    permissions: frozenset[Permission] = frozenset()
    """What the program may use beyond computing and what its frames are for."""
    errors: tuple[str, ...] = ()
    """The names of the refusals that it may tell its callers."""
    debug: bool = False
    """The enclave has no secrets: the guest tells where its exceptions were thrown, and prints those that nobody
    catches."""


@dataclass(frozen=True, slots=True)
class Command:
    """The command that starts an engine, which reads frames from descriptor 0 and writes frames to descriptor 1."""

    arguments: tuple[str, ...]
    """The first is the binary's path."""
    environment: dict[str, str]
