"""Sealed state on a whole machine: real chip, real host, real enclaves, and an owner who puts old disks back."""

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.older_disk import copied, put_back
from tests.rigs.workshop import SEED, Workshop, exact_policy
from typer.testing import CliRunner

from casemate.cli.app import app
from casemate.client import Client, EnclaveRefusedError, connect
from casemate.client.local import LocalMachine, NoMachineError, local_machine, start_supervisor
from casemate.client.sync import Enclave
from casemate.images.image import Image
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine

pytestmark = pytest.mark.machine

NOTES = {
    Engine.JAVASCRIPT: """
export function main({put, get, list, swap, drop, fail, only}, context) {
    const state = context.state;
    if (put) for (const [key, value] of Object.entries(put)) state.put(key, value);
    if (fail) throw new Error("after it has written");
    const said = {};
    if (swap) said.swapped = state.compareAndSet(...swap);
    if (drop) said.dropped = state.delete(drop);
    if (get) said.got = state.get(get) ?? null;
    if (list !== undefined) said.keys = state.list(list);
    return said;
}
""",
    Engine.PYTHON: """
def main(input, context):
    state = context.state
    for key, value in input.get("put", {}).items():
        state.put(key, value)
    if input.get("fail"):
        raise ValueError("after it has written")
    said = {}
    if "swap" in input:
        said["swapped"] = state.compare_and_set(*input["swap"])
    if "drop" in input:
        said["dropped"] = state.delete(input["drop"])
    if "get" in input:
        said["got"] = state.get(input["get"])
    if "list" in input:
        said["keys"] = state.list(input["list"])
    return said
""",
}
AVAILABLE = [Engine.JAVASCRIPT, *([Engine.PYTHON] if sys.platform == "linux" else [])]
NEXT = AVAILABLE[-1]
"""Another engine than JavaScript, where there is one."""
BY_SIGNER: dict[str, Any] = {"policy": "mrsigner", "recovery": "operator", "max_kib": 1024}


@contextmanager
def launched(machine: LocalMachine, image: Image) -> Iterator[tuple[Client, Enclave]]:
    """An enclave, attested, that ends with the block."""
    with connect(machine.host_socket) as client:
        number = client.launch(image)
        try:
            yield client, client.attest(number, exact_policy(machine, image))
        finally:
            client.destroy(number)


def notes(workshop: Workshop, engine: Engine = Engine.JAVASCRIPT, *, build: int = 0, **more: Any) -> Image:
    """Args: build: makes another one of the same code; more: of the state or of the image."""
    state = {key: more.pop(key, value) for key, value in BY_SIGNER.items()}
    return workshop.image(NOTES[engine] + "\n" * build, engine=engine, state=state, **more)


def call(enclave: Enclave, **asked: Any) -> tuple[Any, StateMark | None]:
    result = enclave.call("main", asked)
    return result.value, result.receipt.receipt.state


def refused(code: Code) -> pytest.RaisesExc[EnclaveRefusedError]:
    return pytest.RaisesExc(EnclaveRefusedError, check=lambda error: error.fault.code is code)


