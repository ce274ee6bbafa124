"""A machine whose processes die is there again: the same socket, the same numbers, fresh keys; and it ends in order."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.process_tree import descendants, is_alive
from tests.rigs.served_commands import PATIENCE, SLOW, casemate, said, up
from tests.rigs.workshop import Workshop, exact_policy

from casemate.client import Client, HostRefusedError, connect
from casemate.client.local import (
    LocalMachine,
    NoMachineError,
    local_machine,
    running_machine,
    start_supervisor,
    wait_for_end,
)
from casemate.link.errors import PeerGoneError
from casemate.process.places import control_socket
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.lifecycle import State

pytestmark = pytest.mark.machine


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def launched(machine: LocalMachine, workshop: Workshop, client: Client) -> int:
    """A deployment that has answered a call."""
    image = workshop.image(SLOW, time_ms=5000)
    number = client.launch(image)
    assert client.attest(number, exact_policy(machine, image)).call("main", 1).value == 1
    return number


def answers(machine: LocalMachine, workshop: Workshop, number: int) -> bool:
    """The enclave has its number still, and another launch's keys.

    Whoever connects waits for the next host; who still gets in at one that is dying is told so, and asks again.
    """
    image = workshop.image(SLOW, time_ms=5000)
    try:
        with connect(machine.host_socket) as client:
            return bool(client.attest(number, exact_policy(machine, image)).call("main", 2).value == 2)
    except (HostRefusedError, PeerGoneError):
        return False


@pytest.mark.parametrize("victims", [("host_pid",), ("chip_pid",), ("host_pid", "chip_pid", "host_pid")])
def test_what_dies_is_started_anew_with_its_deployments(
    tmp_path: Path, workshop: Workshop, victims: Sequence[str]
) -> None:
    with up(tmp_path / "machine") as (machine, _):
        with connect(machine.host_socket) as client:
            first, stopped = launched(machine, workshop, client), launched(machine, workshop, client)
            client.stop(stopped)
        for victim in victims:
            os.kill(getattr(running_machine(machine.state).status, victim), signal.SIGKILL)
            until(lambda: answers(machine, workshop, first))
        with connect(machine.host_socket) as client:
            assert {each.enclave: each.state for each in client.enclaves()} == {
                first: State.RUNNING,
                stopped: State.STOPPED,
            }
        code, status = said("status", "--state", machine.state)
        assert code == 0
        host = next(process for process in status["processes"] if process["name"] == "host")
        assert host["restarts"] == len(victims)
        assert "SIGKILL" in "".join(process["last_death"] or "" for process in status["processes"])
        assert "started anew" in (machine.state / "machine.log").read_text()


def test_deployments_outlive_the_machine_and_are_the_next_ones_of_up_alone(tmp_path: Path, workshop: Workshop) -> None:
    state = tmp_path / "machine"
    with up(state) as (machine, _), connect(machine.host_socket) as client:
        number = launched(machine, workshop, client)
        errand = client.launch(workshop.image(SLOW), temporary=True)
    with local_machine(state) as passing, connect(passing.host_socket) as client:
        assert client.enclaves() == ()
        launched(passing, workshop, client)
    with up(state) as (machine, _):
        assert answers(machine, workshop, number)
        with connect(machine.host_socket) as client:
            assert errand not in [each.enclave for each in client.enclaves()]
            assert len(client.enclaves()) == 1


def test_a_drain_lets_a_call_under_way_finish_and_nobody_in(tmp_path: Path, workshop: Workshop) -> None:
    with up(tmp_path / "machine") as (machine, process), connect(machine.host_socket) as client:
        image = workshop.image(SLOW, time_ms=5000)
        enclave = client.attest(client.launch(image), exact_policy(machine, image))
        ending = threading.Timer(0.5, lambda: process.send_signal(signal.SIGTERM))
        ending.start()
        assert enclave.call("main", 2500).value == 2500
        ending.join()
        assert process.wait(PATIENCE) == 0
        assert wait_for_end(machine.state, 0)


def test_a_second_signal_waits_for_nothing(tmp_path: Path, workshop: Workshop) -> None:
    with up(tmp_path / "machine") as (machine, process), connect(machine.host_socket) as client:
        image = workshop.image(SLOW, time_ms=30_000)
        enclave = client.attest(client.launch(image), exact_policy(machine, image))
        calling = threading.Thread(target=_call, args=(enclave, 25_000))
        calling.start()
        time.sleep(0.5)  # the call is under way: nothing tells when
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - began < 8
        calling.join(PATIENCE)


def _call(enclave: Any, milliseconds: int) -> None:
    with pytest.raises(CasemateError):
        enclave.call("main", milliseconds)


def test_a_state_directory_has_one_machine(tmp_path: Path) -> None:
    with up(tmp_path / "machine") as (machine, _):
        code, answer = said("up", "--state", machine.state, "--no-gateway")
        assert code == 1
        assert answer["error"]["kind"] == "MachineRunsError"
        assert str(machine.status.supervisor_pid) in answer["error"]["message"]
        assert running_machine(machine.state).status.supervisor_pid == machine.status.supervisor_pid
        with connect(machine.host_socket) as client:
            assert client.enclaves() == ()


def test_down_ends_a_machine_and_is_content_where_none_runs(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    code, started = said("up", "--state", state, "--no-gateway", "--detach")
    assert code == 0
    below = descendants(started["pids"]["supervisor"])
    assert said("down", "--state", state) == (0, {"ended": True, "state": str(state), "unset": None})
    assert not [command for pid, command in below.items() if is_alive(pid)]
    assert not control_socket(state).exists() or wait_for_end(state, 0)
    assert said("down", "--state", state) == (0, {"ended": False, "state": str(state), "unset": None})
    audit = [json.loads(line)["what"] for line in (state / "audit.jsonl").read_text().splitlines()]
    assert audit == ["up", "EndMachine", "down"]


def test_a_machine_for_development_leaves_nothing() -> None:
    with casemate("up", "--dev", "--no-gateway", "--json") as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        state = Path(json.loads(text)["state"])
        assert state.stat().st_mode & 0o777 == 0o700
        assert running_machine(state).state == state
        os.kill(running_machine(state).status.supervisor_pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == 1  # the waiting command cleans up after a supervisor that was killed
        assert not state.exists()
    with casemate("up", "--dev", "--no-gateway", "--json") as process:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line == "}\n":
                break
        state = Path(json.loads(text)["state"])
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        until(lambda: not state.exists())


def test_a_port_that_is_taken_and_a_folder_that_is_no_folder_are_refused_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, answer = said("up", "--state", tmp_path / "one", "--port", taken.getsockname()[1])
    assert code == 1
    assert "somebody listens there already" in answer["error"]["message"]
    (tmp_path / "file").write_text("not a folder")
    code, answer = said("up", "--state", tmp_path / "file", "--no-gateway")
    assert code == 1
    assert str(tmp_path / "file") in answer["error"]["message"]


def test_a_damaged_catalogue_ends_the_machine_and_is_named(tmp_path: Path) -> None:
    host = tmp_path / "machine" / "host"
    host.mkdir(mode=0o700, parents=True)
    (host / "catalogue.db").write_bytes(b"no database " * 1000)
    with casemate("up", "--state", tmp_path / "machine", "--no-gateway") as process:
        _, complaint = process.communicate(timeout=2 * PATIENCE)
        assert process.returncode == 1
    assert "the host ended with 1; its last words: " in complaint
    assert "catalogue.db: file is not a database" in complaint


def test_machine_made_under_a_wrong_clock_says_so_and_is_renewed(tmp_path: Path) -> None:
    """Its maker and its chip were certified in 2031; the clock is right now."""
    folder = tmp_path / "machine"
    words = [sys.executable, "-I", "-m", "casemate.makers", "--state", str(folder), "init", "--now"]
    subprocess.run([*words, "2031-01-01T00:00:00Z"], check=True, capture_output=True, timeout=60)
    with local_machine(folder) as machine:
        assert "before the maker's root certificate becomes valid (2030-12-31" in machine.status.clock
        assert "`casemate machine renew`" in machine.status.clock
        said = machine.renew()
        assert said.startswith("all certificates are valid now; policies must name the root ")
        now = running_machine(folder)
        assert now.status.clock == ""
        assert hashlib.sha256(now.status.root_certificate).hexdigest() in said
        assert now.status.root_certificate != machine.status.root_certificate
        assert machine.renew() == "all certificates are valid now"


def test_chip_of_a_maker_that_was_lost_gets_the_next_ones_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    with local_machine(folder) as machine:
        root = machine.status.root_certificate
    shutil.rmtree(folder / "vendor")
    with pytest.raises(NoMachineError, match=r"has lost .*vendor/ledger\.json"), local_machine(folder):
        pass
    start_supervisor(["--state", str(folder), "--accept-loss", "the maker's disk died"]).end()
    with local_machine(folder) as machine:
        assert machine.status.root_certificate != root
        chain = parse_chain("chain", (folder / "chip" / "pck.pem").read_bytes())
        assert chain[-1].der == machine.status.root_certificate
