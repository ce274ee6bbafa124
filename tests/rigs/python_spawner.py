"""A spawner with Python guests: real processes and confinement, and a bootstrap of the tests' own."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from casemate.testing.lone_spawner import LoneEnclave, LoneSpawner, Outcome, lone_spawner, shared_engine
from casemate.wire.protocol.sandbox_layers import LayerRequest

_SOURCE = Path(__file__).with_name("python_bootstrap.py").read_text()
_NAME = "casemate.engines.python.bootstrap"
BOOTSTRAP = f"""
import types
_own = types.ModuleType({_NAME!r})
exec({_SOURCE!r}, _own.__dict__)
sys.modules[{_NAME!r}] = _own
"""


@contextmanager
def python_spawner(
    *, layers: tuple[LayerRequest, ...] = (), pool: int = 1, user: int | None = None, python: str = sys.executable
) -> Iterator[LoneSpawner]:
    with lone_spawner(
        shared_engine(), layers=layers, pool=pool, user=user, python=python, bootstrap=BOOTSTRAP
    ) as spawner:
        yield spawner


class PythonImage:
    """A program in an image process of an enclave's, and the copies of that."""

    def __init__(self, enclave: LoneEnclave, source: str, *, memory_mib: int = 64, time_ms: int = 2000) -> None:
        self.enclave = enclave
        self.memory_mib = memory_mib
        self.given = enclave.need_guest(memory_mib, engine="python")
        assert "pid" in self.given, self.given
        self.number: int = self.given["guest"]
        self.pid: int = self.given["pid"]
        self.loaded = enclave.load_modules({"guest/main.py": source}, time_ms=time_ms)

    def ask(self) -> dict[str, Any]:
        """Asks for a copy; what the spawner answers."""
        return self.enclave.need_guest(self.memory_mib, beside=True, engine="python", copy_of=self.number)

    def copy(self) -> int:
        """The number of a new copy, which is loaded."""
        given = self.ask()
        assert "pid" in given, given
        assert self.enclave.inherit(given["guest"]).code == "ok"
        return int(given["guest"])

    def call(self, argument: Any = None, *, guest: int | None = None, time_ms: int = 1000) -> Outcome:
        """What ``main`` says in a guest; in a new copy, if no number is given."""
        number = self.copy() if guest is None else guest
        return self.enclave.call(arguments=argument, guest=number, time_ms=time_ms)
