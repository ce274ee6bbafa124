"""What runs in the processes of this room beside its own code: the bootstrap of the Python engine."""

import importlib
from typing import NoReturn, Protocol, cast


class Bootstrap(Protocol):
    """The functions of :mod:`casemate.engines.python.bootstrap` that are called from here."""

    def prepare(self) -> None:
        """Imports what programs may import, once, in the base before it is confined."""

    def load(self, reading: int, writing: int) -> object:
        """Says WARM, waits for LOAD, loads the program, and says LOADED; in an image process."""

    def serve(self, program: object, reading: int, writing: int) -> NoReturn:
        """Says LOADED, and serves calls; in a guest."""


def import_bootstrap() -> Bootstrap:
    """The bootstrap of this runtime."""
    return cast("Bootstrap", importlib.import_module("casemate.engines.python.bootstrap"))
