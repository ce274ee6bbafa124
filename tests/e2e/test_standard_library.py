"""Python's standard library inside confined guests: each use of it works, or raises an ordinary exception."""

import sys

import pytest
from tests.rigs.standard_library_probes import WORKS, has, probes
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import connect
from casemate.client.local import LocalMachine
from casemate.images.functions.python.standard_library import is_absent
from casemate.wire.protocol.manifest import Engine

pytestmark = [
    pytest.mark.machine,
    pytest.mark.skipif(sys.platform != "linux", reason="Python guests need Linux's layers"),
]

PROBES = probes()
WHEN = ("at launch", "in a call")
SOURCE = f"""
import importlib
import sys

PROBES = {[probe.code for probe in PROBES]!r}


def outcome(use, *arguments):
    try:
        use(*arguments)
    except BaseException as error:
        return f"{{type(error).__name__}}: {{error}}"
    return {WORKS!r}


def probed():
    return [outcome(exec, compile(code, "probe", "exec"), {{"__name__": "probe"}}) for code in PROBES]


def imported():
    return {{name: outcome(importlib.import_module, name) for name in sorted(sys.stdlib_module_names)}}


AT_LAUNCH = [probed(), imported()]


def main(input, context):
    return AT_LAUNCH if input == "at launch" else [probed(), imported()]
"""
"""Runs all probes while it is loaded, in the process that guests are copies of, and again in a call."""


@pytest.fixture(scope="module")
def outcomes(machine: LocalMachine, workshop: Workshop) -> dict[str, tuple[list[str], dict[str, str]]]:
    """What became of each probe, and of the import of each module, by when it was tried."""
    image = workshop.image(SOURCE, engine=Engine.PYTHON, memory_mib=128, time_ms=20_000, output_kib=512)
    with connect(machine.host_socket) as client:
        enclave = client.attest(client.launch(image), exact_policy(machine, image))
        told = {when: tuple(enclave.call("main", when).value) for when in WHEN}
        client.destroy(enclave.number)
    return told


@pytest.mark.parametrize("when", WHEN)
def test_each_use_works_or_raises_what_is_expected(
    outcomes: dict[str, tuple[list[str], dict[str, str]]], when: str
) -> None:
    probed, _ = outcomes[when]
    wrong = [
        f"{probe.code}\n    has the outcome {got!r}, and not {probe.outcome!r}"
        for probe, got in zip(PROBES, probed, strict=True)
        if not has(got, probe)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("when", WHEN)
def test_each_module_can_be_imported_or_is_known_to_be_absent(
    outcomes: dict[str, tuple[list[str], dict[str, str]]], when: str
) -> None:
    _, imported = outcomes[when]
    absent = "ModuleNotFoundError: {} is a module of the standard library that is not there inside an enclave"
    assert {
        name: outcome
        for name, outcome in imported.items()
        if outcome != (absent.format(name) if is_absent(name) else WORKS)
        and not name.startswith("_")  # modules of Python's own use
        and name not in sys.builtin_module_names  # always there
    } == {}
