"""Two users of one computer, for tests of what one can do to the other. Being both takes root."""

import contextlib
import grp  # noqa: F401 - where the interpreter lies in a home, other users cannot import it later
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.missing import missing

VICTIM, ATTACKER = 20001, 20002
"""User and group ids that nobody has."""

two_users = pytest.mark.skipif(os.geteuid() != 0, reason="being two users takes root")


@contextlib.contextmanager
def user(uid: int) -> Iterator[None]:
    """The block runs as this user, with no other groups than the user's own."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder such as /tmp, that all may write to; pytest's own is closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="casemate-test-", dir=tempfile.gettempdir())).resolve()
    folder.chmod(0o1777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def python_for_all() -> str:
    """An interpreter that every user may run."""
    for candidate in (sys.executable, "/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11"):
        real = Path(candidate).resolve()
        if real.is_file() and all(folder.stat().st_mode & 0o001 for folder in real.parents):
            return candidate
    return missing("there is no interpreter that every user may run")
