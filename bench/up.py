"""`casemate up` on the command line: memory at rest, and time to a verified result."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Kind, Row, Stats, Target
from bench.lab import ARGUMENTS, ENTRY, Lab, policy_for
from bench.memory import LOOKS, MIB, UnreadableError, look
from bench.processes import PATIENCE, family_of
from casemate.client import connect
from casemate.client.local import LocalMachine, running_machine

TOGETHER = Target(Kind.VALUE, 96, "≤ 96 MiB")
SOON = Target(Kind.VALUE, 2000, "≤ 2000 ms")
AT_REST = "at rest, nothing launched: supervisor, chip, parent, gateway"
PARTS = ("its supervisor", "its chip", "its pre-warmed parent", "its gateway", "besides: the command that waits")
UNTIL_RESULT = "typed until first verified result, over HTTP"

_END = 30.0
"""Longest time until a machine has ended (seconds)."""


def up(lab: Lab) -> list[Row]:
    """Memory and time of new machines whose state is in memory."""
    return [*_memory(lab), _until_result(lab)]


def _memory(lab: Lab) -> list[Row]:
    with _typed() as (process, machine, _):
        deadline = time.monotonic() + PATIENCE
        while (family := family_of(machine)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if family is None:
            raise RuntimeError("the parent of enclaves did not come up")
        time.sleep(max(2.0, lab.rounds.settle))  # the gateway returns memory to the system one second after its start
        pids = (family.supervisor, family.chip, family.parent, family.host, process.pid)
        try:
            looks = [look(pids) for _ in range(LOOKS)]
        except UnreadableError:
            named = ((AT_REST, TOGETHER), *((part, None) for part in PARTS))
            return [Row("up", what, "MiB", None, target=goal, note="readable by root alone") for what, goal in named]
    rows = [
        Row("up", AT_REST, "MiB", Stats.of(_sizes(looks, pids[:-1])), target=TOGETHER, note=looks[0].how),
    ]
    return rows + [
        Row("up", part, "MiB", Stats.of(_sizes(looks, (pid,)))) for part, pid in zip(PARTS, pids, strict=True)
    ]


def _sizes(looks: list[Any], pids: tuple[int, ...]) -> list[float]:
    return [sum(each.pss[pid] for pid in pids) / MIB for each in looks]


def _until_result(lab: Lab) -> Row:
    taken = []
    for _ in range(lab.rounds.starts):
        began = time.perf_counter()
        with _typed() as (_, machine, document), connect(document["url"], token=document["token"]) as client:
            enclave = client.attest(client.launch(lab.image), policy_for(lab.image, machine))
            enclave.call(ENTRY, ARGUMENTS)
            taken.append(time.perf_counter() - began)
    return Row("up", UNTIL_RESULT, "ms", Stats.of_seconds(taken), target=SOON)


@contextmanager
def _typed() -> Iterator[tuple["subprocess.Popen[str]", LocalMachine, Any]]:
    """Runs `casemate up --dev` until the machine is ready."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("CASEMATE_")}
    command = [sys.executable, "-I", "-c", "from casemate.cli.main import main; main()", "up", "--dev", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=known) as process:
        if process.stdout is None:
            raise RuntimeError("nothing to read")
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        try:
            document = json.loads(text)
            yield process, running_machine(Path(document["state"])), document
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_END)
