import json
from pathlib import Path

from tests.rigs.gateway.front import Front, front, run
from tests.rigs.log_file import on

from casemate.gateway.http import request_log as journal
from casemate.gateway.http.rate_limits import Rate
from casemate.gateway.http.request_log import RequestLog
from casemate.gateway.http.settings import Settings
from casemate.wire.protocol.faults import Code, refuse


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


def test_what_is_limited_has_no_line_but_is_counted(tmp_path: Path) -> None:
    a_day = 86_400.0
    gateway = front(tmp_path, Settings(open_rate=Rate(1 / a_day, 10)))

    async def work() -> None:
        async with gateway.client(None) as client:
            answers = [(await client.get("/health")).status_code for _ in range(50)]
            assert answers == [200] * 10 + [429] * 40
        async with gateway.client() as client:
            assert (await client.get("/v1/machine")).status_code == 200
            assert 'status="429"' in (await client.get("/metrics")).text

    run(work())
    lines = gateway.log()
    assert not [line for line in lines if line["status"] == 429]
    assert sum(line.get("limited", 0) for line in lines) == 40


def test_a_fault_of_the_enclaves_has_a_line_under_its_requests_number(gateway: Front) -> None:
    gateway.host.trouble = refuse(Code.INTERNAL, "a defect of the enclave's; nothing more is told")

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
