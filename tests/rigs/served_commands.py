"""`casemate` commands run as processes, and what they said."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from casemate.client.local import LocalMachine, running_machine

PATIENCE = 30.0
SLOW = "export function main(input) { const end = Date.now() + input; while (Date.now() < end); return input; }"


def casemate(*arguments: object, **environment: str) -> "subprocess.Popen[str]":
    """The command, as a process of its own."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("CASEMATE_")}
    return subprocess.Popen(
        [sys.executable, "-c", "from casemate.cli.main import main; main()", *map(str, arguments)],
        env=known | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(*arguments: object) -> tuple[int, Any]:
    """The exit status of a command that ends, and its JSON document."""
    with casemate(*arguments, "--json") as process:
        out, _ = process.communicate(timeout=PATIENCE)
        return process.returncode, json.loads(out)


@contextmanager
def up(state: Path, *options: object) -> Iterator[tuple[LocalMachine, "subprocess.Popen[str]"]]:
    """`casemate up` in the foreground."""
    with casemate("up", "--state", state, "--no-gateway", "--json", *options) as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        try:
            yield running_machine(Path(json.loads(text)["state"])), process
        finally:
            for _ in range(2):
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
