"""Machines that several start at once, and starts that come to nothing."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.rigs.served_commands import PATIENCE, casemate, said

from casemate.client.local import (
    LOOK_PERIOD,
    LocalMachine,
    NoMachineError,
    local_machine,
    running_machine,
    starting_machine,
    wait_for_end,
)
from casemate.process.stopped_children import STOPPED_TIME

pytestmark = pytest.mark.machine


def is_running(state: Path) -> bool:
    try:
        running_machine(state)
    except NoMachineError:
        return False
    return True


def test_who_comes_second_uses_the_first_ones_machine_and_keeps_it(tmp_path: Path) -> None:
    both, starter_left = threading.Barrier(2, timeout=2 * PATIENCE), threading.Event()
    machines: list[LocalMachine] = []

    def use() -> None:
        with local_machine(tmp_path / "machine") as machine:
            machines.append(machine)
            both.wait()
            if machine.joined:
                assert starter_left.wait(2 * PATIENCE)
                assert running_machine(machine.state).status.supervisor_pid == machine.status.supervisor_pid
        if not machine.joined:
            starter_left.set()

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert starter_left.is_set()
    assert sorted(machine.joined for machine in machines) == [False, True]
    assert machines[0].status.supervisor_pid == machines[1].status.supervisor_pid
    assert wait_for_end(tmp_path / "machine", PATIENCE)


def test_a_gateway_that_cannot_start_is_no_machine(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    (state / "host" / "gateway.log").mkdir(parents=True)
    state.chmod(0o700)
    code, answer = said("up", "--state", state, "--detach")
    assert code == 1
    assert f"{state}/host/gateway.log: it is no plain file, want one" in answer["error"]["message"]
    assert f"{state}/machine.log tells more" in answer["error"]["message"]
    assert wait_for_end(state, 0)


def test_certificate_files_are_looked_at_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    state = tmp_path / "machine"
    tls = ("--tls-cert", tmp_path / "none.pem", "--tls-key", tmp_path / "key.pem")
    code, answer = said("up", "--state", state, "--detach", *tls)
    assert (code, answer["error"]["kind"]) == (5, "CertificateFileError")
    assert not state.exists()


def test_what_cannot_be_written_after_the_start_ends_the_machine(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    state.mkdir(mode=0o700)
    (state / "guests.new").symlink_to(tmp_path / "nowhere" / "below")  # no folder can be made there
    code, answer = said("up", "--state", state, "--detach")
    assert (code, answer["error"]["kind"]) == (1, "OutputFileError")
    assert str(state / "guests.new") in answer["error"]["message"]
    assert wait_for_end(state, 0)


def test_a_stopped_supervisor_is_told_of_soon(tmp_path: Path) -> None:
    with local_machine(tmp_path / "machine") as machine:
        os.kill(machine.status.supervisor_pid, signal.SIGSTOP)
        try:
            with casemate("status", "--state", machine.state, "--json") as process:
                out, _ = process.communicate(timeout=2 * PATIENCE)
        finally:
            os.kill(machine.status.supervisor_pid, signal.SIGCONT)
    assert process.returncode == 1
    assert "it is stopped (SIGSTOP)" in json.loads(out)["error"]["message"]


def test_a_stopped_host_is_told_of_at_once(tmp_path: Path) -> None:
    with local_machine(tmp_path / "machine") as machine:
        os.kill(machine.status.host_pid, signal.SIGSTOP)
        try:
            code, found = said("status", "--state", machine.state)
        finally:
            os.kill(machine.status.host_pid, signal.SIGCONT)
    assert (code, found["host"]) == (0, "stopped (SIGSTOP): does not answer")
    assert [row["name"] for row in found["processes"] if row["stopped"]] == ["host"]


@pytest.mark.nightly("a minute of waiting for the supervisor's patience")
@pytest.mark.parametrize("role", ["host", "chip"])
def test_a_process_that_stays_stopped_is_started_anew(tmp_path: Path, role: str) -> None:
    with local_machine(tmp_path / "machine") as machine:
        before = machine.status.pid(role)
        os.kill(before, signal.SIGSTOP)
        deadline = time.monotonic() + STOPPED_TIME + 2 * PATIENCE
        while (now := running_machine(machine.state).status).pid(role) in {before, 0}:
            assert time.monotonic() < deadline
            time.sleep(LOOK_PERIOD)
        process = next(each for each in now.processes if each.name == role)
        assert process.last_death == f"the {role} was stopped (SIGSTOP) for 10 s, and killed"


def test_a_start_in_two_steps_is_a_machine_after_the_second(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    with starting_machine(state) as starting:
        machine = starting.wait()
        assert not machine.joined
        assert running_machine(state).status.supervisor_pid == machine.status.supervisor_pid
        with starting_machine(state) as second:
            assert second.wait().joined
    assert wait_for_end(state, PATIENCE)


def test_a_start_that_is_given_up_leaves_no_machine(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    with pytest.raises(KeyboardInterrupt), starting_machine(state):
        raise KeyboardInterrupt
    assert wait_for_end(state, 0)


def test_a_start_that_is_given_up_is_left_to_others_who_use_the_machine(tmp_path: Path) -> None:
    state = tmp_path / "machine"
    with starting_machine(state) as given_up:
        while not is_running(state):
            time.sleep(LOOK_PERIOD)
        with local_machine(state) as other:
            assert other.joined
            given_up.end()
            assert running_machine(state).status.supervisor_pid == other.status.supervisor_pid
    assert wait_for_end(state, PATIENCE)


def test_a_folder_that_cannot_be_built_leaves_no_machine(tmp_path: Path) -> None:
    assert said("init", tmp_path / "hello")[0] == 0
    state, arguments = tmp_path / "machine", ("--input", tmp_path / "hello" / "input.json")
    manifest = tmp_path / "hello" / "casemate.toml"
    manifest.write_text(manifest.read_text().replace("[enclave]", "[enclave", 1))
    code, answer = said("run", tmp_path / "hello", *arguments, "--state", state)
    assert (code, "casemate.toml" in answer["error"]["message"]) == (5, True)
    assert not state.exists()
    manifest.write_text(manifest.read_text().replace("[enclave", "[enclave]", 1))
    (tmp_path / "hello" / "guest" / "main.js").write_text("export function rate( {\n")
    code, answer = said("run", tmp_path / "hello", *arguments, "--state", state)
    assert (code, "guest/main.js:1:1" in answer["error"]["message"]) == (5, True)
    assert wait_for_end(state, 0)
