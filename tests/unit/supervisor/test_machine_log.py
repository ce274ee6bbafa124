import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from casemate.supervisor import machine_log
from casemate.supervisor.machine_log import MachineLog, ProcessOutput


@pytest.fixture
def log(tmp_path: Path) -> Iterator[MachineLog]:
    log = MachineLog(tmp_path / "machine.log")
    yield log
    log.close()


def test_the_log_is_bounded_and_one_older_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_log, "LOG_SIZE", 1000)
    log = MachineLog(tmp_path / "machine.log")
    for number in range(100):
        log.write(f"{number:099}".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["machine.log", "machine.log.1"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert (tmp_path / "machine.log").read_text().endswith("99\n")
    log.close()


def test_it_goes_on_where_the_last_machine_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_log, "LOG_SIZE", 100)
    (tmp_path / "machine.log").write_bytes(b"x" * 99 + b"\n")
    log = MachineLog(tmp_path / "machine.log")
    log.write(b"new")
    log.close()
    assert (tmp_path / "machine.log").read_bytes() == b"new\n"


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, log: MachineLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log._file, "_file", FullDisk())
        log.say("lost", aloud=False)
    log.say("kept", aloud=False)
    assert (tmp_path / "machine.log").read_text().endswith("supervisor: kept\n")


def test_a_processes_last_line_is_remembered(tmp_path: Path, log: MachineLog) -> None:
    async def main() -> None:
        output = ProcessOutput(log, "host")
        os.write(output.writing, b"first\n" + b"y" * 2000 + b"\nthe disk is full\n\n")
        output.given()
        output.take_rest()
        assert output.last == "the disk is full"
        output.take_rest()
        assert output.last == "the disk is full"

    asyncio.run(main())
    assert (tmp_path / "machine.log").read_bytes().startswith(b"host| first\nhost| yyy")


def test_no_process_can_forge_another_ones_line(tmp_path: Path, log: MachineLog) -> None:
    forged = "2026-01-01T00:00:00Z supervisor: the chip died"

    async def main() -> None:
        output = ProcessOutput(log, "gateway")
        os.write(output.writing, f"guest said\r{forged}\n\x1b[2J{forged}\nchip| {forged}\n\n{forged}".encode())
        output.given()
        output.take_rest()
        output.take_rest()
        log.say(f"the gateway ended; its last output: x\n{forged}", aloud=False)

    asyncio.run(main())
    first, second, third, fourth, said = (tmp_path / "machine.log").read_text().splitlines()
    assert all(line.startswith("gateway| ") for line in (first, second, third, fourth))
    assert r"guest said\r2026" in first
    assert r"\x1b[2J2026" in second
    assert "supervisor: the gateway ended; its last output: x\\n2026" in said


def test_a_line_without_an_end_is_bounded(tmp_path: Path, log: MachineLog) -> None:
    async def main() -> None:
        output = ProcessOutput(log, "chip")
        for _ in range(4):
            os.write(output.writing, b"z" * 3000)
            output.take_rest()
        assert len(output._begun) <= machine_log._LONGEST_LINE
        assert output.last == "z" * 512
        output.given()
        output.take_rest()

    asyncio.run(main())
    assert (tmp_path / "machine.log").read_text().count("z") == 12_000
