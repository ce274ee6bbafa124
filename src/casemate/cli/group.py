"""The command `casemate` as Typer runs it: errors end as a message and an exit code, never as a traceback."""

import itertools
import os
from typing import Any

import typer
from typer.core import TyperGroup

from casemate.cli.errors import ExitCode, Outcome, outcome_of
from casemate.wire.errors import CasemateError

_FOLDERS = frozenset({"--state", "init"})
"""Words behind which an empty path would mean the current folder, in which much would be made."""

AS_JSON = "casemate.json"
"""Key in a context's ``meta``: whether the command was asked for JSON."""


class CasemateGroup(TyperGroup):
    """All commands."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # as below
        """Refuses what no command could make sense of, before any of them tries."""
        if ctx.parent is None:
            _check_words(args)
        return super().parse_args(ctx, args)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override] # Typer's own Context
        """The command of that name, whose help says what to type and not which Python type it becomes."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            _show_no_types(found, ctx)
        return found

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override] # Typer's own Context
        """The same for the list of commands."""
        _show_no_types(self, ctx)
        super().format_help(ctx, formatter)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # Typer's own Context
        """Runs the command that was typed."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # Pydantic's, which says nothing to a user
            raise
        except BrokenPipeError:
            raise  # Typer ends quietly: the reader has seen enough
        except (CasemateError, OSError) as error:
            outcome = outcome_of(error)
            report(outcome, as_json=bool(ctx.meta.get(AS_JSON)))
            raise typer.Exit(outcome.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None


def _check_words(args: list[str]) -> None:
    for before, word in itertools.pairwise(["", *args]):
        if (not word and before in _FOLDERS) or word == "--state=":
            option = "--state" if word else before
            raise typer.BadParameter(f"the folder behind {option} is empty: is a variable not set?")
        if not word.isascii() and not _is_text(word) and not os.path.lexists(word):
            raise typer.BadParameter(f"{os.fsencode(word)!r} is neither UTF-8 nor the name of a file that is there")


def _is_text(word: str) -> bool:
    """Whether an argument was UTF-8: Python stands a lone surrogate for each byte that was not."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _show_no_types(command: Any, ctx: typer.Context) -> None:
    """Typer names the type of each argument, and of each option without a metavar; for some it has no switch."""
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # noqa: ARG005 - called by name
        elif parameter.metavar is None and parameter.is_flag:
            parameter.metavar = " "
    for below in getattr(command, "commands", {}).values():
        _show_no_types(below, ctx)


def report(outcome: Outcome, *, as_json: bool) -> None:
    """Says it: on standard error for a person, as the one document on standard output for a program."""
    from casemate.cli.output import console, json_text, printable

    if as_json:
        typer.echo(json_text(outcome.document()), nl=False)
        return
    stderr = console(stderr=True)
    stderr.print("error:", style="bold red", end=" ")
    stderr.print(printable(outcome.message), soft_wrap=True)
    if outcome.advice:
        stderr.print("next: ", style="bold cyan", end=" ")
        stderr.print(outcome.advice, soft_wrap=True)
