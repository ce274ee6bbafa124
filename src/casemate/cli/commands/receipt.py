"""`casemate receipt ...`: receipts that were kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import Json, PolicyFile
from casemate.cli.output import Screen, facts
from casemate.cli.receipt_text import inner_document, inner_facts, receipt_document, receipt_facts, state_warning

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.client.receipts import ReceiptBundle
    from casemate.verifier import SgxPolicy
    from casemate.wire.protocol.call import Receipt

File = Annotated[Path, typer.Argument(metavar="FILE", help="A receipt file, as `run` and `call` write it.")]

ReceiptTime = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="Appraise for this time, such as 2026-01-31T12:00:00Z. Default: the time that the file names.",
    ),
]

Services = Annotated[
    list[str] | None,
    typer.Option(
        "--service",
        metavar="NAME=FILE",
        help="The policy of an enclave that was called, as billing=FILE or billing/ledger=FILE; all of them then.",
    ),
]

_BRIEF = 200
"""Characters of input and output that a person is shown."""

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def verify(
    file: File, *, policy: PolicyFile, at: ReceiptTime = None, service: Services = None, as_json: Json = False
) -> None:
    """Check a receipt offline, years later too, from nothing but the file.

    The quote is appraised for --at, or else for the time that the file names,
    which is the word of whoever made the file.

    Example:
        casemate receipt verify receipt.json --policy policy.toml
    """
    from casemate.cli.evidence.verdicts import evidence_facts
    from casemate.cli.policies import policy_in, time_of
    from casemate.client.errors import ReceiptRefusedError
    from casemate.client.inner_receipts import verify_chain
    from casemate.client.receipts import check_receipt
    from casemate.verifier.claims import evidence_document

    bundle = _read(file)
    checked = check_receipt(bundle, policy_in(policy), at=None if at is None else time_of(at))
    if service:
        verify_chain(checked.inner, _policies(service))
        if not checked.is_whole:
            raise ReceiptRefusedError("inner receipts", got="none", want="those that the receipt names")

    def human(console: "Console") -> None:
        console.print("the receipt holds: checked by you, on this computer", style="bold green")
        facts(console, [*receipt_facts(checked.receipt), *_openings(checked.input, checked.output)])
        facts(console, inner_facts(bundle.inner))
        facts(console, evidence_facts(checked.enclave))

    document = {
        "holds": True,
        "receipt": receipt_document(checked.receipt),
        "input": checked.input,
        "output": checked.output,
        "inner": inner_document(bundle.inner),
        "evidence": evidence_document(checked.enclave),
    }
    screen = Screen(as_json=as_json)
    _warn(screen, checked.receipt)
    screen.show(document, human)


@app.command()
def show(file: File, *, as_json: Json = False) -> None:
    """Show what a receipt says. Nothing is checked: that is `receipt verify`."""
    bundle = _read(file)
    given, answered = (None if opening is None else opening.content for opening in (bundle.input, bundle.output))
    said_at = bundle.appraised_at.isoformat()

    def human(console: "Console") -> None:
        console.print("not checked: anybody could have written this", style="yellow")
        facts(console, [*receipt_facts(bundle.receipt), *_openings(given, answered), ("said at", said_at)])
        facts(console, inner_facts(bundle.inner))

    document = {
        "checked": False,
        "receipt": receipt_document(bundle.receipt),
        "input": given,
        "output": answered,
        "inner": inner_document(bundle.inner),
        "appraised_at": said_at,
    }
    screen = Screen(as_json=as_json)
    _warn(screen, bundle.receipt)
    screen.show(document, human)


def _policies(given: list[str]) -> "dict[str, SgxPolicy]":
    """The policies of services, by the names that lead to them."""
    from casemate.cli.policies import policy_in
    from casemate.verifier import PolicyError, SgxPolicy

    found = {}
    for each in given:
        name, _, path = each.partition("=")
        if not name or not path:
            raise typer.BadParameter(f"{each[:80]!r} is no NAME=FILE, such as billing=billing.toml")
        if name in found:
            raise typer.BadParameter(f"two policies for {name}: want one for each service")
        policy = policy_in(Path(path))
        if not isinstance(policy, SgxPolicy):
            raise PolicyError(f"{path}: got a policy of another kind, want one of an SGX enclave")
        found[name] = policy
    return found


def _warn(screen: Screen, receipt: "Receipt") -> None:
    """Prints on standard error what weakens the receipt's statement about the state."""
    warning = state_warning(receipt.state)
    if warning is not None:
        screen.say(f"warning: {warning}", style="bold yellow")


def _read(file: Path) -> "ReceiptBundle":
    from casemate.cli.evidence.files import read_receipt

    return read_receipt(file)


def _openings(given: str | None, answered: str | None) -> list[tuple[str, str]]:
    return [("input", _brief(given)), ("output", _brief(answered))]


def _brief(content: str | None) -> str:
    """The first characters of an input or output; ``--json`` has all of it."""
    if content is None:
        return "not opened by this file"
    start = content[:_BRIEF].replace("\n", " ")
    return start if len(content) <= _BRIEF else f"{start}... ({len(content)} characters)"
