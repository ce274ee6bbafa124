"""`casemate down`: ends a machine."""

from typing import Annotated

import typer

from casemate.cli.machines import MachineStaysError
from casemate.cli.options import FLAG, Json, State
from casemate.cli.output import Screen, facts

PATIENCE = 30.0
"""Longest end of a machine (seconds): calls under way have ten, and the chip some more."""

Now = Annotated[bool, typer.Option("--now", metavar=FLAG, help="Do not wait for calls under way.")]


def down(*, state: State = None, now: Now = False, as_json: Json = False) -> None:
    """End the machine that runs on the state directory, and wait until it has.

    Calls under way may finish, and nobody new is let in. What was launched is
    launched again by the next `casemate up`. Where no machine runs there is
    nothing to do, which is no error.
    """
    from casemate.cli.machines import state_directory
    from casemate.client.local import NoMachineError, running_machine, wait_for_end

    place = state_directory(state)
    screen = Screen(as_json=as_json)
    try:
        machine = running_machine(place)
    except NoMachineError:
        if not wait_for_end(place, PATIENCE):  # it is ending already, or starting
            raise
        said = f"no machine runs on {place}"
        screen.show({"ended": False, "state": str(place)}, lambda console: facts(console, [("nothing to end", said)]))
        return
    machine.end(at_once=now)
    if not wait_for_end(place, PATIENCE):
        raise MachineStaysError(f"process {machine.status.supervisor_pid} has not ended within {PATIENCE:g} s")
    screen.show({"ended": True, "state": str(place)}, lambda console: facts(console, [("ended", str(place))]))
