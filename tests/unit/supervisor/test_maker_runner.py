import asyncio
import os
import sys
from pathlib import Path

import pytest

from casemate.supervisor import maker_runner
from casemate.supervisor.maker_runner import MakerRunner
from casemate.wire.protocol.faults import Code, FaultError


def runner(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> MakerRunner:
    """A maker that is a shell script; ``runs`` counts how often it ran."""
    program = folder / "vendor"
    program.write_text(f'#!/bin/sh\ncd "{folder}"\necho >> runs\n{script}\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    return MakerRunner(folder, None)


def test_a_run_that_crashes_is_repeated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = runner(tmp_path, monkeypatch, 'test $(wc -l < runs) = 1 && kill -9 $$\necho "[]"')
    assert asyncio.run(asked.collateral()) == b"[]\n"
    assert (tmp_path / "runs").read_text() == "\n\n"


def test_one_that_crashes_twice_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FaultError) as refused:
        asyncio.run(runner(tmp_path, monkeypatch, "kill -9 $$").collateral())
    assert refused.value.fault.code is Code.UNAVAILABLE
    assert "was killed by signal 9" in refused.value.fault.reason
    assert (tmp_path / "runs").read_text() == "\n\n"


def test_a_refusal_is_not_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FaultError, match="no such chip"):
        asyncio.run(runner(tmp_path, monkeypatch, "echo no such chip >&2\nexit 1").collateral())
    assert (tmp_path / "runs").read_text() == "\n"


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker_runner, "MAKER_TIMEOUT", 0.3)
    with pytest.raises(FaultError) as refused:
        asyncio.run(runner(tmp_path, monkeypatch, "exec sleep 30").collateral())
    assert refused.value.fault.code is Code.TIMED_OUT


def test_one_that_is_not_waited_for_any_longer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state directory may be removed then; a maker that goes on would make it again."""

    async def give_up(asked: MakerRunner) -> None:
        asking = asyncio.create_task(asked.collateral())
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - a shell makes that file
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(
        asyncio.wait_for(give_up(runner(tmp_path, monkeypatch, "echo $$ > new\nmv new pid\nexec sleep 60")), 30)
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
