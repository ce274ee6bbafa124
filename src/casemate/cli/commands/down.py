"""`casemate down`: ends a machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json, State
from casemate.cli.output import Screen, facts
from casemate.cli.own_machine import MachineGoneError, MachineStaysError

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE = 30.0
"""How long to wait for a machine to end (seconds): calls under way have ten, and the chip needs some more."""

Now = Annotated[bool, typer.Option("--now", metavar=FLAG, help="Do not wait for calls under way.")]


def down(*, state: State = None, now: Now = False, as_json: Json = False) -> None:
    """End the machine that runs on the state directory, and wait until it has.

    Calls under way may finish, and nobody new is let in. What was launched is
    launched again by the next `casemate up`. Where no machine runs there is
    nothing to do, which is no error.
    """
    from casemate.cli.own_machine import state_directory, unset_line
    from casemate.client.local import NoMachineError, running_machine, wait_for_end

    screen = Screen(as_json=as_json)
    try:
        place = state_directory(state)
    except MachineGoneError as error:
        found = {"ended": False, "state": None, "unset": unset_line()}
        why = str(error)
        screen.show(found, lambda console: facts(console, [("nothing to end", why)]))
        return
    try:
        machine = running_machine(place)
    except NoMachineError:
        if not wait_for_end(place, PATIENCE):  # a machine that is ending or starting does not answer
            raise
        said = f"no machine runs on {place}"
        screen.show(
            {"ended": False, "state": str(place), "unset": None},
            lambda console: facts(console, [("nothing to end", said)]),
        )
        return
    machine.end(at_once=now)
    if not wait_for_end(place, PATIENCE):
        raise MachineStaysError(f"process {machine.status.supervisor_pid} has not ended within {PATIENCE:g} s")
    exported = machine.status.url != "" and os.environ.get("CASEMATE_URL") == machine.status.url
    exported = exported or os.environ.get("CASEMATE_STATE") == str(place)
    unset = unset_line() if exported else None
    screen.show({"ended": True, "state": str(place), "unset": unset}, lambda console: _show(console, place, unset))


def _show(console: "Console", place: Path, unset: str | None) -> None:
    """Prints the result; the last line is for a shell whose environment still names the machine."""
    facts(console, [("ended", str(place))])
    if unset is not None:
        console.print()
        console.print(unset)
