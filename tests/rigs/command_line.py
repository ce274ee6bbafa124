"""The command line called in-process: what a command printed, and the type of the fixture that runs one.

A process of its own takes half a second of processor time, and a machine of its own two and more.
"""

import functools
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from casemate.cli import images
from casemate.cli.app import app
from casemate.client import local
from casemate.client.local import LocalMachine
from casemate.wire.protocol.runtime_lock import RuntimePart

FAKE_DIGEST = bytes(range(32))
FAKE_RUNTIME = (
    RuntimePart("core", FAKE_DIGEST),
    RuntimePart("javascript", FAKE_DIGEST),
    RuntimePart("python", FAKE_DIGEST),
)
"""A runtime for tests that start no chip (real ones hash some hundred MiB); it has an engine more than is used."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return self.json["error"]


Casemate = Callable[..., Said]


def casemate_here(*arguments: object, given: bytes | None = None) -> Said:
    """Runs the command in this process; defects raise instead of ending as an exit code."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout, done.stderr)


_measured = functools.cache(images.runtime)


def measure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has commands in this process take the runtime's digests from the first that asked: a process hashes it all."""
    monkeypatch.setattr(images, "runtime", _measured)


def lend(machine: LocalMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has commands in this process that would start a machine of their own, such as `casemate test`, use this one."""
    monkeypatch.setattr(local, "local_machine", lambda _state, **_options: nullcontext(machine))
