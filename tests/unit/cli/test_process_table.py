"""What `status` shows of a machine's processes, from a /proc of our own making."""

from pathlib import Path

import pytest

from casemate.cli import process_table as proc
from casemate.cli.process_table import Child, below

CHIP = 100


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(proc, "PROC", tmp_path)
    return tmp_path


def add(processes: Path, pid: int, parent: int, name: str, *words: str, state: str = "S", session: int = 1) -> None:
    folder = processes / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} 1 {session} 0 -1")
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))


def test_each_process_is_called_what_it_is(processes: Path) -> None:
    add(processes, CHIP, 1, "python3", "python3", "-m", "casemate.chip")
    add(processes, 101, CHIP, "python3", "python3", "-m", "casemate.spawner")
    add(processes, 102, 101, "python3", "python3", "-m", "casemate.spawner")
    add(processes, 103, 101, "deno", "deno", "run")
    add(processes, 104, CHIP, "python3", "python3", "-I", "-m", "casemate.vm", "--chip-fd", "3")
    add(processes, 105, CHIP, "python3", "python3", "-m", "casemate.vm", state="Z")
    for pid, session in ((107, 1), (108, 108), (109, 108)):
        add(processes, pid, 101, "python3", "python3", "-I", "-S", "-B", "-m", "casemate.zygote", session=session)
    add(processes, 106, 1, "bash (sh) x", "bash", "casemate.vm")
    assert sorted(below(CHIP), key=lambda child: child.pid) == [
        Child(101, CHIP, "parent"),
        Child(102, 101, "enclave"),
        Child(103, 101, "guest"),
        Child(104, CHIP, "vm"),
        Child(107, 101, "base"),
        Child(108, 101, "image"),
        Child(109, 101, "guest"),
    ]
