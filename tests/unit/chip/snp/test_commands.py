import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rigs.chip.snp_guest import opened_with, seal_with

from casemate.chip.anchors import Anchors
from casemate.chip.errors import CertificationError
from casemate.chip.fuses import Fuses
from casemate.chip.runtime import RuntimeCopy
from casemate.chip.server import FIRMWARE_TAGS, ChipServer
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.chip.snp import commands, vm_process
from casemate.chip.snp.certification import SnpCertification
from casemate.chip.snp.commands import Firmware
from casemate.chip.snp.platform import SnpPlatform
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.link.channel import Frame
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages import chip
from casemate.wire.messages.snp_firmware import (
    Commit,
    DestroyVm,
    GetCertificates,
    GuestRequest,
    GuestResponse,
    LaunchDigest,
    LaunchFinish,
    LaunchStart,
    LaunchStarted,
    LaunchUpdate,
    LoadVlek,
    PlatformIs,
    PlatformStatus,
    SetConfig,
    VmProcessIs,
)
from casemate.wire.messages.spawner import Configure
from casemate.wire.protocol.faults import Code, Fault, FaultError
from casemate.wire.snp.cpuid_page import CpuidFunction, CpuidPage
from casemate.wire.snp.guest_message import ReportRequest, ReportResponse
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE, LaunchPage, PageType
from casemate.wire.snp.report import SnpReport
from casemate.wire.snp.secrets_page import SecretsPage

PAGES = 16
POLICY = 0x30000
TOP = 1 << 32
START = LaunchStart(VmMode.SEV_SNP, POLICY, PAGES, TOP)
UPDATE = LaunchUpdate(1, PageType.NORMAL, 0x1000, 0x1000, 1)
T = TypeVar("T")


@contextmanager
def dram(behaviour: str = "", size: int = PAGES * PAGE_SIZE) -> Iterator[int]:
    """A VM's memory; ``fake_vm`` says what ``behaviour`` can be."""
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        os.pwrite(file.fileno(), behaviour.encode(), 0)
        yield file.fileno()


@dataclass
class Host:
    """A host's link to a chip under test, and what the chip has told unasked."""

    caller: Caller
    news: list[VmProcessIs]
    doors: dict[int, socket.socket] = field(default_factory=dict)
    running: asyncio.Task[None] | None = None

    async def ask(self, question: object, wanted: type[T], *descriptors: int) -> T:
        answer, given = await self.caller.call(question, wanted, timeout=20, descriptors=descriptors)
        assert not given
        return answer

    async def start(self, memory: int, start: LaunchStart = START) -> LaunchStarted:
        started, (door,) = await self.caller.call(start, LaunchStarted, timeout=20, descriptors=(memory,))
        self.doors[started.vm] = socket.socket(fileno=door)
        return started

    async def refused(self, question: object, *descriptors: int) -> Fault:
        with pytest.raises(FaultError) as refusal:
            await self.caller.call(question, PlatformIs, timeout=20, descriptors=descriptors)
        return refusal.value.fault

    async def news_of(self, vm: int) -> VmProcessIs:
        for _ in range(500):
            for news in self.news:
                if news.vm == vm:
                    return news
            await asyncio.sleep(0.01)
        pytest.fail(f"no news of VM {vm}")


@dataclass
class Machine:
    """A chip under test."""

    host: Host
    server: ChipServer
    platform: SnpPlatform
    hosts: list[Host]
    ends: list[socket.socket]

    def another_host(self) -> Host:
        ours, theirs = socket.socketpair()
        self.ends += (ours, theirs)
        self.server.take_host(AsyncChannel(theirs))
        self.hosts.append(_host(ours))
        return self.hosts[-1]


