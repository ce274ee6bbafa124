"""`casemate status`: a running machine, its processes and its deployments."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.cli.options import Json, State
from casemate.cli.output import Screen, facts, printable, table

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.client.local import LocalMachine
    from casemate.wire.messages.host import EnclaveIs

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    pid: int
    seconds: int | None
    restarts: int | None
    last_death: str
    memory: int | None
    stopped: bool = False
    """Somebody has stopped it (SIGSTOP)."""

    def document(self) -> dict[str, object]:
        return {
            "name": self.name,
            "pid": self.pid or None,
            "uptime_s": self.seconds,
            "restarts": self.restarts,
            "last_death": self.last_death or None,
            "pss_bytes": self.memory,
            "stopped": self.stopped,
        }


def status(*, state: State = None, as_json: Json = False) -> None:
    """Show the running machine: URL, socket, root, processes, deployments.

    Memory is each process's proportional share (PSS), where this user may
    look: the chip's is its own secret, and root's.
    """
    from casemate.cli.commands.up import machine_document, machine_facts
    from casemate.cli.own_machine import machine_on

    machine = machine_on(state)
    rows = _processes(machine)
    enclaves, silent = _enclaves(machine)
    document = machine_document(machine) | {
        "uptime_s": max(0, int(time.time()) - machine.status.started_at),
        "lasting": machine.status.lasting,
        "processes": [row.document() for row in rows],
        "deployments": [
            {"enclave": each.enclave, "name": each.name, "state": str(each.state), "reason": each.reason}
            for each in enclaves
        ],
        "host": silent or "answers",
    }
    known = machine_facts(machine) + ([] if silent is None else [("host", silent)])
    Screen(as_json=as_json).show(document, lambda console: _show(console, known, rows, enclaves))


def _enclaves(machine: "LocalMachine") -> tuple[tuple["EnclaveIs", ...], str | None]:
    """The enclaves that the host lists, and the reason where it gives no list."""
    from casemate.cli.process_table import is_stopped
    from casemate.client.local import NoMachineError
    from casemate.link.errors import TimedOutError

    if is_stopped(machine.status.host_pid):
        return (), "stopped (SIGSTOP): does not answer"
    try:
        return machine.enclaves(), None
    except (NoMachineError, TimedOutError) as error:
        return (), f"does not answer: {error}"


def _processes(machine: "LocalMachine") -> list[_Row]:
    from casemate.cli.process_table import below, is_stopped, pss

    now = int(time.time())
    rows = [
        _Row(
            process.name,
            process.pid,
            max(0, now - process.started_at),
            process.restarts,
            process.last_death,
            pss(process.pid),
            is_stopped(process.pid),
        )
        for process in machine.status.processes
    ]
    return rows + [
        _Row(child.name, child.pid, None, None, "", pss(child.pid), is_stopped(child.pid))
        for child in below(machine.status.chip_pid)
    ]


def _show(
    console: "Console", known: list[tuple[str, str]], rows: Sequence[_Row], enclaves: Sequence["EnclaveIs"]
) -> None:
    facts(console, known)
    shown = table("process", "pid", "up", "restarts", "PSS", "last death", title="Processes")
    for row in rows:
        shown.add_row(
            f"{row.name} (stopped)" if row.stopped else row.name,
            str(row.pid or "-"),
            "" if row.seconds is None else _span(row.seconds),
            "" if row.restarts is None else str(row.restarts),
            "" if row.memory is None else f"{row.memory / MIB:.1f} MiB",
            printable(row.last_death),
        )
    console.print(shown)
    if enclaves:
        launched = table("N", "name", "state", "reason", title="Deployments")
        for each in enclaves:
            launched.add_row(str(each.enclave), printable(each.name), str(each.state), printable(each.reason))
        console.print(launched)


def _span(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    return f"{days}d {hours:02}:{minutes:02}:{left:02}" if days else f"{hours:02}:{minutes:02}:{left:02}"
