import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.command_line import Casemate
from typer.main import get_command

from casemate.cli.app import app
from casemate.cli.errors import ExitCode
from casemate.verifier import SgxPolicy
from casemate.verifier.demands import members_of

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
TEXT = PAGE.read_text()
EVERYWHERE = {"--help", "-h"}


def _commands(command: Any, path: str = "casemate") -> Iterator[tuple[str, Any]]:
    """Every command that can be typed, with its words."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from _commands(inner, f"{path} {name}")


COMMANDS = dict(_commands(get_command(app)))


def _sections() -> dict[str, str]:
    """The text below each command's heading."""
    parts = re.split(r"^### (casemate [a-z -]+)$", TEXT, flags=re.MULTILINE)
    return {
        name: re.split(r"^## ", text, flags=re.MULTILINE)[0]
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_every_command_is_documented_and_no_other() -> None:
    assert set(_sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    options = {text for param in COMMANDS[name].params for text in param.opts if text.startswith("-")}
    rows = re.findall(r"^\| (`-[^|]*`) \|", _sections()[name], flags=re.MULTILINE)
    documented = {text for row in rows for text in re.findall(r"`(-[^`]+)`", row)}
    assert documented == options - EVERYWHERE


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"casemate help"}))  # which is for people
def test_every_command_takes_json(name: str) -> None:
    assert "--json" in {text for param in COMMANDS[name].params for text in param.opts}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for param in command.params:
        if not EVERYWHERE & set(param.opts):
            assert getattr(param, "help", None), param.name


def test_every_exit_code_is_documented() -> None:
    for code in ExitCode:
        assert f"| {int(code)} |" in TEXT


def test_every_member_and_word_of_a_policy_is_documented() -> None:
    section = TEXT.split("## Policies")[1]
    for member in members_of(SgxPolicy):
        assert f"`{member.name}`" in section
        assert all(f'`"{word}"`' in section for word in member.words)


def _helps() -> Iterator[str]:
    yield ""
    yield from (name.removeprefix("casemate ") for name in COMMANDS)
    yield from {name.split(" ")[1] for name in COMMANDS if name.count(" ") > 1}


@pytest.mark.parametrize("words", sorted(_helps()))
def test_help_says_what_to_type_and_not_which_python_type_it_becomes(words: str, casemate: Casemate) -> None:
    shown = casemate(*words.split(), "--help")
    assert shown.code == 0
    assert "Show this message and exit." in shown.out
    assert not re.search(r"<(bool|str|path|int|float)\b", shown.out)
