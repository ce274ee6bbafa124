"""The command `casemate`: its commands, in the order in which `--help` shows them."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from casemate.cli.commands import machine, receipt, snp, state, token, vm
from casemate.cli.commands.build import build, init
from casemate.cli.commands.call import call
from casemate.cli.commands.docs import docs
from casemate.cli.commands.doctor import doctor
from casemate.cli.commands.down import down
from casemate.cli.commands.enclaves import destroy, launch, ps, start, stop
from casemate.cli.commands.evidence import policy, quote, verify
from casemate.cli.commands.inspect import inspect
from casemate.cli.commands.keygen import keygen
from casemate.cli.commands.measure import diff, measure
from casemate.cli.commands.run import run
from casemate.cli.commands.status import status
from casemate.cli.commands.up import up
from casemate.cli.commands.version import show_version, version
from casemate.cli.group import CasemateGroup
from casemate.cli.options import FLAG, CaFile, TokenFile, Url

IMAGES = "Images"
CALLS = "Calls"
EVIDENCE = "Evidence"
MACHINE = "Machine"
COMPUTER = "This computer"

app = typer.Typer(
    cls=CasemateGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

for panel, commands in {
    IMAGES: (init, build, measure, diff),
    CALLS: (run, call, keygen),
    EVIDENCE: (quote, verify, policy, inspect),
    MACHINE: (up, status, down, launch, ps, start, stop, destroy),
    COMPUTER: (doctor, docs, version),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)

app.add_typer(receipt.app, name="receipt", help="Check receipts, and show them.", rich_help_panel=EVIDENCE)
app.add_typer(
    machine.app,
    name="machine",
    help="A machine's levers: TCB recovery, microcode, revocation.",
    rich_help_panel=MACHINE,
)
app.add_typer(vm.app, name="vm", help="Confidential VMs: launch, run, look at, attest.", rich_help_panel=MACHINE)
app.add_typer(
    snp.app,
    name="snp",
    help="A machine's SEV-SNP processor: firmware, TCB recovery, keys, revocation.",
    rich_help_panel=MACHINE,
)
app.add_typer(token.app, name="token", help="Who may pass the gateway.", rich_help_panel=MACHINE)
app.add_typer(
    state.app,
    name="state",
    help="Sealed states: what there is, and the way out of a rollback.",
    rich_help_panel=MACHINE,
)

Version = Annotated[
    bool, typer.Option("--version", "-V", metavar=FLAG, help="Print the version.", callback=show_version, is_eager=True)
]


@app.callback()
def casemate(
    *,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    shown: Version = False,
) -> None:
    """Confidential computing that runs anywhere Python runs.

    Simulated silicon, real evidence: build a function into an enclave image,
    run it in a sandboxed process, prove which code answered.

        casemate init hello
        casemate run hello --input hello/input.json
    """


@app.command(name="help", rich_help_panel=COMPUTER)
def show_help(
    context: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="Such as `vm run`.")] = None,
) -> None:
    """Show a command's help, as its --help does."""
    shown = context.find_root()
    for word in command or ():
        found = shown.command.get_command(shown, word) if isinstance(shown.command, TyperGroup) else None
        if found is None:
            raise typer.BadParameter(f"{shown.command_path} has no command {word!r}", param_hint="COMMAND")
        shown = typer.Context(found, info_name=word, parent=shown)
    typer.echo(shown.get_help(), nl=False)


def main() -> None:
    """The entry point of the package's command."""
    app(prog_name="casemate")
