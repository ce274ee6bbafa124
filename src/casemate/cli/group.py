"""The command `casemate` as Typer runs it: errors end as a message and an exit code, never as a traceback."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from casemate.cli.errors import ExitCode, ExitReport, exit_report
from casemate.wire.errors import CasemateError

_FOLDERS = frozenset({"--state", "init"})
"""Words after which an empty path would mean the current folder, and files would be made there."""

AS_JSON = "casemate.json"
"""Key in a context's ``meta``: whether the command was asked for JSON."""


class CasemateGroup(TyperGroup):
    """All commands."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override] # as below
        """Refuses words that no command could make sense of."""
        if ctx.parent is None:
            _check_words(args)
            _prepare(self, ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # Typer's own Context
        """The names of the commands, without loading the commands as Typer would."""
        del ctx
        return list(self.commands)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override] # Typer's own Context
        """The command of that name, whose help says what to type and not which Python type it becomes."""
        found = super().get_command(ctx, cmd_name)
        if found is not None:
            _prepare(found, ctx)
        return found

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override] # Typer's own Context
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")  # a prefix of Pydantic's
            raise
        except BrokenPipeError:
            raise  # the reader has closed the pipe: Typer ends the process without a message
        except (CasemateError, OSError) as error:
            told = exit_report(error)
            report(told, as_json=bool(ctx.meta.get(AS_JSON)))
            raise typer.Exit(told.exit_code) from None
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
    """Whether an argument was UTF-8: Python puts a lone surrogate in place of each byte that was not."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _prepare(command: Any, ctx: typer.Context) -> None:
    """Changes what Typer does with a command's parameters, where Typer has no option for that."""
    for parameter in command.get_params(ctx):
        if hasattr(parameter, "get_runtime_param"):
            parameter.get_runtime_param = partial(_Coercion, parameter.get_runtime_param)
        # Typer names the type of each argument, and of each option without a metavar.
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # noqa: ARG005 - called by name
        elif parameter.metavar is None and parameter.is_flag:
            parameter.metavar = " "


@dataclass(frozen=True, slots=True)
class _Coercion:
    """Takes a value that needs no conversion as it is: Typer would load Pydantic even for an option not given."""

    typers: Callable[[], Any]

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        """The value as the command's function gets it."""
        wanted = param.type_descriptor.annotation
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if param.type_descriptor.parameter_info.parser is None and isinstance(wanted, type):
            if isinstance(value, wanted):
                return value
            # Typer refuses a file that is there and cannot be read; no command asks for its other checks.
            if wanted is Path and isinstance(value, str):
                path = Path(value)
                if not path.exists() or os.access(path, os.R_OK):
                    return path
        return self.typers().coerce(value, param=param, ctx=ctx)


def report(told: ExitReport, *, as_json: bool) -> None:
    """Prints the report: on standard error for a person, as one document on standard output for a program."""
    from casemate.cli.output import console, json_text, printable

    if as_json:
        typer.echo(json_text(told.document()), nl=False)
        return
    stderr = console(stderr=True)
    stderr.print("error:", style="bold red", end=" ")
    stderr.print(printable(told.message), soft_wrap=True)
    for line in str(told.details.get("excerpt", "")).splitlines():
        stderr.print(f"       {line}", style="dim", soft_wrap=True)
    if told.advice:
        stderr.print("next: ", style="bold cyan", end=" ")
        stderr.print(told.advice, soft_wrap=True)
