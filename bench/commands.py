"""Commands as a person types them: `casemate run` with no machine running, and commands that start nothing."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import Kind, Row, Stats, Target
from bench.lab import ARGUMENTS, ENTRY, FUNCTION, Lab
from casemate.wire.encodings.json_text import encode_json

SOON = Target(Kind.VALUE, 2000, "≤ 2000 ms")
QUICK = (
    (("--version",), Target(Kind.VALUE, 120, "≤ 120 ms")),
    (("init", "--help"), Target(Kind.VALUE, 250, "≤ 250 ms")),
)
CASEMATE = (sys.executable, "-I", "-c", "from casemate.cli.main import main; main()")


def commands(lab: Lab) -> list[Row]:
    """The whole journey in one command, then the processor time of two commands that do next to nothing."""
    rows = [_run(lab)]
    for arguments, target in QUICK:
        taken = [_processor_seconds(arguments) for _ in range(3 * lab.rounds.starts)]
        what = f"casemate {' '.join(arguments)}, processor time"
        rows.append(Row("command", what, "ms", Stats.of_seconds(taken), target=target))
    return rows


def _run(lab: Lab) -> Row:
    """Starts of the same machine; the first start, which makes it and the developer's key, is not counted."""
    folder = lab.folder / "typed"
    shutil.copytree(FUNCTION, folder / "function")
    (folder / "input.json").write_bytes(encode_json(ARGUMENTS))
    taken = [_until_result(folder) for _ in range(1 + lab.rounds.starts)]
    return Row(
        "command",
        "casemate run, no machine running, typed until first verified result",
        "ms",
        Stats.of_seconds(taken[1:]),
        target=SOON,
    )


def _until_result(folder: Path) -> float:
    """The seconds until the result is on standard output. Then the command ends its machine, which takes longer."""
    options = ("--input", folder / "input.json", "--entry", ENTRY, "--state", folder / "state")
    command = (*CASEMATE, "run", folder / "function", *options)
    known = {name: value for name, value in os.environ.items() if not name.startswith("CASEMATE_")}
    known["XDG_CONFIG_HOME"] = str(folder)
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=known) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("casemate run gave no result")
        return time.perf_counter() - began


def _processor_seconds(arguments: tuple[str, ...]) -> float:
    """What a command takes of the processors, user's and system's time."""
    process = subprocess.Popen([*CASEMATE, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"casemate {' '.join(arguments)} ended with exit status {process.returncode}")
    return used.ru_utime + used.ru_stime