def casemate(machine: LocalMachine, *arguments: str) -> Any:
    """The command's JSON."""
    done = CliRunner().invoke(app, ["state", *arguments, "--json", "--state", str(machine.state)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_call_keeps_all_that_it_changes_or_nothing(workshop: Workshop, machine: LocalMachine, engine: Engine) -> None:
    with launched(machine, notes(workshop, engine, policy="mrenclave")) as (_, enclave):
        assert call(enclave, get="a") == ({"got": None}, StateMark(0, 0))
        assert call(enclave, put={"a": 1, "b": {"x": 2}}) == ({}, StateMark(1, 0))
        assert call(enclave, get="b") == ({"got": {"x": 2}}, StateMark(1, 0))
        assert call(enclave) == ({}, None)  # touched nothing
        with refused(Code.GUEST_ERROR):
            call(enclave, put={"a": 2}, fail=True)
        assert call(enclave, swap=["a", 1, 3], get="a") == ({"swapped": True, "got": 3}, StateMark(2, 0))
        assert call(enclave, swap=["a", 1, 4]) == ({"swapped": False}, StateMark(2, 0))
        assert call(enclave, drop="a", list="") == ({"dropped": True, "keys": ["b"]}, StateMark(3, 0))


def test_state_lasts_beyond_enclaves_and_machines(workshop: Workshop, tmp_path: Path) -> None:
    images = [notes(workshop, engine, product_id=number) for number, engine in enumerate(AVAILABLE)]
    secret = f"secret-{secrets.token_hex(16)}"
    folder = tmp_path / "machine"
    with local_machine(folder, seed=SEED) as machine:
        for image in images:
            with launched(machine, image) as (_, enclave):
                assert call(enclave, put={"a": 1, "b": {"x": secret}}) == ({}, StateMark(1, 0))
            with launched(machine, image) as (_, enclave):
                assert call(enclave, get="a", list="") == ({"got": 1, "keys": ["a", "b"]}, StateMark(1, 0))
    with local_machine(folder, seed=SEED) as machine:
        for image in images:
            with launched(machine, image) as (_, enclave):
                assert call(enclave, get="b") == ({"got": {"x": secret}}, StateMark(1, 0))
    for path in folder.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_versions_of_one_signer_read_upwards_and_other_builds_nothing(
    workshop: Workshop, own_machine: LocalMachine
) -> None:
    def version(number: int, engine: Engine = Engine.JAVASCRIPT, **more: Any) -> Image:
        return notes(workshop, engine, build=number, security_version=number, **more)

    with launched(own_machine, version(2)) as (_, enclave):
        call(enclave, put={"a": {"b": [1, "é"]}})
    with launched(own_machine, version(3, NEXT)) as (_, enclave):  # it is written anew in another language
        assert call(enclave, get="a", put={"b": 2}) == ({"got": {"b": [1, "é"]}}, StateMark(2, 0))
    with launched(own_machine, version(2)) as (_, enclave), refused(Code.STATE_REFUSED):
        call(enclave, get="a")
    mine = version(1, policy="mrenclave")
    with launched(own_machine, mine) as (_, enclave):
        call(enclave, put={"a": "mine"})
    with launched(own_machine, version(4, policy="mrenclave")) as (_, enclave):
        assert call(enclave, get="a") == ({"got": None}, StateMark(0, 0))
    with launched(own_machine, mine) as (_, enclave):
        assert call(enclave, get="a") == ({"got": "mine"}, StateMark(1, 0))


def test_an_older_disk_is_refused_and_its_owners_way_out_is_logged_and_shows(
    workshop: Workshop, tmp_path: Path
) -> None:
    image = notes(workshop)
    strict = notes(workshop, NEXT, recovery="never", product_id=2)
    folder, backup = tmp_path / "machine", tmp_path / "backup"

    def write(value: int) -> None:
        with local_machine(folder, seed=SEED) as machine:
            for each in (image, strict):
                with launched(machine, each) as (_, enclave):
                    call(enclave, put={"a": value})

    write(1)
    copied(folder / "host", backup)
    write(2)
    put_back(backup, folder / "host")
    with local_machine(folder, seed=SEED) as machine:
        with launched(machine, image) as (_, enclave), launched(machine, strict) as (_, never):
            for each in (enclave, never, enclave):
                with refused(Code.STATE_ROLLED_BACK):
                    call(each, get="a")
            states = casemate(machine, "show")["states"]
            assert {state["remark"] for state in states} == {"records are older than the anchor"}
            assert {(state["epoch"], state["host"]["newest_epoch"]) for state in states} == {(2, 1)}
            for state in states:
                casemate(machine, "accept-rollback", state["namespace"], "--reason", "the disk died")
            assert {state["remark"] for state in casemate(machine, "show")["states"]} == {"rollback accepted"}
            assert call(enclave, get="a") == ({"got": 1}, StateMark(3, 1))
            with refused(Code.STATE_ROLLED_BACK):
                call(never, get="a")
        with launched(machine, image) as (_, enclave):
            assert call(enclave, put={"a": 3}) == ({}, StateMark(4, 1))
    log = [json.loads(line) for line in (folder / "chip" / "audit.log").read_text().splitlines()]
    assert [(line["what"], line["details"], line["epoch"]) for line in log] == [
        ("rollback accepted", "the disk died", 2)
    ] * 2
    assert {line["namespace"] for line in log} == {state["namespace"] for state in states}


def test_given_up_state_never_comes_back_from_an_old_disk(workshop: Workshop, tmp_path: Path) -> None:
    image = notes(workshop)
    folder = tmp_path / "machine"
    with local_machine(folder, seed=SEED) as machine:
        with launched(machine, image) as (_, enclave):
            call(enclave, put={"a": "old"})
        (state,) = casemate(machine, "show")["states"]
        asked = CliRunner().invoke(
            app,
            ["state", "give-up", state["namespace"], "--reason", "x", "--state", str(machine.state)],
            input="n\n",
        )
        assert asked.exit_code == 1
        assert "lost for good" in asked.stderr
        given = casemate(machine, "give-up", state["namespace"], "--reason", "not used", "--yes")
        assert given == {"namespace": state["namespace"], "epoch": 2}
        assert casemate(machine, "show")["states"][0]["remark"] == "no anchor: never committed, or given up"
        with launched(machine, image) as (_, enclave):
            assert call(enclave, get="a", put={"b": 1}) == ({"got": None}, StateMark(3, 1))
    log = [json.loads(line) for line in (folder / "chip" / "audit.log").read_text().splitlines()]
    assert [(line["what"], line["details"]) for line in log] == [("anchor given up", "not used")]


def test_lost_chip_is_not_taken_for_a_new_one(workshop: Workshop, tmp_path: Path) -> None:
    image = notes(workshop)
    folder = tmp_path / "machine"
    with local_machine(folder) as machine, launched(machine, image) as (_, enclave):
        call(enclave, put={"a": "old"})
    shutil.rmtree(folder / "chip")
    with pytest.raises(NoMachineError, match=r"has lost .*chip/fuses.bin.*--accept-loss REASON"), local_machine(folder):
        pass
    supervisor = start_supervisor(["--state", str(folder), "--accept-loss", "the disk died"])
    supervisor.end()
    with local_machine(folder) as machine, launched(machine, image) as (_, enclave):
        assert call(enclave, get="a") == ({"got": None}, StateMark(0, 0))
        assert casemate(machine, "show") == {"states": []}
    log = [json.loads(line) for line in (folder / "chip" / "audit.log").read_text().splitlines()]
    assert [(line["what"], line["details"]) for line in log] == [("begun anew with another chip", "the disk died")]


def test_a_state_that_is_not_there_cannot_be_forgiven(own_machine: LocalMachine) -> None:
    done = CliRunner().invoke(
        app, ["state", "accept-rollback", "00" * 32, "--reason", "x", "--state", str(own_machine.state)]
    )
    assert done.exit_code != 0
    assert "no anchor of a state" in done.stderr
    assert not (own_machine.state / "chip" / "audit.log").exists()
    assert casemate(own_machine, "show") == {"states": []}


SEALS = {
    Engine.JAVASCRIPT: """
export function main({seal, policy, open}, context) {
    return open === undefined ? context.seal(seal, policy) : context.unseal(open);
}
""",
    Engine.PYTHON: """
def main(input, context):
    return context.unseal(input["open"]) if "open" in input else context.seal(input["seal"], input["policy"])
""",
}


def test_seals_open_for_their_identity_alone(workshop: Workshop, machine: LocalMachine, engine: Engine) -> None:
    one, other = (workshop.image(SEALS[engine] + "\n" * number, engine=engine) for number in range(2))
    with launched(machine, one) as (_, enclave):
        mine, ours = (
            enclave.call("main", {"seal": {"x": "a secret"}, "policy": policy}).value
            for policy in ("mrenclave", "mrsigner")
        )
        assert enclave.call("main", {"open": mine}).value == {"x": "a secret"}
    with launched(machine, other) as (_, enclave):
        assert enclave.call("main", {"open": ours}).value == {"x": "a secret"}
        for text in (mine, ours[:-8] + "AAAAAAA=", "no seal", ""):
            with refused(Code.STATE_REFUSED):
                enclave.call("main", {"open": text})
