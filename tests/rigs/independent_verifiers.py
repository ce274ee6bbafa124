"""Programs of ours around verifiers in other languages: built once, from locked sources, into the user's cache.

The cache is keyed by the sources with their lock file and by the compiler's version. Where there is no compiler, tests
are skipped, unless the environment variable ``CI`` is set: there they fail.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rigs.missing import missing

TIMEOUT = 580
"""Seconds for one build."""

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""A question, and the program's answer."""


class BuildError(Exception):
    """The compiler refuses, or the packages cannot be had."""


@dataclass(frozen=True)
class Toolchain:
    """How programs in one language are built."""

    compiler: str
    version: tuple[str, ...]
    """The command that prints the compiler's version."""
    build: Callable[[Path], list[str]]
    """The command that builds the program in the working directory, and puts it into a folder."""
    made: str
    """Where in that folder."""
    environment: dict[str, str] = field(default_factory=dict)


GO = Toolchain(
    "go",
    ("go", "version"),
    lambda folder: ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", str(folder / "program"), "."],
    "program",
    {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
)
"""The modules are those of go.sum, by whatever proxy the user's Go asks."""

RUST = Toolchain(
    "cargo",
    ("cargo", "--version"),
    lambda folder: ["cargo", "build", "--locked", "--quiet", "--target-dir", str(folder / "target")],
    "target/debug/casemate-judges",
)
"""The crates are those of Cargo.lock."""


@contextmanager
def running(source: Path, toolchain: Toolchain) -> Iterator[Ask]:
    """The program in ``source``, built where that has not been done, and kept running."""
    if shutil.which(toolchain.compiler) is None:
        missing(f"{toolchain.compiler} is missing: install it to have this verifier's opinion")
    program = built(source, toolchain)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pipes = process.stdin, process.stdout

        def ask(question: dict[str, Any]) -> dict[str, Any]:
            pipes[0].write(json.dumps(question).encode() + b"\n")
            pipes[0].flush()
            answer: dict[str, Any] = json.loads(pipes[1].readline())
            assert answer.get("stage") != "question", answer
            return answer

        yield ask
        process.stdin.close()


def built(source: Path, toolchain: Toolchain) -> Path:
    """The program of these sources.

    Raises:
        BuildError: the compiler refuses.
    """
    version = subprocess.run(toolchain.version, capture_output=True, check=True, timeout=60).stdout
    files = sorted(path for path in source.rglob("*") if path.is_file())
    parts = [version, *(part for path in files for part in (str(path.relative_to(source)).encode(), path.read_bytes()))]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "casemate" / toolchain.compiler
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / digest
    with (cache / f"{digest}.lock").open("w") as lock:  # tests run in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            _build(source, toolchain, folder)
            (folder / ".complete").touch()
    return folder / toolchain.made


def _build(source: Path, toolchain: Toolchain, folder: Path) -> None:
    done = subprocess.run(
        toolchain.build(folder),
        cwd=source,
        env=os.environ | toolchain.environment,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    if done.returncode != 0:
        raise BuildError(f"{toolchain.compiler} in {source}: {done.stderr.decode(errors='replace')[-2000:]}")
