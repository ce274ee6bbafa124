"""Confidential VMs over real HTTP: the learner's steps, both clients, the commands, and those who mean harm."""

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.rigs.command_line import casemate_here

from casemate.cli.errors import ExitCode
from casemate.client import Client, HostRefusedError, RoleRefusedError, aio, connect
from casemate.client.vm.sync import Budget
from casemate.host.vm.vm_table import MAX_VMS
from casemate.images.vm.builtin import firmware
from casemate.testing.served import Served, served_machine
from casemate.wire.encodings.message import encode_message
from casemate.wire.messages.vm.host import AttackPath, LaunchVm, View, VmIs, VmState
from casemate.wire.messages.vm.hypervisor import ExitReason
from casemate.wire.protocol.access_tokens import AccessToken, AccessTokens, Role, token_digest, token_text
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.snp.launch import GuestShape, Part, digest_of, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.page_info import LaunchPage, PageType
from casemate.wire.snp.report import SnpReport
from casemate.wire.snp.vmm import VCPU_TYPES, Vmm

pytestmark = pytest.mark.machine

BINARY = {"Content-Type": "application/octet-stream"}
MILAN = VCPU_TYPES["EPYC-Milan"]
HELLO = LaunchVm(
    name="hello",
    mode=VmMode.SEV_SNP,
    firmware=firmware("hello"),
    memory_mib=16,
    vcpus=1,
    vcpu_signature=MILAN,
    vmm=Vmm.QEMU,
    guest_features=1,
    policy=0x30000,
    host_data=bytes(32),
)
COUNT = replace(HELLO, name="count", firmware=firmware("count"))
DEBUGGABLE = replace(HELLO, policy=0xB0000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_machine(tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def web(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=served.authorization, timeout=60) as made:
        yield made


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """Over HTTP; the VMs that a test leaves are destroyed."""
    with connect(served.url, token=served.token) as made:
        yield made
        for vm in made.vms.all():
            made.vms.destroy(vm.vm)


def asked(web: httpx.Client, path: str, body: object) -> Any:
    answer = web.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def expected(guest: str, *extra: tuple[int, bytes], vcpus: int = 1) -> bytes:
    """The launch digest of a built-in guest, with pages of one's own after those of its firmware."""
    pages = list(plan(parse_ovmf(firmware(guest)), GuestShape(vcpus, MILAN, Vmm.QEMU, 1)))
    mine = [
        LaunchPage(PageType.NORMAL, gpa + at, content[at : at + 4096].ljust(4096, b"\0"))
        for gpa, content in extra
        for at in range(0, len(content), 4096)
    ]
    first = [planned.page for planned in pages if planned.part is not Part.VMSA]
    return digest_of([*first, *mine, *(planned.page for planned in pages if planned.part is Part.VMSA)])


@pytest.mark.usefixtures("client")
def test_the_learners_digest_is_that_of_the_same_pages_whatever_the_order_of_the_steps(web: httpx.Client) -> None:
    text = "Attack at dawn. " * 300
    sequences: list[list[dict[str, str]]] = [[{}, {"data": text}], [{"data": text}], [{}], []]
    for steps in sequences:
        made = asked(web, "/vm/launch", {"vcpus": 2})
        assert made["digest"] == "00" * 48
        assert made["vcpus"][0]["registers"]["rip"] == "0xfff0"
        for step in steps:
            added = asked(web, "/vm/encrypt", step)
            for page in added["pages"]:
                assert page["dram"] != page["sent"]
                seen = web.get(f"/v1/vms/{made['vm']}/memory?address={page['spa']}&size=64")
                assert seen.content.hex() == page["dram"]
        finished = web.post(f"/v1/vms/{made['vm']}/finish").json()
        mine = [(0x300000, text.encode())] if {"data": text} in steps else []
        assert finished["digest"] == expected("report", *mine, vcpus=2).hex()
        assert refused(web.post("/vm/encrypt", json={"data": "late"})) == (409, "wrong-state")


@pytest.mark.usefixtures("client")
def test_the_learners_report_is_over_the_nonce_and_the_digest(web: httpx.Client) -> None:
    asked(web, "/vm/launch", {"host_data": "07" * 32})
    first = asked(web, "/vm/attest", {"nonce": "ab" * 32})
    second = asked(web, "/vm/attest", {"nonce": "cd" * 64})
    report = SnpReport.parse(base64.b64decode(second["report"]))
    assert (first["finished"], second["finished"]) == (True, False)
    assert first["fields"]["report_data"] == "ab" * 32 + "00" * 32
    assert report.report_data == b"\xcd" * 64
    assert report.measurement == expected("report")
    assert report.host_data == b"\x07" * 32
    assert second["certificates"].count("BEGIN CERTIFICATE") == 3
    assert refused(web.post("/vm/encrypt", json={})) == (409, "wrong-state")


def test_a_guest_that_asks_for_no_report_is_a_clear_refusal(web: httpx.Client, client: Client) -> None:
    asked(web, "/vm/launch", {"guest": "hello"})
    answer = web.post("/vm/attest", json={"nonce": "ab"})
    assert refused(answer) == (409, "wrong-state")
    assert "second serial port" in answer.json()["detail"]
    assert client.vms.all()[0].digest == expected("hello")


def test_both_ways_in_show_the_same_vm(served: Served, client: Client) -> None:
    made = client.vms.launch(DEBUGGABLE)
    with connect(served.machine.host_socket) as here:
        assert here.vms.all() == client.vms.all() == (made,)
        ran = client.vms.run(made.vm)
        assert (ran.reason, ran.vm.state) == (ExitReason.HALT, VmState.HALTED)
        assert b"Hello" in client.vms.console(made.vm).content
        assert client.vms.console(made.vm) == here.vms.console(made.vm)
        for view in View:
            seen = client.vms.memory(made.vm, 0x10000, 3 << 20, view) if view is View.HYPERVISOR else b""
            assert seen == (here.vms.memory(made.vm, 0x10000, 3 << 20, view) if view is View.HYPERVISOR else b"")
        assert client.vms.memory(made.vm, 0x2D000, 64, View.GUEST) == here.vms.memory(made.vm, 0x2D000, 64, View.GUEST)
        assert client.vms.rmp(made.vm, 0, 4100) == here.vms.rmp(made.vm, 0, 4100)
        assert client.vms.registers(made.vm) == here.vms.registers(made.vm)
        assert here.vms.destroy(made.vm).state is VmState.LOST
    with pytest.raises(HostRefusedError) as gone:
        client.vms.get(made.vm)
    assert gone.value.fault.code is Code.UNKNOWN_VM


def test_a_launch_in_steps_and_both_doors(client: Client) -> None:
    made = client.vms.launch(replace(HELLO, finish=False))
    assert client.vms.registers(made.vm).rip == 0xFFF0  # while it is launching, they are the host's own
    client.vms.encrypt(made.vm, 0x300000, b"mine")
    finished = client.vms.finish(made.vm)
    assert finished.digest == expected("hello", (0x300000, b"mine"))
    with pytest.raises(HostRefusedError, match="debugging"):
        client.vms.registers(made.vm)
    with pytest.raises(HostRefusedError) as fault:
        client.vms.write(made.vm, AttackPath.HYPERVISOR, 0x300000, b"theirs")
    assert fault.value.fault.code is Code.RMP_FAULT
    client.vms.write(made.vm, AttackPath.DRAM, 0x300000, b"theirs")
    assert client.vms.memory(made.vm, 0x300000, 6) == b"theirs"
    client.vms.map(made.vm, 0x300000, 0x301000)


def test_single_steps(client: Client) -> None:
    made = client.vms.launch(DEBUGGABLE)
    assert client.vms.run(made.vm, budget=Budget(1, instructions=1)).executed == 1
    assert client.vms.registers(made.vm).rip != 0xFFF0


def test_asyncio_runs_several_at_once(served: Served, client: Client) -> None:
    async def main() -> None:
        async with await aio.connect(served.url, token=served.token) as there:
            made = await asyncio.gather(*(there.vms.launch(HELLO) for _ in range(3)))
            ran = await asyncio.gather(*(there.vms.run(vm.vm) for vm in made))
            assert {each.reason for each in ran} == {ExitReason.HALT}
            said = await asyncio.gather(*(there.vms.console(vm.vm) for vm in made))
            assert all(b"Hello" in each.content for each in said)
            assert len(await there.vms.memory(made[0].vm, 0, 4096)) == 4096

    asyncio.run(main())
    assert len(client.vms.all()) == 3


def test_a_run_that_is_cancelled_stops_the_vcpu(served: Served, client: Client) -> None:
    made = client.vms.launch(COUNT)

    async def main() -> None:
        async with await aio.connect(served.url, token=served.token) as there:
            running = asyncio.create_task(there.vms.run(made.vm, budget=Budget(300)))
            await asyncio.to_thread(until, lambda: client.vms.get(made.vm).state is VmState.RUNNING)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    asyncio.run(main())
    until(lambda: client.vms.get(made.vm).state is VmState.LAUNCHED)
    assert client.vms.run(made.vm, budget=Budget(0.2)).reason is ExitReason.TIME  # and it can go on


def test_a_long_run_is_paused_from_elsewhere(served: Served, client: Client) -> None:
    made = client.vms.launch(COUNT)
    found: list[Any] = []

    def run() -> None:
        with connect(served.url, token=served.token) as other:
            found.append(other.vms.run(made.vm, budget=Budget(300)))

    running = threading.Thread(target=run)
    running.start()
    until(lambda: client.vms.get(made.vm).state is VmState.RUNNING)
    with pytest.raises(HostRefusedError) as busy:
        client.vms.run(made.vm)
    assert busy.value.fault.code is Code.BUSY
    client.vms.pause(made.vm)
    running.join(20)
    assert found[0].reason is ExitReason.PAUSED


def test_a_call_token_looks_and_does_nothing(served: Served, client: Client) -> None:
    made = client.vms.launch(HELLO)
    token = token_text(os.urandom(32))
    entry = AccessToken("looker", Role.CALL, datetime.now(UTC).replace(microsecond=0), token_digest(token))
    path = served.machine.state / "host" / "tokens.json"
    path.write_bytes(AccessTokens((entry,)).encode())
    try:
        with connect(served.url, token=token) as looker:
            assert looker.vms.get(made.vm) == made
            assert len(looker.vms.memory(made.vm, 0, 16)) == 16
            for forbidden in (
                lambda: looker.vms.launch(HELLO),
                lambda: looker.vms.run(made.vm),
                lambda: looker.vms.write(made.vm, AttackPath.DRAM, 0, b"x"),
                lambda: looker.vms.destroy(made.vm),
            ):
                with pytest.raises(RoleRefusedError):
                    forbidden()
    finally:
        path.unlink()


def test_the_console_is_followed_while_the_guest_prints_and_again_from_a_byte(
    web: httpx.Client, client: Client
) -> None:
    made = client.vms.launch(COUNT)
    path = f"/v1/vms/{made.vm}/console/events"
    came: list[dict[str, Any]] = []
    running = threading.Thread(target=lambda: web.post(f"/v1/vms/{made.vm}/run", json={"time_ms": 3000}))
    running.start()
    with web.stream("GET", path) as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                came.append(json.loads(line[6:]))
            if len(came) == 2:
                break
    running.join(20)
    client.vms.destroy(client.vms.launch(HELLO).vm)
    first = b"".join(base64.b64decode(each["content"]) for each in came)
    assert came[1]["start"] == len(base64.b64decode(came[0]["content"]))
    whole = client.vms.console(made.vm).content
    assert whole.startswith(first)
    with web.stream("GET", path, headers={"Last-Event-ID": str(len(first) - 3)}) as stream:
        identity, kind, data = (next(lines) for lines in [stream.iter_lines()] * 3)
    assert (kind, json.loads(data[6:])["start"]) == ("event: console", len(first) - 3)
    assert int(identity[4:]) <= len(whole)


def test_an_endless_console_holds_nobody_up(served: Served, web: httpx.Client, client: Client) -> None:
    """A guest that floods, a reader that never reads, and the machine's others."""
    made = client.vms.launch(COUNT)
    with httpx.Client(base_url=served.url, headers=served.authorization, timeout=60) as slow:
        running = threading.Thread(target=lambda: web.post(f"/v1/vms/{made.vm}/run", json={"time_ms": 4000}))
        running.start()
        with slow.stream("GET", f"/v1/vms/{made.vm}/console/events"):
            began = time.monotonic()
            for _ in range(20):
                assert client.vms.get(made.vm).state in (VmState.RUNNING, VmState.LAUNCHED)
            assert time.monotonic() - began < 10
        running.join(30)
    budget = Budget(20, console=100)
    before = len(client.vms.console(made.vm).content)
    assert client.vms.run(made.vm, budget=budget).reason is ExitReason.PAUSED
    assert 100 <= len(client.vms.console(made.vm).content) - before < 400


def test_only_so_many_vms_and_room_again(
    web: httpx.Client, client: Client, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[VmIs] = []
    while len(made) < MAX_VMS:
        made.append(client.vms.launch(replace(HELLO, memory_mib=4)))
    answer = web.post("/vm/launch", json={})
    assert refused(answer) == (429, "busy")
    assert answer.headers["retry-after"]
    answer = web.post("/v1/vms", content=encode_message(HELLO), headers=BINARY)
    assert refused(answer) == (429, "busy")
    client.vms.destroy(made[0].vm)
    asked(web, "/vm/launch", {})

    monkeypatch.setenv("CASEMATE_URL", served.url)
    monkeypatch.setenv("CASEMATE_TOKEN", served.token)
    launch = ("vm", "launch", "hello", "--memory", 4, "--json")
    told = casemate_here(*launch)
    assert told.code == ExitCode.CALL_FAILED
    listed, destroyed = (words.split() for words in re.findall(r"`casemate ([^`]+)`", told.error["next"]))
    shown = casemate_here(*listed, "--json")
    casemate_here(*(shown.json["vms"][-1]["vm"] if word == "N" else word for word in destroyed))
    assert casemate_here(*launch).code == ExitCode.OK


def test_launches_at_once_do_not_get_past_the_limit(served: Served, client: Client) -> None:
    async def main() -> list[object]:
        async with await aio.connect(served.url, token=served.token) as there:
            wanted = replace(HELLO, memory_mib=4)
            return await asyncio.gather(*(there.vms.launch(wanted) for _ in range(MAX_VMS + 4)), return_exceptions=True)

    found = asyncio.run(main())
    assert len(client.vms.all()) == MAX_VMS
    errors = [each for each in found if isinstance(each, BaseException)]
    assert len(errors) == 4
    assert all(isinstance(each, FaultError) and each.fault.code is Code.BUSY for each in errors)


MALFORMED = {
    "no firmware": replace(HELLO, firmware=b""),
    "no firmware's bytes": replace(HELLO, firmware=bytes(4096)),
    "a firmware cut short": replace(HELLO, firmware=HELLO.firmware[:-1]),
    "a table that points nowhere": replace(HELLO, firmware=HELLO.firmware[:-50] + b"\xff" * 50),
    "no memory": replace(HELLO, memory_mib=0),
    "too much memory": replace(HELLO, memory_mib=2049),
    "no vCPU": replace(HELLO, vcpus=0),
    "too many vCPUs": replace(HELLO, vcpus=9),
    "a policy without its one": replace(HELLO, policy=0),
    "a policy of nothing but ones": replace(HELLO, policy=2**64 - 1),
    "a kernel that there is no place for": replace(HELLO, kernel=b"kernel"),
    "a command line that is no text": replace(HELLO, append=b"\xff", kernel=b"kernel"),
    "an id block that nobody signed": replace(HELLO, id_block=bytes(96), id_auth=bytes(4096)),
    "a firmware left for after the end": replace(HELLO, firmware_later=True),
}


@pytest.mark.parametrize("wanted", MALFORMED.values(), ids=MALFORMED)
def test_malformed_launches_are_refused_and_leave_nothing(client: Client, wanted: LaunchVm) -> None:
    with pytest.raises(HostRefusedError) as caught:
        client.vms.launch(wanted)
    assert caught.value.fault.code in (Code.MALFORMED, Code.FIRMWARE_REFUSED, Code.WRONG_STATE)
    assert client.vms.all() == ()


def test_addresses_that_there_are_not(web: httpx.Client, client: Client) -> None:
    made = client.vms.launch(replace(DEBUGGABLE, finish=False))
    high = 2**64 - 4096
    wild: list[Callable[[], object]] = [
        lambda: client.vms.encrypt(made.vm, 1, b"x"),
        lambda: client.vms.encrypt(made.vm, 0x1000000, b"x"),
        lambda: client.vms.encrypt(made.vm, 0xFFF000, bytes(8192)),
        lambda: client.vms.encrypt(made.vm, high, b"x"),
        lambda: client.vms.encrypt(made.vm, 0x300000, b""),
        lambda: client.vms.run(made.vm),
        lambda: client.vms.memory(made.vm, high, 4096),
        lambda: client.vms.memory(made.vm, 0x1100000, 1 << 20),
        lambda: client.vms.memory(made.vm, high, 4096, View.GUEST),
        lambda: client.vms.memory(made.vm, 0x40000000, 16, View.GUEST),
        lambda: client.vms.rmp(made.vm, 1, 1),
        lambda: client.vms.rmp(made.vm, high, 1),
        lambda: client.vms.registers(made.vm, 1),
        lambda: client.vms.write(made.vm, AttackPath.DRAM, high, b"x"),
        lambda: client.vms.write(made.vm, AttackPath.DRAM, 0, b""),
        lambda: client.vms.write(made.vm, AttackPath.HYPERVISOR, high, b"x"),
        lambda: client.vms.map(made.vm, 1, 0),
        lambda: client.vms.map(made.vm, high, high),
    ]
    for attempt in wild:
        with pytest.raises(HostRefusedError) as caught:
            attempt()
        assert caught.value.fault.code in (Code.MALFORMED, Code.WRONG_STATE), caught.value
    for query in ("size=0", "size=1048577", "size=99999999999999999999"):
        answer = web.get(f"/v1/vms/{made.vm}/memory?address=0x0&{query}")
        assert refused(answer) == (422, "request-refused")
    assert refused(web.post(f"/v1/vms/{made.vm}/run", json={"time_ms": 5001})) == (422, "request-refused")
    assert client.vms.finish(made.vm).digest == expected("hello")  # nothing of that went in


def test_a_vm_that_is_destroyed_while_it_runs_is_lost_to_whoever_runs_it(served: Served, client: Client) -> None:
    made = client.vms.launch(COUNT)
    found: list[BaseException] = []

    def run() -> None:
        with connect(served.url, token=served.token) as other:
            try:
                other.vms.run(made.vm, budget=Budget(300))
            except HostRefusedError as error:
                found.append(error)

    running = threading.Thread(target=run)
    running.start()
    until(lambda: client.vms.get(made.vm).state is VmState.RUNNING)
    client.vms.destroy(made.vm)
    running.join(20)
    assert isinstance(found[0], FaultError)
    assert found[0].fault.code is Code.LOST


class TestCommands:
    @pytest.fixture
    def words(self, served: Served, tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
        """A command line, and the environment that `up` would have it export."""
        given = {"CASEMATE_URL": served.url, "CASEMATE_TOKEN": served.token, "HOME": str(tmp_path), "COLUMNS": "200"}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        yield lambda *words: [str(Path(sys.executable).with_name("casemate")), "vm", *map(str, words)]
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})

    @pytest.mark.usefixtures("client")
    def test_a_vms_life(self, words: Callable[..., list[str]], tmp_path: Path) -> None:
        def casemate(*given: object) -> str:
            said = casemate_here(*words(*given)[1:])
            assert said.code == 0, said
            return said.out

        number = json.loads(casemate("launch", "report", "--json"))["vm"]
        assert [each["vm"] for each in json.loads(casemate("ps", "--json"))["vms"]] == [number]
        assert "waiting for 64 bytes" in casemate("run", number, "--time", "2")
        casemate("attest", number, "-o", tmp_path / "report.bin", "--report-data", "ab")
        report = SnpReport.parse((tmp_path / "report.bin").read_bytes())
        assert (report.report_data[0], report.measurement) == (0xAB, expected("report"))
        assert "report data: ab00" in casemate("console", number)
        ranges = json.loads(casemate("rmp", number, "--json"))["ranges"]
        assert sum(each["pages"] for each in ranges) == 64 * 256
        assert len(json.loads(casemate("mem", number, "0x10000", "--json"))["hex"]) == 512
        refused = casemate_here(*words("registers", number)[1:])
        assert refused.code != 0
        assert "debugging" in refused.err
        assert json.loads(casemate("destroy", number, "--json"))["state"] == "lost"

    def test_the_console_is_live_and_ctrl_c_leaves_nothing_running(
        self, words: Callable[..., list[str]], client: Client
    ) -> None:
        made = client.vms.launch(COUNT)
        follow = subprocess.Popen(words("console", made.vm, "--follow"), stdout=subprocess.PIPE)
        run = subprocess.Popen(words("run", made.vm, "--time", "120"), stdout=subprocess.PIPE)
        try:
            for process in (follow, run):
                assert process.stdout is not None
                assert re.search(rb"\d", process.stdout.readline())
            run.send_signal(2)
            run.wait(20)
            until(lambda: client.vms.get(made.vm).state is VmState.LAUNCHED)
            client.vms.destroy(made.vm)
            follow.wait(20)
        finally:
            for process in (follow, run):
                process.kill()
                process.communicate()
