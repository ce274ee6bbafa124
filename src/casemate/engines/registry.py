"""The seam between the enclave and what runs the guest's code."""

from typing import Protocol

from casemate.engines.command import Command, GuestProgram
from casemate.engines.errors import EngineUnknownError
from casemate.engines.javascript.engine import JavaScript


class Engine(Protocol):
    """One kind of guest."""

    @property
    def name(self) -> str:
        """As manifests spell it."""

    def command(self, binary: str, *, memory_mib: int) -> Command:
        """How to start it with a heap of that size; it then says ``Warm`` and waits for its program."""

    def program(self, program: GuestProgram) -> bytes:
        """The body of the frame that gives it its program."""


def engine_named(name: str) -> Engine:
    """The engine of that name, or :class:`EngineUnknownError`."""
    if name == JavaScript.name:
        return JavaScript()
    raise EngineUnknownError(f"engine is {name!r}, this build has {JavaScript.name!r}")
