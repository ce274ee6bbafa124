"""Common setup of the sections: a temporary folder, a machine, a function's image, and a policy for both."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.chip.runtime import ENGINE
from casemate.chip.runtime_copy import cache_root
from casemate.chip.runtime_digest import copy_name
from casemate.cli.policies import PinnedEnclave, policy_of, root_of
from casemate.client.local import LocalMachine, local_machine
from casemate.images.functions.build import build
from casemate.images.image import Image
from casemate.images.keys import DeveloperKey
from casemate.images.lock import write_lock
from casemate.verifier import SgxPolicy
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.protocol.runtime_lock import RuntimeLock

FUNCTION = Path(__file__).parent / "function"
KEEPER = Path(__file__).parent / "keeper"
STREAMER = Path(__file__).parent / "streamer"
ENTRY = "price"
ARGUMENTS: Any = {
    "lines": [{"name": f"article {number:04} of many", "count": number, "cents": 1995} for number in range(1, 19)]
}
SIZE = len(encode_json(ARGUMENTS))
EPOCH = 1_767_225_600
"""SIGSTRUCT's date: 2026-01-01, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Number of repetitions, for each section."""

    launches: int
    calls: int
    many: int
    """Calls of each of the sixteen sessions."""
    turns: int
    """Calls of all callers in turn, for each isolation mode and number of callers. Where each needs a new guest they
    take up to 0.1 s."""
    newcomers: int
    """First calls of new callers."""
    pieces: int
    """MiB that are streamed."""
    quotes: int
    verifications: int
    pages: int
    starts: int
    saturations: int
    saturated: float
    """Duration of each measurement under load (seconds)."""
    settle: float
    """Seconds of rest before memory is measured."""


FULL = Rounds(
    launches=25,
    calls=600,
    many=60,
    turns=32,
    newcomers=15,
    pieces=128,
    quotes=300,
    verifications=60,
    pages=7,
    starts=3,
    saturations=3,
    saturated=3.0,
    settle=2.0,
)
QUICK = Rounds(
    launches=3,
    calls=40,
    many=5,
    turns=8,
    newcomers=2,
    pieces=8,
    quotes=20,
    verifications=5,
    pages=1,
    starts=1,
    saturations=1,
    saturated=0.5,
    settle=0.5,
)


@dataclass(frozen=True, slots=True)
class Lab:
    """A running machine with one warm guest in its pool, and a function's image to run on it."""

    folder: Path
    machine: LocalMachine
    image: Image
    policy: SgxPolicy
    rounds: Rounds

    @property
    def engine(self) -> Path:
        """Deno's binary, the one that guests run."""
        return self.runtime / ENGINE

    @property
    def runtime(self) -> Path:
        """The copy of the runtime that the machine runs on."""
        return cache_root() / copy_name(self.machine.status.runtime)


@contextmanager
def lab(rounds: Rounds) -> Iterator[Lab]:
    """A lab with a new machine."""
    with tempfile.TemporaryDirectory(prefix="casemate-bench-") as name:
        folder = Path(name)
        with local_machine(folder / "machine", pool=1) as machine:
            image = image_of(FUNCTION, folder / "function", machine)
            yield Lab(folder, machine, image, policy_for(image, machine), rounds)


def policy_for(image: Image, machine: LocalMachine) -> SgxPolicy:
    """A policy that accepts this code on this machine."""
    return policy_of(PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=False, debug=False))


def say(text: str) -> None:
    """Prints progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def image_of(source: Path, folder: Path, machine: LocalMachine) -> Image:
    """The image of a function's folder, for the runtime of ``machine``, built from a copy in ``folder``."""
    shutil.copytree(source, folder)
    return built(folder, machine)


def built(folder: Path, machine: LocalMachine) -> Image:
    """The image of the function in ``folder``, for the runtime of ``machine``, whose lock is written there."""
    write_lock(folder, RuntimeLock().with_runtime(machine.status.platform, machine.status.runtime))
    return build(folder, DeveloperKey.generate(), epoch=EPOCH)
