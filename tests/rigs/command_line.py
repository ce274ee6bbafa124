"""The command line called in-process: what a command printed, and the type of the fixture that runs one."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
