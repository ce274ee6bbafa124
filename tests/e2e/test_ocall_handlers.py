"""The operator's own answers to OCALLs, from a function through every process to the module and back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.command_line import casemate_here, measure_once
from tests.rigs.docs.markdown import ROOT
from tests.rigs.workshop import ANYTHING_OUT, SEED, Workshop, exact_policy

from casemate.client import Client, Enclave, connect
from casemate.client.local import LocalMachine, NoMachineError, local_machine
from casemate.images.image import Image

ASKS = (
    "export async function main({ocall, argument}, context) {"
    " try { return {said: context.ocall(ocall, argument)}; } catch (error) { return {refused: error.message}; } }"
)
TEXT = {"type": "string"}
RATE = {
    "type": "object",
    "properties": {"rate": {"type": "number"}},
    "required": ["rate"],
    "additionalProperties": False,
}
PRICE = {"type": "object", "properties": {"price": {"type": ["number", "null"]}}}
OCALLS = {"rates": {"input": TEXT, "output": RATE}, "price": {"input": TEXT, "output": PRICE}} | {
    name: {"input": ANYTHING_OUT, "output": RATE} for name in ("wrong", "dies", "missing")
}
MORE = """
import os

def wrong(argument):
    return {"rate": "high", "secret": "the operator's"}

def dies(argument):
    os._exit(9)
"""


def page() -> str:
    """The module that the documentation shows."""
    (source,) = re.findall(
        r"```python\n(# handlers\.py\n.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL
    )
    return str(source)


@pytest.fixture(scope="module")
def image(workshop: Workshop) -> Image:
    return workshop.image(ASKS, ocalls=OCALLS, time_ms=20_000)  # that of a new process, on a busy computer


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[LocalMachine]:
    """A machine whose operator has handlers."""
    folder = tmp_path_factory.mktemp("operator")
    module = folder / "handlers.py"
    module.write_text(re.sub(r'^MINE = ".*"$', f'MINE = "{image.mr_enclave.hex()}"', page(), flags=re.MULTILINE) + MORE)
    with local_machine(folder / "state", seed=SEED, ocalls=module) as machine:
        yield machine


@pytest.fixture
def enclave(operated: LocalMachine, image: Image) -> Iterator[Enclave]:
    with connect(operated.host_socket) as client:
        yield launched(client, operated, image)


def launched(client: Client, machine: LocalMachine, image: Image) -> Enclave:
    return client.attest(client.launch(image), exact_policy(machine, image))


def asked(enclave: Enclave, ocall: str, argument: object) -> object:
    return enclave.call("main", {"ocall": ocall, "argument": argument}).value


def test_functions_and_coroutines_of_the_operator_answer(enclave: Enclave, operated: LocalMachine) -> None:
    assert asked(enclave, "rates", "usd") == {"said": {"rate": 1.08}}
    assert asked(enclave, "price", "coffee") == {"said": {"price": 12.5}}
    assert operated.status.ocalls == ("dies", "price", "rates", "wrong")
    assert operated.status.ocalls_module.endswith("handlers.py")
    assert operated.status.pid("handlers")


def test_a_handler_can_refuse_another_image(operated: LocalMachine, workshop: Workshop) -> None:
    other = workshop.image(f"{ASKS} // another", ocalls=OCALLS)
    with connect(operated.host_socket) as client:
        assert "refused" in str(asked(launched(client, operated, other), "price", "coffee"))
    assert "PermissionError: not the enclave that I pay for" in (operated.state / "ocalls.log").read_text()


@pytest.mark.parametrize(
    ("ocall", "log", "words"),
    [
        ("rates", "ocalls.log", "KeyError: 'gbp'"),
        ("wrong", "ocalls.log", "the answer does not fit the manifest's schema: /"),
        ("missing", "host/host.log", "this host has no OCALL 'missing'"),
        ("dies", "machine.log", "the handlers ended with 9"),
    ],
)
def test_what_goes_wrong_is_the_operators_to_know(
    enclave: Enclave, operated: LocalMachine, ocall: str, log: str, words: str
) -> None:
    assert asked(enclave, ocall, "gbp") == {
        "refused": f"the host refuses OCALL '{ocall}'; Casemate's own hosts answer echo, log, time, and what their "
        "operator adds with --ocalls"
    }
    assert asked(enclave, "rates", "chf") == {"said": {"rate": 0.94}}  # the others go on, and a new process answers
    assert words in (operated.state / log).read_text()


def test_the_machines_log_is_shown_with_that_of_its_handlers(enclave: Enclave, operated: LocalMachine) -> None:
    asked(enclave, "rates", "gbp")
    document = casemate_here("logs", "--state", operated.state, "--json").json
    told = [entry["text"] for entry in document["entries"] if entry["source"] == "ocalls"]
    assert told[-1] == "    KeyError: 'gbp'"
    assert any(text.startswith(f"OCALL rates of enclave {enclave.number} ") for text in told)
    assert not [text for text in told if "answers" in text]
    assert document["entries"] == sorted(document["entries"], key=lambda entry: str(entry["at"]))
    document = casemate_here("logs", enclave.number, "--state", operated.state, "--json").json
    assert {entry["source"] for entry in document["entries"]} == {"enclave"}


def test_a_machine_whose_handlers_do_not_load_does_not_start(tmp_path: Path) -> None:
    module = tmp_path / "handlers.py"
    module.write_text("import not_installed\n")
    with (
        pytest.raises(NoMachineError, match=r"handlers\.py.*line 1.*\n.*\nModuleNotFoundError: No module named"),
        local_machine(tmp_path / "state", seed=SEED, ocalls=module),
    ):
        pass


def test_the_starters_ocall_is_refused_without_its_handlers_and_answered_with_them(
    machine: LocalMachine, developer_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the command advises where a host has no answer is done, with what `casemate init` has written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(developer_home))
    measure_once(monkeypatch)
    folder = tmp_path / "rating"
    assert casemate_here("init", folder).code == 0
    manifest, main = folder / "casemate.toml", folder / "guest" / "main.js"
    text = manifest.read_text()
    start = text.index("# [ocall.minimum_length]")
    table = text[start:].split("\n\n")[0]
    manifest.write_text(text.replace(table, table.replace("# ", "")))
    asking = '// const longEnough = input.password.length >= context.ocall("minimum_length", null); // see handlers.py'
    assert asking in main.read_text()
    main.write_text(main.read_text().replace(asking, asking.removeprefix("// ")))
    words = ("run", folder, "--input", folder / "input.json", "--json", "--state")
    refused = casemate_here(*words, machine.state, "--seed", SEED)
    assert (refused.code, refused.error["code"]) == (4, "ocall-refused")
    assert "`--ocalls FILE` of `casemate up`, `run`, `dev` and `test`" in refused.error["next"]
    answered = casemate_here(*words, tmp_path / "state", "--ocalls", folder / "handlers.py")
    assert (answered.code, answered.json["result"]["verdict"]) == (0, "strong")
