import asyncio
import os
from pathlib import Path

import pytest

from casemate.supervisor import machine_log
from casemate.supervisor.machine_log import MachineLog, Words


def test_the_log_is_bounded_and_one_older_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_log, "LOG_SIZE", 1000)
    log = MachineLog(tmp_path / "machine.log")
    for number in range(100):
        log.write(f"{number:099}\n".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["machine.log", "machine.log.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "machine.log").read_text().endswith("99\n")


def test_it_goes_on_where_the_last_machine_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_log, "LOG_SIZE", 100)
    (tmp_path / "machine.log").write_bytes(b"x" * 99 + b"\n")
    MachineLog(tmp_path / "machine.log").write(b"new\n")
    assert (tmp_path / "machine.log").read_bytes() == b"new\n"


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MachineLog(tmp_path / "machine.log")

    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.say("lost", aloud=False)
    log.say("kept", aloud=False)
    assert (tmp_path / "machine.log").read_text().endswith("supervisor: kept\n")


def test_a_processes_last_line_is_remembered(tmp_path: Path) -> None:
    async def main() -> None:
        words = Words(MachineLog(tmp_path / "machine.log"))
        os.write(words.writing, b"first\n" + b"y" * 2000 + b"\nthe disk is full\n\n")
        words.given()
        words.take_rest()
        assert words.last == "the disk is full"
        words.take_rest()
        assert words.last == "the disk is full"

    asyncio.run(main())
    assert (tmp_path / "machine.log").read_bytes().startswith(b"first\n")
