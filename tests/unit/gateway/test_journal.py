import errno
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.gateway.front import Front, run

from casemate.gateway import journal
from casemate.gateway.journal import RequestLog, RotatingFile
from casemate.wire.faults import Code, refuse


class Disk:
    """A raw file on a disk that has room for so many bytes more."""

    def __init__(self, file: Any, room: int) -> None:
        self._file = file
        self.room = room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self.room])
        self.room -= written
        return int(written)

    def close(self) -> None:
        self._file.close()


def on(disk_of: RotatingFile, room: int) -> Disk:
    disk_of._file = disk = Disk(disk_of._file, room)  # type: ignore[assignment]
    return disk


def test_a_line_that_cannot_be_written_is_dropped_and_one_that_was_torn_ends(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 10_000)
    disk = on(file, 8)
    assert file.write(b"first")
    assert not file.write(b"second")  # two bytes of it
    assert not file.write(b"third")
    disk.room = 100
    assert file.write(b"fourth")
    assert (tmp_path / "log").read_bytes() == b"first\nse\nfourth\n"
    file.close()


def test_a_full_file_is_changed_for_a_new_one_once_there_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RotatingFile(tmp_path / "log", 10)
    assert file.write(b"a" * 20)

    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", no_room)
        assert not file.write(b"b")
        assert not file.write(b"b")
    assert file.write(b"c")
    assert (tmp_path / "log").read_bytes() == b"c\n"
    assert (tmp_path / "log.1").read_bytes() == b"a" * 20 + b"\n"
    file.close()


def test_a_full_disk_costs_lines_and_no_request(gateway: Front) -> None:
    """Every second request of a kept-alive connection broke, since the log failed after the answer was sent."""
    log = gateway.gateway.edge._journal
    assert isinstance(log, RequestLog)

    async def work() -> None:
        async with gateway.client() as client:
            disk = on(log._file, 0)
            for _ in range(10):
                assert (await client.get("/v1/machine")).status_code == 200
            disk.room = 1_000_000
            assert (await client.get("/v1/machine")).status_code == 200
            assert "casemate_gateway_log_dropped_total 10.0" in (await client.get("/metrics")).text

    run(work())
    assert [line.get("dropped") for line in gateway.log()] == [10, None]


def test_what_is_limited_has_no_line_but_is_counted(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client(None) as client:
            answers = [(await client.get("/health")).status_code for _ in range(150)]
            assert answers[:100] == [200] * 100
            assert answers.count(429) >= 40
        async with gateway.client() as client:
            assert (await client.get("/v1/machine")).status_code == 200
            assert 'status="429"' in (await client.get("/metrics")).text

    run(work())
    lines = gateway.log()
    assert not [line for line in lines if line["status"] == 429]
    assert sum(line.get("limited", 0) for line in lines) >= 40


def test_a_fault_of_the_enclaves_has_a_line_under_its_requests_number(gateway: Front) -> None:
    gateway.house.trouble = refuse(Code.INTERNAL, "a defect of the enclave's; nothing more is told")

    async def work() -> None:
        async with gateway.client() as client:
            answer = await client.get("/v1/collateral", headers={"X-Request-Id": "mine"})
            found = answer.json()
            assert (answer.status_code, found["code"]) == (500, "internal")
            assert "a defect of the enclave's" in found["detail"]
            assert "gateway's log" in found["detail"]
            assert "a defect of the gateway" not in found["detail"]

    run(work())
    defect, _ = gateway.log()
    assert (defect["event"], defect["request_id"]) == ("defect", "mine")
    assert "FaultError" in defect["exception"]


def test_a_value_that_is_no_text_does_not_fail_the_line(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "log")
    log._write("info", "x", odd="\ud800")
    log.close()
    assert json.loads((tmp_path / "log").read_bytes())["odd"] == "\ud800"
    assert journal.LOG_SIZE > 1_000_000
