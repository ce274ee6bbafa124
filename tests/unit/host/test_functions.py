"""Names of functions on a host: what they mean, and how an enclave takes another's place under one."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.host.fake_chip import FakeChip, host_of, sigstruct, stream

from casemate.host import orchestrator as module
from casemate.host.catalogue import Catalogue, CatalogueError
from casemate.host.orchestrator import Orchestrator
from casemate.wire.errors import WireError
from casemate.wire.messages.functions import FunctionIs, GetFunction, ListFunctions, SwitchFunction
from casemate.wire.messages.host import Call, Launch, StartEnclave
from casemate.wire.messages.request import Request
from casemate.wire.protocol.call import CallBinding, Envelope
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.lifecycle import State

Body = Callable[[Orchestrator, FakeChip], Awaitable[None]]


def image(text: bytes, name: str = "hello", *, temporary: bool = False, candidate: bool = True) -> Launch:
    sgxs = stream(text)
    return Launch(name, sgxs, sigstruct(sgxs), temporary, candidate=candidate)


def host(folder: Path, *bodies: Body) -> None:
    """Runs each body on a host of its own, one after the other, over one catalogue."""

    async def run(body: Body) -> None:
        async with host_of(folder) as (orchestrator, chip):
            await asyncio.wait_for(body(orchestrator, chip), 20)

    for body in bodies:
        asyncio.run(run(body))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it looks at tells nobody
        await asyncio.sleep(0.005)


async def refused(code: Code, doing: Awaitable[object], words: str = ".") -> FaultError:
    with pytest.raises(FaultError, match=words) as refusal:
        await doing
    assert refusal.value.fault.code is code
    return refusal.value


async def asking(host: Orchestrator, request: Request[Any]) -> object:
    return await host.answer(request)


async def deploy(host: Orchestrator, text: bytes, replaces: int = 0, *, drain: int = 0) -> FunctionIs:
    launched = await host.launch(image(text))
    return await host.switch(SwitchFunction("hello", launched.enclave, replaces, drain))


def numbers(host: Orchestrator) -> dict[int, State]:
    return {each.enclave: each.state for each in host.enclaves()}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.05)


def test_a_name_means_the_one_lasting_enclave_that_bears_it(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await refused(Code.UNKNOWN_ENCLAVE, asking(host, GetFunction("hello")), "no function 'hello' here.*: none")
        await host.launch(image(b"1", candidate=False))
        await host.launch(image(b"1", candidate=False, temporary=True))
        await host.launch(image(b"2"))  # a candidate
        found = host.function("hello")
        assert (found.current.enclave, found.previous, found.deployed) == (1, None, False)
        assert (await host.answer(ListFunctions())).functions == ()
        await refused(Code.UNKNOWN_ENCLAVE, asking(host, GetFunction("hullo")), "there are: hello")
        await host.launch(image(b"3", candidate=False))
        said = await refused(Code.WRONG_STATE, asking(host, GetFunction("hello")))
        assert "2 enclaves are named hello, and none was deployed under that name: 1 (running), 4 (running)" in str(
            said
        )

    host(tmp_path, body)


def test_a_switch_stops_the_old_one_and_outlives_the_host(tmp_path: Path) -> None:
    async def first(host: Orchestrator, _chip: FakeChip) -> None:
        assert (await deploy(host, b"1")).current.enclave == 1
        switched = await deploy(host, b"2", 1)
        assert (switched.current.enclave, switched.deployed) == (2, True)
        assert switched.previous is not None
        assert switched.previous.enclave == 1
        await until(lambda: numbers(host) == {1: State.STOPPED, 2: State.RUNNING})
        assert host.enclave(1).reason == "replaced by enclave 2"
        assert host.functions() == (host.function("hello"),)

    async def second(host: Orchestrator, chip: FakeChip) -> None:
        assert host.function("hello").current.enclave == 2
        await until(lambda: host.enclave(2).state is State.RUNNING)
        assert len(chip.loaded) == 1
        late = await refused(Code.SESSION_UNKNOWN, asking(host, Call(1, sealed())), "by enclave 2: attest hello again")
        assert late.fault.retry_ms == 1000
        back = await host.switch(SwitchFunction("hello", 1, 2, 0))
        assert (back.current.enclave, back.current.state) == (1, State.RUNNING)
        assert back.previous is not None
        await until(lambda: numbers(host) == {1: State.RUNNING, 2: State.STOPPED})

    host(tmp_path, first, second)


def test_what_came_before_the_previous_one_is_destroyed(tmp_path: Path) -> None:
    async def body(host: Orchestrator, chip: FakeChip) -> None:
        for number, text in enumerate((b"1", b"2", b"3", b"4")):
            await deploy(host, text, number)
        await until(lambda: numbers(host) == {3: State.STOPPED, 4: State.RUNNING})
        await until(lambda: len(chip.loaded) == 1)
        assert len(await host.images()) == 2

    host(tmp_path, body)


def sealed(quote_hash: bytes = bytes(32)) -> Envelope:
    return Envelope(CallBinding(quote_hash, 7, 1, "main"), b"sealed")


def test_sessions_go_on_with_the_old_one_until_its_time_is_up(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        held, _ = await quote(host, 1)
        hung = asyncio.create_task(host.plain_call(1, "hang", b"1"))
        await asyncio.sleep(0)
        await deploy(host, b"2", 1, drain=1)
        assert host.enclave(1).reason == "ends: replaced by enclave 2"
        asked = asyncio.get_running_loop().time()
        assert (await host.call_of("hello", sealed(held))).sealed == b"sealed"
        assert (await host.call_of("hello", sealed())).sealed == b"sealed"  # of nobody that it knows: the new one's
        gate = host._records[1].gate
        assert gate is not None
        await until(lambda: gate._closed_with is not None)
        assert asyncio.get_running_loop().time() - asked > 0.5
        await refused(Code.SESSION_UNKNOWN, host.call_of("hello", sealed(held)), "attest hello again")
        assert not hung.done()  # what is under way is waited for
        assert host.enclave(1).state is State.RUNNING
        back = await host.switch(SwitchFunction("hello", 1, 2, 0))  # which lets everybody in again
        assert (back.current.state, back.current.reason) == (State.RUNNING, "")
        assert await host.plain_call(1, "main", b"5") == b"5"
        hung.cancel()

    host(tmp_path, body)


async def quote(host: Orchestrator, number: int) -> tuple[bytes, bytes]:
    """The hash of evidence of an enclave, as its sessions name it."""
    record = host._records[number]
    assert record.gate is not None
    nonce = bytes(31) + bytes([number])
    _, evidence = await host._challenge(record, record.gate, nonce)
    quote_hash = hashlib.sha256(evidence).digest()
    host._names.note_quote(quote_hash, number)
    return quote_hash, evidence


def test_a_candidate_that_is_ill_leaves_the_old_one_serving(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        await refused(Code.INTERNAL, deploy(host, b"ill", 1), "it is ill")
        await refused(Code.LAUNCH_REFUSED, deploy(host, b"refused", 1))
        assert host.function("hello").current.enclave == 1
        assert host.enclave(1).state is State.RUNNING
        assert await host.plain_call(1, "main", b"1") == b"1"

    host(tmp_path, body)


def test_a_candidate_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        monkeypatch.setattr(module, "HEALTH_TIME", 0.05)
        monkeypatch.setattr(host, "_challenge", hangs)
        await refused(Code.TIMED_OUT, deploy(host, b"2", 1), "enclave 2 did not answer a challenge")
        assert host.function("hello").current.enclave == 1

    host(tmp_path, body)


def test_candidates_are_gone_with_their_host_or_when_nobody_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        await host.launch(image(b"2"))
        assert host.enclave(2).reason == "not switched to yet: answers to 2 alone"

    async def second(host: Orchestrator, _chip: FakeChip) -> None:
        assert set(numbers(host)) == {1}
        assert len(await host.images()) == 1
        monkeypatch.setattr(module, "CANDIDATE_TIME", 0.05)
        await host.launch(image(b"3"))
        await until(lambda: set(numbers(host)) == {1})

    host(tmp_path, first, second)


def test_a_switch_that_cannot_be_written_down_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise CatalogueError("database or disk is full")

    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        await deploy(host, b"2", 1)
        await until(lambda: host.enclave(1).state is State.STOPPED)
        monkeypatch.setattr(Catalogue, "switch", full)
        await refused(Code.UNAVAILABLE, host.switch(SwitchFunction("hello", 1, 2, 0)), "disk is full")
        await refused(Code.UNAVAILABLE, deploy(host, b"3", 2), "disk is full")
        assert host.function("hello").current.enclave == 2
        assert numbers(host)[1] is State.STOPPED  # it was started for the switch alone

    host(tmp_path, body)


def test_of_two_deploys_at_once_the_later_one_is_told(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        both = await asyncio.gather(deploy(host, b"2", 1), deploy(host, b"3", 1), return_exceptions=True)
        (lost,) = [each for each in both if isinstance(each, FaultError)]
        (won,) = [each for each in both if isinstance(each, FunctionIs)]
        assert lost.fault.code is Code.WRONG_STATE
        assert f"enclave {won.current.enclave} answers to hello, want enclave 1: somebody else" in str(lost)
        assert host.function("hello").current == replace(won.current)

    host(tmp_path, body)


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (SwitchFunction("hello", 9, 1, 0), Code.UNKNOWN_ENCLAVE, "no enclave 9"),
        (SwitchFunction("hello", 1, 1, 0), Code.WRONG_STATE, "cannot replace itself"),
        (SwitchFunction("hello", 2, 0, 0), Code.WRONG_STATE, "enclave 1 answers to hello, want none"),
        (SwitchFunction("other", 2, 0, 0), Code.WRONG_STATE, "enclave 2 is named hello, want other"),
        (SwitchFunction("hello", 3, 1, 0), Code.WRONG_STATE, "enclave 3 is temporary"),
        (SwitchFunction("hello", 2, 1, 3601), Code.MALFORMED, "drain: got 3601 s, want 3600 at most"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(tmp_path: Path, asked: SwitchFunction, code: Code, words: str) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        await host.launch(image(b"2"))
        await host.launch(image(b"3", temporary=True, candidate=False))
        await refused(code, host.switch(asked), words)
        assert host.function("hello").current.enclave == 1

    host(tmp_path, body)


@pytest.mark.parametrize("name", ["7", "../x", "", "a" * 65, "Hello"])
def test_a_name_that_can_be_no_functions_is_malformed(tmp_path: Path, name: str) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        sgxs = stream(b"1")
        await host.launch(Launch(name, sgxs, sigstruct(sgxs)))
        with pytest.raises(WireError, match=r"function's name is .*, the format wants lower-case"):
            await host.switch(SwitchFunction(name, 1, 0, 0))

    host(tmp_path, body)


def test_a_name_is_free_again_when_its_enclave_is_destroyed(tmp_path: Path) -> None:
    async def body(host: Orchestrator, _chip: FakeChip) -> None:
        await deploy(host, b"1")
        await deploy(host, b"2", 1)
        await until(lambda: host.enclave(1).state is State.STOPPED)
        await host.destroy(2)
        assert host.functions() == ()
        assert host.function("hello").current.enclave == 1  # the only one that bears it
        await host.answer(StartEnclave(1))
        await host.destroy(1)
        await refused(Code.UNKNOWN_ENCLAVE, asking(host, GetFunction("hello")))
        assert (await deploy(host, b"4")).current.enclave == 3

    host(tmp_path, body)


def test_an_old_one_that_dies_while_it_ends_stays_dead(tmp_path: Path) -> None:
    async def body(host: Orchestrator, chip: FakeChip) -> None:
        await deploy(host, b"1")
        busy = asyncio.create_task(host.plain_call(1, "hang", b"1"))
        await asyncio.sleep(0)
        await deploy(host, b"2", 1, drain=60)
        await chip.lose(101)
        await refused(Code.LOST, busy)
        await until(lambda: 101 not in chip.loaded)
        assert len(chip.running) == 1
        await refused(Code.SESSION_UNKNOWN, asking(host, Call(1, sealed())), "attest hello again")

    host(tmp_path, body)
