import subprocess
import sys
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.cli.app import app
from casemate.wire.errors import CasemateError

_TELL = """
import sys
from casemate.cli.main import main
sys.argv = ["casemate", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
sys.stdout.flush()
print(*sorted(sys.modules), sep="\\n", file=sys.stderr)
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command of that line has imported when it is done."""
    code = _TELL.format(arguments=arguments)
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())


def test_the_version_is_told_without_loading_a_command_line() -> None:
    loaded = loaded_by("--version")
    assert not loaded & {"typer", "rich", "pydantic", "casemate.cli.app", "dataclasses"}


@pytest.mark.parametrize("arguments", [("verify", "--help"), ("vm", "run", "--help"), ("version", "--json")])
def test_a_command_loads_no_more_than_it_uses(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    heavy = {"pydantic", "cryptography", "asyncio", "tree_sitter", "jsonschema_rs", "deno", "unicorn", "httpcore"}
    assert not loaded & heavy
    if "--json" in arguments:
        assert "rich" not in loaded
    commands = {name.rpartition(".")[2] for name in loaded if name.startswith("casemate.cli.commands.")}
    assert commands == {"verify": {"verify"}, "vm": {"vm"}, "version": {"version"}}[arguments[0]]


def test_the_list_of_commands_builds_none_of_them() -> None:
    loaded = loaded_by("--help")
    assert "casemate.cli.commands.build" in loaded  # whose docstring says what it does
    assert "casemate.cli.commands.vm" not in loaded
    assert not loaded & {"pydantic", "cryptography", "asyncio"}


def test_help_names_every_family(casemate: Casemate) -> None:
    said = casemate("--help")
    assert said.code == 0
    for word in ("Images", "Calls", "Evidence", "Machine", "This computer", "receipt", "machine"):
        assert word in said.out


def test_no_command_is_a_question_for_help(casemate: Casemate) -> None:
    assert casemate().code == 2


@pytest.mark.parametrize("arguments", [("--version",), ("-V",), ("version",)])
def test_tells_its_version(casemate: Casemate, arguments: tuple[str, ...]) -> None:
    said = casemate(*arguments)
    assert said.code == 0
    assert "0.1.0" in said.out


def test_version_as_json(casemate: Casemate) -> None:
    assert casemate("version", "--json").json["casemate"] == "0.1.0"


@pytest.mark.parametrize("arguments", [("nonsense",), ("build",), ("build", ".", "--nonsense"), ("receipt", "x")])
def test_wrong_usage_is_exit_code_2(casemate: Casemate, arguments: tuple[str, ...]) -> None:
    assert casemate(*arguments).code == 2


def test_completion_is_offered(casemate: Casemate) -> None:
    assert "--show-completion" in casemate("--help").out


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (CasemateError("no"), 1), (OSError(28, "No space left on device"), 1)],
)
def test_no_error_ends_as_a_traceback(
    casemate: Casemate, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(_path: object) -> None:
        raise error

    monkeypatch.setattr("casemate.client.local.running_machine", fail)
    said = casemate("ps")
    assert said.code == code
    assert "Traceback" not in said.out + said.err


def test_an_error_is_the_one_document_where_json_was_asked_for(casemate: Casemate) -> None:
    said = casemate("ps", "--json")
    assert said.code == 1
    assert said.error["kind"] == "NoMachineError"
    assert said.error["exit_code"] == 1
    assert "casemate up" in said.error["message"]
    assert said.err == ""


def test_defects_are_not_hidden(monkeypatch: pytest.MonkeyPatch, casemate: Casemate) -> None:
    def fail(_path: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("casemate.client.local.running_machine", fail)
    with pytest.raises(ZeroDivisionError):
        casemate("ps")


def test_the_app_has_no_pretty_tracebacks_that_would_show_secrets() -> None:
    assert app.pretty_exceptions_enable is False


def test_help_is_a_command_too(casemate: Casemate) -> None:
    for words in ((), ("run",), ("vm", "run"), ("receipt",)):
        assert casemate("help", *words).out.strip() == casemate(*words, "--help").out.strip()
    assert casemate("help", "vm", "nonsense").code == 2
    assert casemate("help", "run", "nonsense").code == 2


def test_the_documents_are_at_hand(casemate: Casemate) -> None:
    pages = casemate("docs", "--json").json["pages"]
    assert pages["simulated"] == "What is simulated"
    assert casemate("docs", "simulated").out.startswith("# What is simulated\n")
    assert casemate("docs", "docs/simulated.md", "--json").json["markdown"].startswith("# What is simulated\n")
    unknown = casemate("docs", "../README", "--json")
    assert (unknown.code, unknown.error["kind"]) == (5, "NoDocumentsError")
    assert "simulated" in unknown.error["message"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("vm", "launch", "hello", "--mode", "snp"), "'snp' is not one of 'sev', 'sev-es', 'sev-snp', 'authenticated'"),
        (("call", "1", "x", "-i", "-", "--tee", "sev"), "'sev' is not one of 'sgx', 'snp'"),
    ],
)
def test_a_word_that_is_none_is_answered_with_those_there_are(
    casemate: Casemate, arguments: tuple[str, ...], words: str
) -> None:
    said = casemate(*arguments)
    assert said.code == 2
    assert words in said.err
    assert "Value error" not in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("up", "--state", ""), "the folder behind --state is empty"),
        (("up", "--state="), "the folder behind --state is empty"),
        (("init", ""), "the folder behind init is empty"),
        (("up", "--seed", "x\udcff"), "neither UTF-8 nor the name of a file"),
        (("up", "--accept-loss", "x\udcff"), "neither UTF-8 nor the name of a file"),
        (("init", "a\tb"), "cannot be shown or typed"),
        (("init", "a\x1b[2J"), "cannot be shown or typed"),
    ],
)
def test_words_that_no_command_can_make_sense_of_are_refused_at_once(
    casemate: Casemate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    said = casemate(*arguments)
    assert said.code == 2
    assert words in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_file_whose_name_is_not_utf_8_can_be_named(casemate: Casemate, tmp_path: Path) -> None:
    odd = tmp_path / "odd\udcff.json"
    odd.write_text("{}")
    assert "neither UTF-8" not in casemate("inspect", odd).err


@pytest.mark.parametrize(
    ("address", "words"),
    [("localhost", "is no address"), ("127.0.0.1:8804", "--bind 127.0.0.1 --port 8804"), ("", "is no address")],
)
def test_an_address_to_listen_at_that_is_none_is_wrong_usage(casemate: Casemate, address: str, words: str) -> None:
    said = casemate("up", "--dev", "--bind", address)
    assert said.code == 2
    assert words in " ".join(said.err.replace("│", " ").split())
