"""The engines of this build, by the names that manifests use, and what each of them provides."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from casemate.engines.command import GuestProgram
from casemate.engines.errors import EngineUnknownError
from casemate.engines.javascript.engine import JavaScript
from casemate.engines.python.engine import Python


class Engine(Protocol):
    """Runs a guest's code. An engine is a folder in this package and a line in :data:`ENGINES`."""

    @property
    def name(self) -> str:
        """The name that manifests use."""

    @property
    def copies_guests(self) -> bool:
        """Whether a process loads the program, and guests are copies of it by fork; else each guest loads it."""

    @property
    def tells_where(self) -> bool:
        """Whether a guest that works can be interrupted to say where it is."""

    @property
    def newcomers(self) -> float:
        """Guests a second that an enclave may have made for new callers, in the long run: a third of a core."""

    def program(self, program: GuestProgram) -> bytes:
        """The body of the frame that gives a guest its program."""


JAVASCRIPT = JavaScript()
PYTHON = Python()

ENGINES: Mapping[str, Engine] = MappingProxyType({engine.name: engine for engine in (JAVASCRIPT, PYTHON)})
"""All engines of this build."""


def engine_named(name: str) -> Engine:
    """The engine of that name, or :class:`EngineUnknownError`."""
    engine = ENGINES.get(name)
    if engine is None:
        raise EngineUnknownError(f"engine is {name!r}, this build has {', '.join(map(repr, ENGINES))}")
    return engine
