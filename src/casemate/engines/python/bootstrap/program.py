"""A program that is loaded, and the limits it has been given with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from casemate.engines.python.bootstrap.console import Console
from casemate.engines.python.bootstrap.enclave_link import EnclaveLink
from casemate.engines.python.bootstrap.errors import told
from casemate.engines.python.bootstrap.importer import Files


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest texts and keys (bytes), and the longest list of keys."""

    output: int
    ocall: int
    value: int
    key: int
    sealed: int
    listed: int

    @classmethod
    def of(cls, head: Mapping[str, Any]) -> "Limits":
        """Those in the head of a LOAD frame."""
        names = ("outputLimit", "ocallLimit", "valueLimit", "keyLimit", "sealedLimit", "listLimit")
        return cls(*(int(head[name]) for name in names))


@dataclass(frozen=True, slots=True)
class Grants:
    """What the manifest lets a program do."""

    permissions: frozenset[str]
    errors: frozenset[str]
    """The names of the refusals that it may tell its callers."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that is loaded."""

    files: Files
    functions: Mapping[str, Callable[..., Any]]
    """Its entry points by name."""
    limits: Limits
    grants: Grants
    debug: bool
    """The enclave has no secrets: places are told, and exceptions that nobody catches are printed."""
    enclave: EnclaveLink
    console: Console

    def report(self, what: str, thrown: BaseException) -> None:
        """Prints an exception that no call raises, in a debug enclave."""
        if self.debug:
            self.console.line(f"{what}: {told(thrown)}")
