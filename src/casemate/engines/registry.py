"""The engines of this build, by the names that manifests use, and what each of them provides."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from casemate.engines.command import Command, GuestProgram
from casemate.engines.errors import EngineUnknownError
from casemate.engines.javascript.engine import JavaScript


class Engine(Protocol):
    """Runs a guest's code. An engine is a folder in this package and a line in :data:`ENGINES`."""

    @property
    def name(self) -> str:
        """The name that manifests use."""

    def command(self, binary: str, *, memory_mib: int) -> Command:
        """The command that starts it with a heap of that size; it then sends ``Warm`` and waits for its program."""

    def program(self, program: GuestProgram) -> bytes:
        """The body of the frame that gives it its program."""


ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in (JavaScript(),)})
"""All engines of this build."""


def engine_named(name: str) -> Engine:
    """The engine of that name, or :class:`EngineUnknownError`."""
    engine = ENGINES.get(name)
    if engine is None:
        raise EngineUnknownError(f"engine is {name!r}, this build has {', '.join(map(repr, ENGINES))}")
    return engine