def _host(end: socket.socket) -> Host:
    host = Host(Caller(AsyncChannel(end)), [])
    host.running = asyncio.create_task(
        host.caller.run(lambda message: host.news.append(parse_message(message, VmProcessIs)))
    )
    return host


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that runs the fake VM, whatever it is asked to run."""
    fake = Path(__file__).parents[3] / "rigs" / "chip" / "fake_vm.py"
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nshift 3\nexec "{sys.executable}" -I "{fake}" "$@"\n')
    script.chmod(0o755)
    return script


async def no_maker(question: object, wanted: type[T]) -> T:
    raise CertificationError(f"no maker gives {wanted.__name__} for {type(question).__name__}")


@pytest.fixture
def machine(tmp_path: Path, fuses: Fuses, python: Path) -> Callable[..., Any]:
    @asynccontextmanager
    async def running(interpreter: Path = python) -> AsyncIterator[Machine]:
        ours, theirs = socket.socketpair()
        folder = tmp_path / "state"
        folder.mkdir(exist_ok=True)
        platform = SnpPlatform(folder, fuses)
        anchors = Anchors(folder, fuses)
        server = ChipServer(
            AsyncChannel(theirs),
            SgxPlatform(folder, fuses, FIRST_TCB),
            anchors,
            platform="linux-x86_64-cp311",
            runtime=RuntimeCopy(tmp_path / "no runtime", (), rebuilt=False),
            configure=Configure((), "", "", 0),
            power_firmware=lambda tell: Firmware(
                platform, SnpCertification(platform, folder, no_maker), python=interpreter, layers=(), tell=tell
            ),
            snp=lambda: platform,
        )
        host = _host(ours)
        made = Machine(host, server, platform, [host], [ours, theirs])
        serving = asyncio.create_task(server.run())
        try:
            yield made
        finally:
            serving.cancel()
            await server.end()
            await asyncio.gather(serving, return_exceptions=True)
            for each in made.hosts:
                each.caller._channel.close()
                for door in each.doors.values():
                    door.close()
            for end in made.ends:
                end.close()
            anchors.close()

    return running


def run(work: Awaitable[None]) -> None:
    async def main() -> None:
        await work

    asyncio.run(main())


def page(memory: int, number: int) -> bytes:
    return os.pread(memory, PAGE_SIZE, number * PAGE_SIZE)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descriptors() -> int:
    """How many this process has open: chip and host together."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


def is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def pid_of(machine: Machine, vm: int) -> int:
    assert machine.server._firmware is not None
    return machine.server._firmware._guests[vm].process.pid


