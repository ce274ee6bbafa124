"""Commands whose modules are imported when they are used: one command's start does not pay for the others."""

import inspect
from collections import UserDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from casemate.cli.group import CasemateGroup


@dataclass(frozen=True, slots=True)
class Command:
    """One command: a function of its own name in a module of :mod:`casemate.cli.commands`."""

    panel: str
    """Under which heading `--help` lists it."""
    module: str

    def load(self, name: str) -> Any:
        """The command as Typer runs it."""
        alone = typer.Typer(
            add_completion=False,
            rich_markup_mode="rich",
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        alone.command(name=name, rich_help_panel=self.panel)(self._function(name))
        return typer.main.get_command(alone)

    def summary(self, name: str) -> Any:
        """The command for the list of commands: without its parameters, which take longest to build."""
        return TyperCommand(name, help=inspect.getdoc(self._function(name)), rich_help_panel=self.panel)

    def _function(self, name: str) -> Any:
        return getattr(import_module(f"casemate.cli.commands.{self.module}"), name)


@dataclass(frozen=True, slots=True)
class Family:
    """Commands with a common first word: the ``app`` of the module of that name."""

    panel: str
    help: str
    """One line for the list of commands."""

    def load(self, name: str) -> Any:
        """The group as Typer runs it."""
        whole = typer.Typer(add_completion=False, rich_markup_mode="rich")
        whole.add_typer(
            import_module(f"casemate.cli.commands.{name}").app,
            name=name,
            cls=CasemateGroup,
            help=self.help,
            rich_help_panel=self.panel,
        )
        group = typer.main.get_command(whole)
        return group.commands[name] if isinstance(group, TyperGroup) else group

    def summary(self, name: str) -> Any:
        """The group for the list of commands: its module is not imported."""
        return TyperGroup(name=name, help=self.help, rich_help_panel=self.panel)


class OnDemand(UserDict[str, Any]):
    """Commands by name, in the order of their listing; each is loaded when it is looked up."""

    def __init__(self, listed: Mapping[str, Command | Family], loaded: Mapping[str, Any]) -> None:
        super().__init__({**listed, **loaded})
        self._listed = listed

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, Command | Family):
            found = self.data[name] = found.load(name)
        return found

    def summaries(self) -> dict[str, Any]:
        """The summary of each command, for the list of commands."""
        return {
            name: self._listed[name].summary(name) if name in self._listed else command
            for name, command in self.data.items()
        }
