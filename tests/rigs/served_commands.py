"""`casemate` commands run as processes, and what they said."""

import json
import os
import subprocess
import sys
from typing import Any

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