class TestLaunch:
    def test_a_guest_is_launched_and_asks_for_a_report(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    os.pwrite(memory, b"firmware", 2 * PAGE_SIZE)
                    os.pwrite(memory, b"registers", 4 * PAGE_SIZE)
                    os.pwrite(memory, CpuidPage((CpuidFunction(eax_in=0),)).encode(), 6 * PAGE_SIZE)
                    started = await m.host.start(memory)
                    assert (started.vm, started.asid) == (1, 1)
                    assert m.host.doors[1].recv(5) == b"power"
                    updates = (
                        (PageType.NORMAL, 2, 2, 0xFFFF_E000),
                        (PageType.VMSA, 4, 1, 0),
                        (PageType.SECRETS, 5, 1, 0x5000),
                        (PageType.CPUID, 6, 1, 0x6000),
                        (PageType.ZERO, 7, 1, 0x7000),
                        (PageType.UNMEASURED, 8, 1, 0x8000),
                    )
                    launched = []
                    for kind, first, count, gpa in updates:
                        contents = [page(memory, first + each) for each in range(count)]
                        launched += [LaunchPage(kind, gpa + each * PAGE_SIZE, contents[each]) for each in range(count)]
                        update = LaunchUpdate(1, kind, first * PAGE_SIZE, gpa, count)
                        so_far = await m.host.ask(update, LaunchDigest)
                        assert so_far.digest == digest_of(launched)
                    finished = await m.host.ask(LaunchFinish(1, b"H" * 32), LaunchDigest)
                    assert finished == LaunchDigest(1, digest_of(launched))
                    keys = SecretsPage.parse(page(memory, 5))
                    request = seal_with(keys.vmpck1, ReportRequest(b"D" * 64, 1).encode(), number=1, vmpl=1)
                    response = await m.host.ask(GuestRequest(1, request), GuestResponse)
                    answer = ReportResponse.parse(opened_with(keys.vmpck1, response.response))
                    report = SnpReport.parse(answer.report)
                    assert (report.measurement, report.host_data) == (finished.digest, b"H" * 32)
                    assert (report.vmpl, report.report_data) == (1, b"D" * 64)
                    assert await m.host.ask(DestroyVm(1), VmProcessIs) == VmProcessIs(1, "decommissioned")
                    fault = await m.host.refused(DestroyVm(1))
                    assert fault.code is Code.UNKNOWN_VM
                    assert not m.host.news

        run(work())

    def test_each_vm_has_keys_of_its_own(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as one, dram() as two:
                    started = await asyncio.gather(m.host.start(one), m.host.start(two))
                    assert sorted(each.vm for each in started) == [1, 2]
                    told = [page(memory, PAGES - 1) for memory in (one, two)]
                    keys = {told[number][at : at + 32] for number in range(2) for at in (0, 32)}
                    assert len(keys) == 4
                    assert bytes(32) not in keys
                    assert {each[64:68] for each in told} == {b"\1\0\0\0", b"\2\0\0\0"}

        run(work())

    def test_the_host_keeps_its_descriptor_and_the_chip_keeps_none(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory)
                    before = descriptors()
                    for _ in range(3):
                        started = await m.host.start(memory)
                        m.host.doors.pop(started.vm).close()
                        await m.host.ask(DestroyVm(started.vm), VmProcessIs)
                    await m.host.refused(START, memory, memory)
                    await m.host.ask(PlatformStatus(), PlatformIs, memory)
                    assert descriptors() == before

        run(work())

    @pytest.mark.parametrize(
        ("changes", "code", "words"),
        [
            ({"policy": 0x20000}, Code.FIRMWARE_REFUSED, "POLICY_FAILURE:"),
            ({"policy": 0x10000}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
            ({"pages": 0}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
            ({"pages": (1 << 20) + 1}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
            ({"pages": PAGES + 1}, Code.FIRMWARE_REFUSED, "INVALID_ADDRESS:"),
            ({"pages": PAGES - 1}, Code.FIRMWARE_REFUSED, "INVALID_ADDRESS:"),
            ({"top": 0}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
            ({"top": 0x1001}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
            ({"top": TOP + 0x1000}, Code.FIRMWARE_REFUSED, "INVALID_PARAM:"),
        ],
    )
    def test_refuses_a_vm_that_cannot_be(
        self, machine: Callable[..., Any], changes: dict[str, Any], code: Code, words: str
    ) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    fault = await m.host.refused(replace(START, **changes), memory)
                    assert (fault.code, fault.reason[: len(words)]) == (code, words)
                assert (await m.host.ask(PlatformStatus(), PlatformIs)).guests == 0

        run(work())

    def test_refuses_dram_that_is_no_plain_file(self, machine: Callable[..., Any], tmp_path: Path) -> None:
        async def work() -> None:
            file = tmp_path / "dram"
            file.write_bytes(bytes(PAGES * PAGE_SIZE))
            pipe = os.pipe()
            others = [
                *pipe,
                os.open(file, os.O_RDONLY),
                os.open(file, os.O_WRONLY),
                os.open(file, os.O_PATH),
                os.open(tmp_path, os.O_RDONLY),
                os.open("/dev/zero", os.O_RDWR),
            ]
            async with machine() as m:
                for other in others:
                    fault = await m.host.refused(START, other)
                    assert fault.code is Code.FIRMWARE_REFUSED
                    assert fault.reason.startswith("INVALID_ADDRESS:")
                assert (await m.host.refused(START)).code is Code.MALFORMED
                assert (await m.host.refused(START, *pipe)).code is Code.MALFORMED
            for other in others:
                os.close(other)

        run(work())

    def test_there_are_only_so_many_guests(self, machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(commands, "MAX_GUESTS", 2)

        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    asked = [m.host.start(memory) for _ in range(4)]
                    done = await asyncio.gather(*asked, return_exceptions=True)
                    refusals = [each.fault for each in done if isinstance(each, FaultError)]
                    assert [each.reason[:15] for each in refusals] == ["RESOURCE_LIMIT:"] * 2
                    assert (await m.host.ask(PlatformStatus(), PlatformIs)).guests == 2
                    await m.host.ask(DestroyVm(next(iter(m.host.doors))), VmProcessIs)
                    await m.host.start(memory)

        run(work())

    def test_commands_in_the_wrong_order_are_refused(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory)
                    early = await m.host.refused(GuestRequest(1, bytes(4096)))
                    await m.host.ask(LaunchFinish(1, bytes(32)), LaunchDigest)
                    late = [await m.host.refused(UPDATE), await m.host.refused(LaunchFinish(1, bytes(32)))]
                    for fault in (early, *late):
                        assert fault.code is Code.FIRMWARE_REFUSED
                        assert fault.reason.startswith("INVALID_GUEST_STATE:")

        run(work())

    def test_a_launch_goes_on_after_what_was_refused(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory)
                    os.pwrite(memory, b"\xff" * PAGE_SIZE, 3 * PAGE_SIZE)
                    wrong = [
                        replace(UPDATE, spa=PAGES * PAGE_SIZE),
                        replace(UPDATE, gpa=TOP),
                        replace(UPDATE, count=0),
                        replace(UPDATE, page_type=PageType.CPUID, spa=3 * PAGE_SIZE),
                        LaunchFinish(1, bytes(32), bytes(96), bytes(4096)),
                    ]
                    for each in wrong:
                        assert (await m.host.refused(each)).code is Code.FIRMWARE_REFUSED
                    added = await m.host.ask(UPDATE, LaunchDigest)
                    assert added.digest == digest_of([LaunchPage(PageType.NORMAL, 0x1000, page(memory, 1))])

        run(work())

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_a_vm_is_given_its_three_descriptors_and_nothing_else(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            inherited = {number for number in range(6, 1024) if is_inheritable(number)}  # from whoever runs the tests
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory)
                    process = Path(f"/proc/{pid_of(m, 1)}")
                    assert {int(each.name) for each in (process / "fd").iterdir()} - inherited == {*range(6)}
                    assert (process / "fd/0").readlink() == Path("/dev/null")
                    environment = (process / "environ").read_bytes().split(b"\0")
                    assert {each.partition(b"=")[0] for each in environment} <= {
                        b"LC_CTYPE",
                        b"PWD",
                        b"",
                        b"_",
                        b"OLDPWD",
                    }

        run(work())

    @pytest.mark.parametrize("mode", [VmMode.SEV, VmMode.SEV_ES])
    def test_there_are_no_messages_before_snp(self, machine: Callable[..., Any], mode: VmMode) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory, replace(START, mode=mode))
                    added = await m.host.ask(UPDATE, LaunchDigest)
                    assert added.digest == digest_of([LaunchPage(PageType.NORMAL, 0x1000, page(memory, 1))])
                    await m.host.ask(LaunchFinish(1, bytes(32)), LaunchDigest)
                    fault = await m.host.refused(GuestRequest(1, bytes(4096)))
                    assert fault.reason.startswith("UNSUPPORTED:")

        run(work())


class TestPlatform:
    def test_says_how_it_stands_and_does_as_the_host_likes_within_limits(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                first = await m.host.ask(PlatformStatus(), PlatformIs)
                assert (first.product, first.api_major, first.api_minor, first.guests) == ("Milan", 1, 55, 0)
                masked = await m.host.ask(SetConfig(bytes(8), mask_chip_id=True), PlatformIs)
                assert masked == replace(first, mask_chip_id=True)
                fault = await m.host.refused(SetConfig(b"\xff" * 8, mask_chip_id=False))
                assert fault.reason.startswith("INVALID_PARAM:")
                assert await m.host.ask(Commit(), PlatformIs) == masked

        run(work())

    @pytest.mark.parametrize(
        "command",
        [UPDATE, LaunchFinish(1, bytes(32)), GuestRequest(1, b""), DestroyVm(1), DestroyVm(2**64 - 1)],
    )
    def test_a_vm_that_nobody_knows_is_named(self, machine: Callable[..., Any], command: object) -> None:
        async def work() -> None:
            async with machine() as m:
                assert (await m.host.refused(command)).code is Code.UNKNOWN_VM

        run(work())

    @pytest.mark.parametrize("command", [GetCertificates(), LoadVlek("CN=cloud.example")])
    def test_a_maker_that_refuses_is_no_ones_fault_here(self, machine: Callable[..., Any], command: object) -> None:
        async def work() -> None:
            async with machine() as m:
                refusal = await m.host.refused(command)
                assert refusal.code is Code.UNAVAILABLE
                assert "no maker gives" in refusal.reason

        run(work())

    def test_every_message_of_the_firmware_finds_it(self) -> None:
        commands = (
            PlatformStatus(),
            Commit(),
            START,
            UPDATE,
            DestroyVm(1),
            GuestRequest(1, b""),
            GetCertificates(),
            LoadVlek(""),
        )
        assert {encode_message(each)[0] for each in commands} < {*FIRMWARE_TAGS}
        assert encode_message(START)[:1] == b"\xb0"
        assert encode_message(chip.QuoteTarget())[0] not in FIRMWARE_TAGS

    def test_arbitrary_content_gets_a_typed_refusal(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:

                @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
                @given(st.sampled_from(FIRMWARE_TAGS), st.binary(max_size=200))
                def refused(tag: int, rest: bytes) -> None:
                    sent.append(bytes((tag,)) + rest)

                sent: list[bytes] = []
                refused()
                for message in sent:
                    try:
                        reply = await m.server._answer_frame(Frame(message))
                        assert isinstance(reply.message, PlatformIs)
                    except (FaultError, WireError):
                        pass

        run(work())


class TestDeath:
    def test_a_vm_that_dies_is_told_and_refuses_all_but_its_end(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    await m.host.start(memory)
                    os.kill(pid_of(m, 1), 9)
                    assert await m.host.news_of(1) == VmProcessIs(1, "its process was ended by signal 9")
                    for command in (UPDATE, LaunchFinish(1, bytes(32)), GuestRequest(1, b"")):
                        assert (await m.host.refused(command)).code is Code.LOST
                    assert (await m.host.ask(PlatformStatus(), PlatformIs)).guests == 1
                    ended = await m.host.ask(DestroyVm(1), VmProcessIs)
                    assert ended.reason == "its process was ended by signal 9"
                    assert m.host.news == [ended]
                    assert m.host.doors[1].recv(5) == b"power"
                    assert m.host.doors[1].recv(5) == b""

        run(work())

    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ("die", "signal 9"),
            ("exit", "status 3"),
            ("babble", "broke the chip's protocol"),
            ("long", "broke the chip's protocol"),
            ("close", "signal 9"),
            ("mute", "within"),
        ],
    )
    @pytest.mark.parametrize("step", ["start", "AddPages", "ReadPage", "Finish"])
    def test_whatever_a_vm_does_the_chip_goes_on(
        self, machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, step: str, how: str, words: str
    ) -> None:
        if how == "mute":
            if step == "start":
                monkeypatch.setattr(vm_process, "START_TIME", 0.3)
            monkeypatch.setattr(commands, "UPDATE_TIME", 0.3)
            monkeypatch.setattr(commands, "ANSWER_TIME", 0.3)
        if how == "close":  # those that end by themselves have the time that they need
            monkeypatch.setattr(vm_process, "END_TIME", 0.2)
        command = {
            "AddPages": UPDATE,
            "ReadPage": replace(UPDATE, page_type=PageType.CPUID),
            "Finish": LaunchFinish(1, bytes(32)),
        }

        async def work() -> None:
            async with machine() as m:
                with dram(f"{step}:{how}") as memory, dram() as other:
                    if step == "start":
                        fault = await m.host.refused(START, memory)
                        assert not m.host.news
                        monkeypatch.undo()  # the next VM has all the time that it needs
                    else:
                        await m.host.start(memory)
                        fault = await m.host.refused(command[step])
                        assert words in (await m.host.news_of(1)).reason
                    assert fault.code is Code.LOST
                    assert words in fault.reason
                    started = await m.host.start(other)
                    await m.host.ask(replace(UPDATE, vm=started.vm), LaunchDigest)

        run(work())

    def test_a_refusal_of_the_memory_controller_reaches_the_host(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram("AddPages:refuse") as memory:
                    await m.host.start(memory)
                    fault = await m.host.refused(UPDATE)
                    assert (fault.code, fault.reason) == (
                        Code.FIRMWARE_REFUSED,
                        "INVALID_PAGE_STATE: not pre-guest",
                    )
                    finished = await m.host.ask(LaunchFinish(1, bytes(32)), LaunchDigest)
                    assert finished.digest == bytes(48)

        run(work())

    def test_a_vm_that_does_not_measure_is_ended(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram("no-digests") as memory:
                    await m.host.start(memory)
                    assert (await m.host.refused(UPDATE)).code is Code.LOST
                    assert "0 bytes of digests instead of 48" in (await m.host.news_of(1)).reason

        run(work())

    def test_an_answer_that_nobody_asked_for_ends_the_vm(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram("twice") as memory:
                    await m.host.start(memory)
                    await m.host.ask(UPDATE, LaunchDigest)
                    assert "unasked" in (await m.host.news_of(1)).reason

        run(work())

    def test_an_interpreter_that_is_not_there_is_told(self, machine: Callable[..., Any], tmp_path: Path) -> None:
        async def work() -> None:
            async with machine(tmp_path / "nowhere") as m:
                with dram() as memory:
                    before = descriptors()
                    fault = await m.host.refused(START, memory)
                    assert fault.code is Code.UNAVAILABLE
                    assert descriptors() == before

        run(work())

    def test_one_slow_vm_keeps_nobody_waiting(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram("AddPages:mute") as slow, dram() as quick:
                    await m.host.start(slow)
                    waiting = asyncio.create_task(m.host.refused(UPDATE))
                    started = await m.host.start(quick)
                    begun = time.monotonic()
                    await m.host.ask(replace(UPDATE, vm=started.vm), LaunchDigest)
                    assert time.monotonic() - begun < 2
                    assert not waiting.done()
                    pid = pid_of(m, 1)
                    await m.host.ask(DestroyVm(1), VmProcessIs)
                    assert (await waiting).code is Code.LOST
                    assert not is_alive(pid)

        run(work())

    def test_vms_end_with_their_host(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as one, dram() as two:
                    await m.host.start(one)
                    await m.host.start(two)
                    await m.host.ask(LaunchFinish(2, bytes(32)), LaunchDigest)
                    pids = [pid_of(m, 1), pid_of(m, 2)]
                    m.host.caller._channel.close()
                    other = m.another_host()
                    assert (await other.ask(PlatformStatus(), PlatformIs)).guests == 0
                    assert not any(map(is_alive, pids))
                    assert (await other.refused(UPDATE)).code is Code.UNKNOWN_VM
                    assert (await other.start(one)).vm == 3
                    assert not other.news

        run(work())

    def test_a_host_that_dies_while_it_launches_leaves_nothing(self, machine: Callable[..., Any]) -> None:
        async def work() -> None:
            async with machine() as m:
                with dram() as memory:
                    before = descriptors()
                    starting = [asyncio.create_task(m.host.start(memory)) for _ in range(3)]
                    await asyncio.sleep(0.05)
                    m.host.caller._channel.close()
                    await asyncio.gather(*starting, return_exceptions=True)
                    other = m.another_host()
                    assert (await other.ask(PlatformStatus(), PlatformIs)).guests == 0
                    assert m.server._firmware is not None
                    assert not m.server._firmware._guests
                    assert descriptors() <= before

        run(work())
