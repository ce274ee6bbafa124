"""`casemate state ...`: the sealed states of a machine, and its owner's way out when their newest records are lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json, State
from casemate.cli.output import Screen, facts, table

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.wire.messages.state import StoredState
    from casemate.wire.messages.supervisor import AnchorShown

NAMESPACE_SIZE = 32
"""Bytes; twice as many hexadecimal digits."""

Namespace = Annotated[
    str,
    typer.Argument(metavar="NAMESPACE", help="The state's name, 64 hexadecimal digits: `casemate state show`."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the chip's log.")]
Yes = Annotated[bool, typer.Option("--yes", metavar=FLAG, help="Do not ask whether that is meant.")]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@dataclass(frozen=True, slots=True)
class _Row:
    namespace: bytes
    anchor: "AnchorShown | None"
    stored: "StoredState | None"

    @property
    def remark(self) -> str:
        """A remark for the state's owner."""
        if self.anchor is None:
            return "no anchor: never committed, or given up"
        if self.anchor.is_forgiven:
            return "rollback accepted"
        if self.stored is None or self.stored.newest_epoch < self.anchor.epoch:
            return "records are older than the anchor"
        return ""

    def document(self) -> dict[str, object]:
        """The state as JSON for ``--json``."""
        anchor, stored = self.anchor, self.stored
        return {
            "namespace": self.namespace.hex(),
            "epoch": 0 if anchor is None else anchor.epoch,
            "isv_svn": None if anchor is None else anchor.isv_svn,
            "recoveries": 0 if anchor is None else anchor.recoveries,
            "rollback_accepted": anchor is not None and anchor.is_forgiven,
            "host": None
            if stored is None
            else {"newest_epoch": stored.newest_epoch, "records": stored.records, "bytes": stored.size},
            "remark": self.remark,
        }


@app.command()
def show(*, state: State = None, as_json: Json = False) -> None:
    """List the sealed states: the chip's anchors, and what the host has of each.

    A state's epoch counts its commits. Records that end before it have been
    lost or put back: no enclave opens them.
    """
    from casemate.cli.own_machine import machine_on

    machine = machine_on(state)
    anchors = {anchor.namespace: anchor for anchor in machine.anchors()}
    stored = {each.namespace: each for each in machine.stored_states()}
    rows = [_Row(name, anchors.get(name), stored.get(name)) for name in sorted({*anchors, *stored})]
    Screen(as_json=as_json).show({"states": [row.document() for row in rows]}, lambda console: _show_all(console, rows))


@app.command(name="accept-rollback")
def accept_rollback(namespace: Namespace, reason: Reason, *, state: State = None, as_json: Json = False) -> None:
    """Accept, once, that a sealed state goes on from older records.

    For when the newest ones are gone for good: what was committed after those
    that are left is undone. The chip logs it first, in chip/audit.log, and
    every receipt from then on counts it. A manifest with recovery = "never"
    forbids it.

    Example:
        casemate state accept-rollback NAMESPACE --reason "disk died, restored Monday's backup"
    """
    from casemate.cli.own_machine import machine_on

    name = _parsed(namespace)
    epoch = machine_on(state).accept_rollback(name, reason)
    Screen(as_json=as_json).show(
        {"namespace": name.hex(), "epoch": epoch},
        lambda console: facts(
            console,
            [
                ("accepted", f"state {name.hex()} may go on from records older than epoch {epoch}, once"),
                ("next", "call the enclave: it opens the newest whole history that the host has"),
            ],
        ),
    )


@app.command(name="give-up")
def give_up(
    namespace: Namespace, reason: Reason, *, yes: Yes = False, state: State = None, as_json: Json = False
) -> None:
    """Give up a sealed state for good: its anchor is free for another state.

    What was committed in it can never be opened again, from no copy of the disk.
    An enclave of that identity that comes back begins with an empty state, and
    its receipts count a recovery; where its manifest has recovery = "never" it
    is refused. The chip logs it first, in chip/audit.log.

    Example:
        casemate state give-up NAMESPACE --reason "the build of March is not used any more"
    """
    from casemate.cli.own_machine import machine_on

    name = _parsed(namespace)
    machine = machine_on(state)
    anchor = next((each for each in machine.anchors() if each.namespace == name), None)
    if anchor is not None and not yes:
        typer.confirm(
            f"Give up state {name.hex()}? What its {anchor.epoch} commits hold is lost for good",
            abort=True,
            err=True,
        )
    epoch = machine.give_up_anchor(name, reason)
    Screen(as_json=as_json).show(
        {"namespace": name.hex(), "epoch": epoch},
        lambda console: facts(
            console,
            [
                ("given up", f"state {name.hex()}: no record of it up to epoch {epoch} will be taken again"),
                ("next", "an enclave of that identity begins anew, empty"),
            ],
        ),
    )


def _parsed(text: str) -> bytes:
    try:
        name = bytes.fromhex(text)
    except ValueError:
        name = b""
    if len(name) != NAMESPACE_SIZE:
        raise typer.BadParameter(
            f"{text[:80]!r} is no state's name, want {2 * NAMESPACE_SIZE} hexadecimal digits", param_hint="NAMESPACE"
        )
    return name


def _show_all(console: "Console", rows: Sequence[_Row]) -> None:
    if not rows:
        console.print("no sealed states; an enclave whose manifest has [state] makes one with its first commit")
        return
    shown = table("state", "epoch", "recoveries", "host has", "records", "bytes", "remark")
    for row in rows:
        anchor, stored = row.anchor, row.stored
        shown.add_row(
            row.namespace.hex(),
            "0" if anchor is None else str(anchor.epoch),
            "0" if anchor is None else str(anchor.recoveries),
            "nothing" if stored is None else f"epoch {stored.newest_epoch}",
            "0" if stored is None else str(stored.records),
            "0" if stored is None else str(stored.size),
            row.remark,
        )
    console.print(shown)
