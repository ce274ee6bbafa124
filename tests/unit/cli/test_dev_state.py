"""State in memory: gone with its machine, and not made again by mistake."""

import os
import shutil
import time
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.cli.dev_state import make_dev_state
from casemate.client.local import NoMachineError, local_machine
from casemate.process import places
from casemate.process.places import machine_lock
from casemate.supervisor.lock import lock_state


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "MEMORY", tmp_path)
    return tmp_path


def dead(state: Path) -> Path:
    """As a machine that was killed has left it, two seconds ago."""
    os.close(lock_state(state).descriptor)
    os.utime(machine_lock(state), (time.time() - 2, time.time() - 2))
    return state


def test_what_dead_machines_have_left_is_removed_by_the_next_one(memory: Path) -> None:
    left = dead(make_dev_state())
    fresh = make_dev_state()
    assert not left.exists()
    assert make_dev_state().parent == memory  # a directory without a lock may be about to get one
    assert fresh.exists()


def test_a_directory_whose_machine_runs_stays(memory: Path) -> None:
    running = make_dev_state()
    lock = lock_state(running)
    os.utime(machine_lock(running), (0, 0))
    make_dev_state()
    assert running.parent == memory
    assert running.exists()
    lock.give_back()


def test_a_machine_that_is_gone_is_not_made_again(
    memory: Path, casemate: Casemate, monkeypatch: pytest.MonkeyPatch, hello: Path
) -> None:
    gone = make_dev_state()
    shutil.rmtree(gone)
    monkeypatch.setenv("CASEMATE_STATE", str(gone))
    for words in (("run", hello, "--input", hello / "input.json"), ("up",), ("status",), ("token", "list")):
        said = casemate(*words, "--json")
        assert said.code == 1, words
        assert "unset CASEMATE_STATE CASEMATE_URL CASEMATE_TOKEN" in said.error["message"]
        assert not gone.exists()
    down = casemate("down", "--json")
    assert (down.code, down.json["unset"]) == (0, "unset CASEMATE_STATE CASEMATE_URL CASEMATE_TOKEN")
    assert memory.exists()


def test_nor_is_it_by_a_program_that_wants_a_machine_there(memory: Path) -> None:
    gone = make_dev_state()
    shutil.rmtree(gone)
    with pytest.raises(NoMachineError, match=r"has ended.*in memory.*another state directory"), local_machine(gone):
        raise AssertionError("a machine was started")
    assert list(memory.iterdir()) == []
