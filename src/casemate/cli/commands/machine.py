"""`casemate machine ...`: the levers that a machine's owner has."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import Json, State
from casemate.cli.output import Screen, facts

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine

Advisory = Annotated[
    str,
    typer.Option("--advisory", metavar="ID", help="The advisory that the recovery answers, such as INTEL-SA-99001."),
]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command(name="recover-tcb")
def recover_tcb(advisory: Advisory, *, state: State = None, as_json: Json = False) -> None:
    """Have the maker publish a new TCB level: this machine is out of date until its microcode is updated.

    Example:
        casemate machine recover-tcb --advisory INTEL-SA-99001
    """
    _pull(state, lambda machine: machine.recover_tcb(advisory), as_json=as_json)


@app.command(name="update-microcode")
def update_microcode(*, state: State = None, as_json: Json = False) -> None:
    """Bring the machine to the newest TCB that its maker has published."""
    _pull(state, lambda machine: machine.update_microcode(), as_json=as_json)


@app.command()
def revoke(*, state: State = None, as_json: Json = False) -> None:
    """Have the maker revoke this machine's certificate: nobody will accept its evidence any more."""
    _pull(state, lambda machine: machine.revoke(), as_json=as_json)


@app.command()
def renew(*, state: State = None, as_json: Json = False) -> None:
    """Have the maker renew the machine's certificates that are not valid now: after their time, or a wrong clock.

    A chip's own certificate is renewed at each start as well. Here the maker's
    root certificate is, too: if that was not valid, its SHA-256 is another one
    afterwards, and policies have to name that.
    """
    _pull(state, lambda machine: machine.renew(), as_json=as_json)


def _pull(state: Path | None, lever: Callable[["LocalMachine"], str], *, as_json: bool) -> None:
    from casemate.cli.own_machine import machine_on

    said = lever(machine_on(state))
    Screen(as_json=as_json).show({"done": said}, lambda console: facts(console, [("done", said)]))
