"""An ordinary user of the real command, for tests of what one meets who has never used it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.rigs.environments import environment_of, other_interpreters
from tests.rigs.missing import missing
from tests.rigs.two_users import VICTIM, shared_folder, user

TIME = 120.0
"""Longest that a command may take (seconds)."""
TRACEBACK = "Traceback (most recent call last)"


class Told(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def next(self) -> str:
        """What it says to do."""
        return self.err.partition("next:")[2].strip()


class Newcomer(NamedTuple):
    """A user who is not root, with the command and a home of their own."""

    python: Path
    home: Path

    def command(self, *words: object, first: Callable[[], None] | None = None) -> "subprocess.Popen[str]":
        """A program of theirs, which runs; ``first`` is called in its process, as that user."""
        other = VICTIM if os.geteuid() == 0 else None
        return subprocess.Popen(
            [*map(str, words)],
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": f"{self.python.parent}:/usr/bin:/bin", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=other,
            group=other,
            extra_groups=None if other is None else [],
            preexec_fn=first,  # noqa: PLW1509 - the tests that give one have no other threads
        )

    def casemate(self, *words: object) -> Told:
        """How the command ends; it never shows a traceback."""
        with self.command(self.python, "-I", "-m", "casemate", *words) as process:
            out, err = process.communicate(timeout=TIME)
        assert TRACEBACK not in out + err
        return Told(process.returncode, out, err)

    def does(self, *words: object) -> Told:
        """The same, of a command that has to work."""
        told = self.casemate(*words)
        assert told.code == 0, told
        return told

    def writes(self, folder: Path, files: Mapping[str, str]) -> None:
        """Files of theirs."""
        with user(VICTIM) if os.geteuid() == 0 else nullcontext():
            write_files(folder, files)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Texts of files by their paths in the folder, which may not be there yet."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@contextlib.contextmanager
def ordinary_user() -> Iterator[Newcomer]:
    """With nothing but a home, which is removed afterwards."""
    with shared_folder() as folder:
        mine = [Path(sys._base_executable)]  # type: ignore[attr-defined]
        found = (program for program in (*mine, *other_interpreters()) if _is_for_all(program))
        program = next(found, None)
        if program is None:
            missing(f"no Python 3.{sys.version_info.minor} on this computer that every user may run")
        home = folder / "home"
        home.mkdir()
        if os.geteuid() == 0:
            os.chown(home, VICTIM, VICTIM)
        yield Newcomer(environment_of(folder / "environment", program, "machine"), home)


@contextlib.contextmanager
def machine_of(
    ann: Newcomer, *words: object, state: Path | None = None, first: Callable[[], None] | None = None
) -> Iterator[None]:
    """`casemate up` with these options, until the block ends.

    Args:
        ann: who runs it.
        words: options.
        state: its state directory; None for the usual one.
        first: as for :meth:`Newcomer.command`.
    """
    place = () if state is None else ("--state", state)
    command = (ann.python, "-I", "-m", "casemate", "up", "--json", *place, *words)
    with ann.command(*command, first=first) as machine:
        assert machine.stdout is not None
        said = ""
        while not said.endswith("\n}\n") and (line := machine.stdout.readline()):
            said += line
        assert '"state"' in said, (said, machine.communicate()[1])
        yield
        ann.does("down", "--now", *place)
        machine.communicate(timeout=TIME)


@pytest.fixture(scope="session")
def newcomer() -> Iterator[Newcomer]:
    """With a machine that runs in their home."""
    with ordinary_user() as ann, machine_of(ann, "--port", 0):
        yield ann


def _is_for_all(program: Path) -> bool:
    return os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in program.resolve().parents)
