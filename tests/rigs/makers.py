"""A maker's process as its callers start it."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NOW = "2026-03-01T12:00:00Z"
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def run(state: Path, command: str, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    words = [sys.executable, "-I", "-m", "casemate.makers", "--state", str(state), command, "--now", NOW, *arguments]
    return subprocess.run(words, input=given, capture_output=True, check=False, timeout=60)


def ask(state: Path, command: str, *arguments: str, given: object = None) -> dict[str, Any]:
    done = run(state, command, *arguments, given=b"" if given is None else json.dumps(given).encode())
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refused(state: Path, command: str, *arguments: str, given: bytes = b"") -> str:
    done = run(state, command, *arguments, given=given)
    assert done.returncode == 1
    assert done.stdout == b""
    complaint = done.stderr.decode()
    assert complaint.count("\n") == 1
    return complaint
