"""`casemate up`: a machine in the foreground."""

import os
import shlex
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.options import Json, Layers, Seed, State
from casemate.cli.output import Screen, facts
from casemate.wire.errors import CasemateError

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine

Pool = Annotated[int, typer.Option("--pool", metavar="N", min=0, max=64, help="How many guests to keep warm.")]


class MachineRunsError(CasemateError):
    """A machine runs on this state directory already."""


def up(*, state: State = None, seed: Seed = None, layer: Layers = None, pool: Pool = 1, as_json: Json = False) -> None:
    """Run a machine in the foreground, until Ctrl-C.

    It is a simulated chip, its maker, and an untrusted host. Other commands
    find it by its state directory.

    Example:
        casemate up --state /tmp/machine
    """
    from casemate.cli.machines import state_directory
    from casemate.client.local import local_machine

    screen = Screen(as_json=as_json)
    place = state_directory(state)
    _check_free(place)
    with local_machine(place, seed=seed, layers=tuple(layer or ()), pool=pool) as machine:
        signal.signal(signal.SIGTERM, _end)
        try:
            screen.show(machine_document(machine), lambda console: facts(console, _facts(machine)))
            screen.say("running; Ctrl-C ends it")
            os.waitpid(machine.status.supervisor_pid, 0)  # our child: `local_machine` has just started it
        except KeyboardInterrupt:
            screen.say("ending")
            return
    screen.say(f"the machine ended by itself: {place / 'machine.log'} says why", style="bold red")
    raise typer.Exit(ExitCode.FAILED)


def machine_document(machine: "LocalMachine") -> dict[str, object]:
    """A running machine, for ``--json``."""
    from casemate.cli.machines import fingerprint

    status = machine.status
    return {
        "state": str(machine.state),
        "host_socket": status.host_socket,
        "platform": status.platform,
        "runtime_digest": status.runtime_digest.hex(),
        "root_sha256": fingerprint(machine),
        "seeded": status.seeded,
        "pids": {"supervisor": status.supervisor_pid, "chip": status.chip_pid, "host": status.host_pid},
    }


def machine_facts(machine: "LocalMachine") -> list[tuple[str, str]]:
    """A running machine, for a person."""
    from casemate.cli.machines import fingerprint

    status = machine.status
    return [
        ("state", str(machine.state)),
        ("socket", status.host_socket),
        ("platform", status.platform),
        ("runtime", status.runtime_digest.hex()),
        ("root", f"simulated, SHA-256 {fingerprint(machine)}"),
        ("seeded", "yes: everybody can have its keys" if status.seeded else "no"),
        ("processes", f"supervisor {status.supervisor_pid}, chip {status.chip_pid}, host {status.host_pid}"),
    ]


def _facts(machine: "LocalMachine") -> list[tuple[str, str]]:
    return [
        *machine_facts(machine),
        ("elsewhere", f"export CASEMATE_STATE={shlex.quote(str(machine.state.absolute()))}"),
    ]


def _check_free(place: Path) -> None:
    from casemate.client.local import NoMachineError, running_machine

    try:
        found = running_machine(place)
    except NoMachineError:
        return
    raise MachineRunsError(
        f"a machine runs on {place} already: its supervisor is process {found.status.supervisor_pid}"
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the machine as Ctrl-C does."""
    raise KeyboardInterrupt
