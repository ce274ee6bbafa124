"""`casemate logs`: what debug enclaves print, and what happens on a machine."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from tests.rigs.served_commands import PATIENCE, casemate, said
from tests.rigs.workshop import PolicyFor, Workshop

from casemate.client import Client, connect
from casemate.client.local import LocalMachine
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

PRINTS = {
    Engine.JAVASCRIPT: "export function main(input) { console.log(input); return null; }",
    Engine.PYTHON: "def main(input, context):\n    print(input)\n",
}


FIRST = {Engine.JAVASCRIPT: ["first\\nwith\\x1b[31m"], Engine.PYTHON: ["first", "with\\x1b[31m"]}
"""The lines that a text of two prints: ``console.log`` makes one of each call, ``print`` writes to a stream of text."""


def test_lines_and_events_are_shown_and_followed(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    image = replace(workshop.image(PRINTS[engine], engine=engine, debug=True), name="talks")
    number = client.launch(image)
    enclave = client.attest(number, replace(policy_for(image), debug="UNSAFE_ALLOW_DEBUG"))
    enclave.call("main", "first\nwith\x1b[31m")
    with casemate("logs", number, "--state", machine.state) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    lines = [line.split("  ", 1)[1] for line in out.splitlines()]
    who = f"enclave {number}".ljust(10)
    assert lines == [f"{who}  talks is running", *(f"{who}  | {line}" for line in FIRST[engine])]

    with casemate("logs", "-f", "talks", "--state", machine.state, "--json") as process:
        assert process.stdout is not None
        entries = [json.loads(process.stdout.readline()) for _ in lines]
        assert [entry["source"] for entry in entries] == ["enclave", *("console" for _ in FIRST[engine])]
        enclave.call("main", "second")
        entry = json.loads(process.stdout.readline())
        assert (entry["enclave"], entry["text"]) == (number, "second")
        client.destroy(number)
        assert json.loads(process.stdout.readline())["text"] == "talks is destroyed"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (130, "")
    code, document = said("logs", "--state", machine.state)
    assert code == 0
    assert {entry["text"] for entry in document["entries"]} >= {"talks is running", "second", "talks is destroyed"}


def test_what_other_enclaves_print_stays_inside(
    workshop: Workshop, engine: Engine, client: Client, policy_for: PolicyFor, machine: LocalMachine
) -> None:
    image = replace(workshop.image(PRINTS[engine], engine=engine), name="discreet")
    number = client.launch(image)
    client.attest(number, policy_for(image)).call("main", "a secret")
    client.destroy(number)
    _, document = said("logs", number, "--state", machine.state)
    assert [entry["text"] for entry in document["entries"]] == ["discreet is running", "discreet is destroyed"]
    assert "a secret" not in (machine.state / "host" / "host.log").read_text()


def test_a_host_that_is_started_anew_is_followed_on(own_machine: LocalMachine) -> None:
    def host() -> int:
        _, status = said("status", "--state", own_machine.state)
        return next(int(each["pid"]) for each in status["processes"] if each["name"] in ("host", "gateway"))

    first = host()
    with casemate("logs", "-f", "--state", own_machine.state, "--json") as process:
        assert process.stdout is not None
        with connect(own_machine.host_socket) as client:
            client.enclaves()
        os.kill(first, signal.SIGKILL)
        entry = json.loads(process.stdout.readline())
        assert entry["source"] == "machine"
        assert entry["enclave"] is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)


def test_an_unknown_name_and_a_machine_that_is_not_there_are_told(machine: LocalMachine, tmp_path: Path) -> None:
    code, document = said("logs", "nobody", "--state", machine.state)
    assert (code, document["error"]["code"]) == (4, "unknown-enclave")
    code, document = said("logs", "--state", tmp_path / "none")
    assert (code, document["error"]["kind"]) == (1, "NoMachineError")
