"""`casemate bind`: which deployment an enclave reaches under a name of its manifest's `[uses.NAME]`."""

from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.commands.enclaves import Target
from casemate.cli.options import Json, State
from casemate.cli.output import Screen, facts

if TYPE_CHECKING:
    from casemate.wire.messages.bindings import Binding


def pair(value: str) -> str:
    """``ALIAS=TARGET`` as it was typed, whose parts the host checks."""
    alias, equals, _ = value.partition("=")
    if not alias or not equals:
        raise typer.BadParameter(f"{value[:80]!r} is no ALIAS=NAME, ALIAS=N or ALIAS=, such as billing=billing-test")
    return value


Pairs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ALIAS=TARGET", parser=pair, help="A table [uses.ALIAS], and an enclave's number or name; or none."
    ),
]


def bind(target: Target, pairs: Pairs = None, *, state: State = None, as_json: Json = False) -> None:
    """Bind what an enclave calls to deployments; without a pair, show it.

    An alias that is not bound means the deployment of the same name. It
    counts from the next session on, and a new version of the enclave keeps
    it. A binding is an address: whoever answers there has to prove to be
    what the caller's manifest demands.

    Example:
        casemate bind shop billing=billing-test
        casemate bind shop billing=
    """
    from casemate.cli.endpoints import LocalEndpoint
    from casemate.cli.own_machine import enclave_of, machine_on

    machine = machine_on(state)
    enclave = enclave_of(target)
    if isinstance(enclave, str):
        with LocalEndpoint(machine).connect() as client:
            enclave = client.function(enclave).current.enclave
    found = machine.bindings(enclave)
    for each in pairs or ():
        alias, _, to = each.partition("=")
        found = machine.bind(enclave, alias, to)
    show_bindings(Screen(as_json=as_json), enclave, found)


def show_bindings(screen: Screen, enclave: int, found: "tuple[Binding, ...]") -> None:
    """What an enclave's aliases are bound to."""
    rows = [(each.alias, each.target) for each in found]
    screen.show(
        {"enclave": enclave, "uses": dict(rows)},
        lambda console: facts(console, rows or [("bound", "nothing: each alias means the deployment of its name")]),
    )
