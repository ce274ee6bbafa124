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
        words = Words(MachineLog(tmp_path / "machine.log"), "host")
        os.write(words.writing, b"first\n" + b"y" * 2000 + b"\nthe disk is full\n\n")
        words.given()
        words.take_rest()
        assert words.last == "the disk is full"
        words.take_rest()
        assert words.last == "the disk is full"

    asyncio.run(main())
    assert (tmp_path / "machine.log").read_bytes().startswith(b"host| first\nhost| yyy")


def test_no_process_can_forge_another_ones_line(tmp_path: Path) -> None:
    forged = "2026-01-01T00:00:00Z supervisor: the chip died"

    async def main() -> None:
        log = MachineLog(tmp_path / "machine.log")
        words = Words(log, "gateway")
        os.write(words.writing, f"guest said\r{forged}\n\x1b[2J{forged}\nchip| {forged}\n\n{forged}".encode())
        words.given()
        words.take_rest()
        words.take_rest()
        log.say(f"the gateway ended; its last words: x\n{forged}", aloud=False)

    asyncio.run(main())
    first, second, third, fourth, said = (tmp_path / "machine.log").read_text().splitlines()
    assert all(line.startswith("gateway| ") for line in (first, second, third, fourth))
    assert r"guest said\r2026" in first
    assert r"\x1b[2J2026" in second
    assert "supervisor: the gateway ended; its last words: x\\n2026" in said


def test_a_line_without_an_end_is_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        words = Words(MachineLog(tmp_path / "machine.log"), "chip")
        for _ in range(4):
            os.write(words.writing, b"z" * 3000)
            words.take_rest()
        assert len(words._begun) <= machine_log._LONGEST_LINE
        assert words.last == "z" * 512
        words.given()
        words.take_rest()

    asyncio.run(main())
    assert (tmp_path / "machine.log").read_text().count("z") == 12_000
