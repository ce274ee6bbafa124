"""The command `casemate` for Typer: its commands, in the order in which `--help` shows them."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from casemate.cli.group import CasemateGroup
from casemate.cli.on_demand import Command, Family, OnDemand
from casemate.cli.options import FLAG, CaFile, TokenFile, Url

IMAGES = "Images"
CALLS = "Calls"
EVIDENCE = "Evidence"
MACHINE = "Machine"
COMPUTER = "This computer"

COMMANDS: dict[str, Command | Family] = {
    "init": Command(IMAGES, "build"),
    "build": Command(IMAGES, "build"),
    "measure": Command(IMAGES, "measure"),
    "diff": Command(IMAGES, "measure"),
    "lock": Family(IMAGES, "The runtimes that an image may run on: a lock that a team shares."),
    "dev": Command(IMAGES, "dev"),
    "test": Command(IMAGES, "test"),
    "run": Command(CALLS, "run"),
    "call": Command(CALLS, "call"),
    "keygen": Command(CALLS, "keygen"),
    "quote": Command(EVIDENCE, "quote"),
    "verify": Command(EVIDENCE, "verify"),
    "policy": Command(EVIDENCE, "policy"),
    "release": Command(EVIDENCE, "release"),
    "inspect": Command(EVIDENCE, "inspect"),
    "receipt": Family(EVIDENCE, "Check receipts, and show them."),
    "up": Command(MACHINE, "up"),
    "status": Command(MACHINE, "status"),
    "down": Command(MACHINE, "down"),
    "launch": Command(MACHINE, "enclaves"),
    "deploy": Command(MACHINE, "deploy"),
    "rollback": Command(MACHINE, "deploy"),
    "ps": Command(MACHINE, "enclaves"),
    "start": Command(MACHINE, "enclaves"),
    "stop": Command(MACHINE, "enclaves"),
    "destroy": Command(MACHINE, "enclaves"),
    "bind": Command(MACHINE, "bind"),
    "service": Family(MACHINE, "Services: install, start in order, stop, upgrade, remove."),
    "logs": Command(MACHINE, "logs"),
    "machine": Family(MACHINE, "A machine's levers: TCB recovery, microcode, revocation."),
    "vm": Family(MACHINE, "Confidential VMs: launch, run, look at, attest."),
    "snp": Family(MACHINE, "A machine's SEV-SNP processor: firmware, TCB recovery, keys, revocation."),
    "token": Family(MACHINE, "Who may pass the gateway."),
    "state": Family(MACHINE, "Sealed states: what there is, and the way out of a rollback."),
    "doctor": Command(COMPUTER, "doctor"),
    "docs": Command(COMPUTER, "docs"),
    "version": Command(COMPUTER, "version"),
}


class _Root(CasemateGroup):
    def __init__(self, *, commands: dict[str, Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = OnDemand(COMMANDS, commands)

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override] # Typer's own Context
        """Prints the list of commands without building any of them."""
        commands = self.commands
        self.commands = commands.summaries() if isinstance(commands, OnDemand) else commands
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = commands


app = typer.Typer(
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    """Prints the version where the option stands behind others; `main` answers `casemate --version` itself."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"casemate {version('casemate')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", "-V", metavar=FLAG, help="Print the version.", callback=_show_version, is_eager=True),
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
