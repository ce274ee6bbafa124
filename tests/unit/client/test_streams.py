"""Streams of both clients, over both transports, with hosts that do what they like with the steps."""

import asyncio
import contextlib
import hashlib
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.channel.rig import ALICE, BOB
from tests.rigs.channel.sealed import response_text, sealed_response
from tests.rigs.client.desk import Desk, Door
from tests.rigs.client.doubling import DOUBLES, doubles
from tests.rigs.client.runs import Run, Steps, run_aio, run_sync
from tests.rigs.client.web import TOKEN, Gateway, Web

from casemate.client import aio, sync
from casemate.client.core import AttestedEnclave
from casemate.client.errors import (
    AttestAgainError,
    EnclaveRefusedError,
    FunctionRefusedError,
    HostRefusedError,
    ReceiptRefusedError,
    ResponseRefusedError,
    StreamBrokenError,
)
from casemate.client.receipts import ReceiptBundle, check_receipt
from casemate.client.streaming import StreamCore, pieces
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import numbered
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages import host
from casemate.wire.protocol.call import MAX_CHUNK, StepKind, StepTaken, StreamEnded
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.padding import pad


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk(script=doubles, manifest=DOUBLES) as found:
        yield found


Connect = Callable[[Callable[[Any], Steps]], None]


@pytest.fixture(params=["sync-unix", "aio-unix", "sync-http", "aio-http"])
def connected(request: pytest.FixtureRequest, desk: Desk, tmp_path: Path) -> Iterator[Connect]:
    """Runs a journey with a client of one kind, over one transport."""
    kind, over = request.param.split("-")
    run: Run = run_sync if kind == "sync" else run_aio
    with contextlib.ExitStack() as stack:
        if over == "unix":
            door = stack.enter_context(Door(tmp_path / "host.sock", desk))
            yield lambda journey: run(door.path, journey)
        else:
            web = stack.enter_context(Web(Gateway(desk)))
            yield lambda journey: run(web.url, journey, token=TOKEN)


def read(stream: Any) -> Any:
    """The whole output: at once, or to be awaited."""
    if isinstance(stream, sync.Stream):
        return b"".join(stream)

    async def wait() -> bytes:
        return b"".join([piece async for piece in stream])

    return wait()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


GIVEN = [b"a" * MAX_CHUNK, b"b", b"c" * 100_000]
DOUBLED = b"".join(piece * 2 for piece in GIVEN) + b"end"


def test_the_output_and_a_receipt_over_all_of_it(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", {"n": 1}, GIVEN, caller=ALICE)
        assert (yield read(stream)) == DOUBLED
        assert stream.result.value == {"pieces": 3, "asked": '{"n":1}'}
        assert (stream.sent, stream.received) == (len(b"".join(GIVEN)), len(DOUBLED))
        bundle = ReceiptBundle.parse(stream.result.receipt.encode())
        checked = check_receipt(bundle, desk.policy)
        assert checked.receipt.caller == ALICE.public_key
        assert checked.input is not None
        assert checked.output is not None
        given = b"".join(GIVEN)
        assert json.loads(checked.input) == {"value": {"n": 1}, "stream": {"sha256": sha256(given), "size": len(given)}}
        assert json.loads(checked.output)["stream"] == {"sha256": sha256(DOUBLED), "size": len(DOUBLED)}
        assert (yield enclave.call("echo", None)).value["caller"] is None  # the session goes on

    connected(journey)


INPUTS: dict[str, Any] = {
    "bytes": b"some",
    "bytearray": bytearray(b"some"),
    "memoryview": memoryview(b"some"),
    "list": [b"so", b"", memoryview(b"me")],
    "generator": (piece for piece in [b"some"]),
    "file": io.BytesIO(b"some"),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_input_comes_in_many_forms(kind: str) -> None:
    assert b"".join(pieces(INPUTS[kind])) == b"some"


def test_pieces_are_cut_to_what_a_step_carries() -> None:
    assert [len(piece) for piece in pieces(bytes(MAX_CHUNK * 2 + 1))] == [MAX_CHUNK, MAX_CHUNK, 1]
    assert [len(piece) for piece in pieces(io.BytesIO(bytes(MAX_CHUNK + 1)))] == [MAX_CHUNK, 1]
    assert list(pieces(b"")) == []


@pytest.mark.parametrize("chunks", ["text", ["text"], [1], [None]])
def test_what_is_no_bytes_is_misuse(chunks: Any) -> None:
    with pytest.raises(TypeError, match="want bytes"):
        list(pieces(chunks))


def test_an_empty_input_is_one(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", None)
        assert (yield read(stream)) == b"end"
        assert stream.result.value["pieces"] == 0

    connected(journey)


def test_asynchronous_input_and_files(desk: Desk, tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for piece in GIVEN:
            await asyncio.sleep(0)
            yield piece

    async def main(door: Door) -> None:
        async with await aio.connect(door.path) as client:
            enclave = await client.attest(1, desk.policy)
            assert await read(enclave.stream("double", None, chunks())) == DOUBLED
            assert await read(enclave.stream("double", None, io.BytesIO(b"xyz"))) == b"xyzxyzend"

    with Door(tmp_path / "host.sock", desk) as door:
        asyncio.run(main(door))


def test_the_input_is_read_as_it_is_wanted_and_no_sooner(desk: Desk, tmp_path: Path) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"piece"

    with Door(tmp_path / "host.sock", desk) as door, sync.connect(door.path) as client:
        stream = client.attest(1, desk.policy).stream("double", None, chunks())
        assert taken == []
        output = iter(stream)
        next(output)
        assert len(taken) == 1


def test_a_result_before_the_end_is_misuse(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", None)
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = stream.result
        yield read(stream)
        assert stream.result.value["pieces"] == 0
        assert (yield read(stream)) == b""  # once

    connected(journey)


def test_the_enclave_refuses_before_anything_passes(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        for entry, caller, code in (
            ("absent", None, Code.ENTRY_UNKNOWN),
            ("echo", None, Code.ARGUMENTS_REFUSED),
            ("owned", None, Code.CALLER_REFUSED),
            ("owned", BOB, Code.CALLER_REFUSED),
        ):
            stream = enclave.stream(entry, None, iter([b"never taken"]), caller=caller)
            with pytest.raises(EnclaveRefusedError) as caught:
                yield read(stream)
            assert caught.value.fault.code is code
            with pytest.raises(StreamBrokenError):
                _ = stream.result
        assert (yield read(enclave.stream("owned", None, caller=ALICE))) == b"end"

    connected(journey)


def test_a_function_that_fails_half_way_ends_its_stream_alone(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", None, [b"good", b"fail", b"never"])
        with pytest.raises(EnclaveRefusedError) as caught:
            yield read(stream)
        assert caught.value.fault.code is Code.GUEST_ERROR
        with pytest.raises(StreamBrokenError, match="guest-error"):
            yield read(stream)
        assert (yield read(enclave.stream("double", None))) == b"end"

    connected(journey)


def test_a_function_that_refuses_half_way_says_so_with_a_receipt(connected: Connect, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", None, [b"good", b"refuse", b"never"])
        with pytest.raises(FunctionRefusedError) as caught:
            yield read(stream)
        with pytest.raises(FunctionRefusedError):
            _ = stream.result
        assert (caught.value.code, stream.received) == ("closed", 8)
        assert caught.value.receipt is not None
        checked = check_receipt(caught.value.receipt, desk.policy)
        assert checked.output is not None
        assert json.loads(checked.output) == {
            "value": {"error": "closed", "details": None},
            "stream": {"sha256": sha256(b"goodgood"), "size": 8},
        }
        with pytest.raises(StreamBrokenError, match="closed: Nobody"):
            yield read(stream)
        assert (yield read(enclave.stream("double", None))) == b"end"

    connected(journey)


class Watched:
    """A host in front of ``desk`` that tells which steps pass, as only a test can know: it has the client's session."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.calls: list[host.Call] = []
        self.answers: list[object] = []
        self.tamper: Callable[[int, host.Call], object] | None = None

    def __call__(self, channel: Channel, number: int, question: object) -> None:
        if isinstance(question, host.Call):
            self.calls.append(question)
            answer = self.tamper(len(self.calls), question) if self.tamper else self.desk.answer(question)
            self.answers.append(answer)
        else:
            answer = self.desk.answer(question)
        channel.send(numbered(number, answer))


@pytest.fixture
def watched(desk: Desk, tmp_path: Path) -> Iterator[tuple[Watched, Door]]:
    watching = Watched(desk)
    with Door(tmp_path / "watched.sock", None, watching) as door:
        yield watching, door


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[StepKind]:
    """The kinds of all steps that are sealed."""
    kinds: list[StepKind] = []
    real = AttestedEnclave.seal_call

    def seal_call(self: AttestedEnclave, *args: Any, **named: Any) -> Any:
        if named.get("step") is not None:
            kinds.append(named["step"].kind)
        return real(self, *args, **named)

    monkeypatch.setattr(AttestedEnclave, "seal_call", seal_call)
    return kinds


def test_leaving_the_loop_gives_the_stream_up(desk: Desk, tmp_path: Path, steps: list[StepKind]) -> None:
    with Door(tmp_path / "host.sock", desk) as door, sync.connect(door.path) as client:
        enclave = client.attest(1, desk.policy)
        stream = enclave.stream("double", None, [b"x"] * 9)
        for _ in stream:
            break
        assert steps[-1] is StepKind.CANCEL
        with pytest.raises(StreamBrokenError, match="given up"):
            _ = stream.result
        stream.close()
        assert steps.count(StepKind.CANCEL) == 1


def test_leaving_the_block_gives_the_stream_up(connected: Connect, desk: Desk, steps: list[StepKind]) -> None:
    async def leave(enclave: Any) -> None:
        async with enclave.stream("double", None, [b"x"] * 9) as stream:
            async for _ in stream:
                break

    def leave_now(enclave: Any) -> None:
        with enclave.stream("double", None, [b"x"] * 9) as stream:
            next(iter(stream))

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        for _ in range(20):  # more than the enclave keeps open
            yield (leave_now if isinstance(client, sync.Client) else leave)(enclave)
        assert steps.count(StepKind.CANCEL) == 20

    connected(journey)


def test_a_stream_that_never_began_is_given_up_in_silence(desk: Desk, tmp_path: Path, steps: list[StepKind]) -> None:
    with Door(tmp_path / "host.sock", desk) as door, sync.connect(door.path) as client:
        with client.attest(1, desk.policy).stream("double", None):
            pass
        assert steps == []


def test_what_the_input_raises_comes_through_and_ends_the_stream(
    connected: Connect, desk: Desk, steps: list[StepKind]
) -> None:
    class OwnError(CasemateError):
        """Any error would do; the driver of these tests throws this kind into a journey."""

    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise OwnError

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(OwnError):
            yield read(enclave.stream("double", None, chunks()))
        assert steps[-1] is StepKind.CANCEL
        yield enclave.call("echo", None)

    connected(journey)


def test_giving_up_a_task_gives_up_its_stream(desk: Desk, tmp_path: Path, steps: list[StepKind]) -> None:
    async def main(door: Door) -> None:
        async with await aio.connect(door.path) as client:
            enclave = await client.attest(1, desk.policy)

            async def endless() -> None:
                async with enclave.stream("double", None, iter(lambda: b"x", b"")) as stream:
                    async for _ in stream:
                        pass

            task = asyncio.create_task(endless())
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert steps[-1] is StepKind.CANCEL
            assert (await enclave.call("echo", {"n": 1})).value["arguments"] == {"n": 1}

    with Door(tmp_path / "host.sock", desk) as door:
        asyncio.run(main(door))


TAMPERINGS: dict[str, Callable[[Watched, int, host.Call], object]] = {}


def tampering(function: Callable[[Watched, int, host.Call], object]) -> Callable[[Watched, int, host.Call], object]:
    TAMPERINGS[function.__name__] = function
    return function


@tampering
def answers_with_the_answer_before(watching: Watched, at: int, call: host.Call) -> object:
    honest = watching.desk.answer(call)
    return watching.answers[-1] if at == 3 else honest


@tampering
def drops_a_step(watching: Watched, at: int, call: host.Call) -> object:
    """The host answers for the enclave, with what it has."""
    return watching.answers[-1] if at == 3 else watching.desk.answer(call)


@tampering
def alters_the_answer(watching: Watched, at: int, call: host.Call) -> object:
    honest = watching.desk.answer(call)
    assert isinstance(honest, host.Answer)
    return host.Answer(honest.sealed[:-1] + bytes((honest.sealed[-1] ^ 1,))) if at == 3 else honest


@tampering
def gives_the_step_before_once_more(watching: Watched, at: int, call: host.Call) -> object:
    """The enclave refuses the number that is used, so the host can only say so."""
    return watching.desk.answer(watching.calls[-2] if at == 3 else call)


@tampering
def alters_the_step(watching: Watched, at: int, call: host.Call) -> object:
    sealed = call.envelope.sealed
    altered = replace(call, envelope=replace(call.envelope, sealed=sealed[:-1] + bytes((sealed[-1] ^ 1,))))
    return watching.desk.answer(altered if at == 3 else call)


WANTED = {
    "answers_with_the_answer_before": ResponseRefusedError,
    "drops_a_step": ResponseRefusedError,
    "alters_the_answer": ResponseRefusedError,
    "gives_the_step_before_once_more": HostRefusedError,
    "alters_the_step": AttestAgainError,
}


@pytest.mark.parametrize("how", WANTED)
@pytest.mark.parametrize("run", [run_sync, run_aio], ids=["sync", "aio"])
def test_a_host_that_meddles_with_the_steps_ends_the_stream_and_no_more(
    run: Run, how: str, watched: tuple[Watched, Door], desk: Desk
) -> None:
    watching, door = watched
    watching.tamper = lambda at, call: TAMPERINGS[how](watching, at, call)

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        stream = enclave.stream("double", None, [b"one", b"two", b"three"])
        with pytest.raises(WANTED[how]):
            yield read(stream)
        with pytest.raises(StreamBrokenError):
            yield read(stream)
        with pytest.raises(StreamBrokenError):
            _ = stream.result
        watching.tamper = None
        assert (yield read(enclave.stream("double", None, b"one"))) == b"oneoneend"

    run(door.path, journey)


def test_a_step_whose_answer_is_lost_ends_the_stream(desk: Desk, tmp_path: Path) -> None:
    def respond(channel: Channel, number: int, question: object) -> None:
        answer = desk.answer(question)
        if isinstance(question, host.Call) and question.envelope.binding.sequence == 3:
            channel.close()
            return
        channel.send(numbered(number, answer))

    with Door(tmp_path / "lossy.sock", None, respond) as door, sync.connect(door.path) as client:
        stream = client.attest(1, desk.policy).stream("double", None, [b"one", b"two"])
        with pytest.raises(PeerGoneError):
            read(stream)
        with pytest.raises(StreamBrokenError):
            read(stream)


def test_a_stream_that_the_enclave_has_given_up_says_so(watched: tuple[Watched, Door], desk: Desk) -> None:
    _, door = watched
    with sync.connect(door.path) as client:
        enclave = client.attest(1, desk.policy)
        stream = enclave.stream("double", None, [b"one", b"two"])
        output = iter(stream)
        next(output)
        stream._core._number = 999
        with pytest.raises(EnclaveRefusedError) as caught:
            next(output)
        assert caught.value.fault.code is Code.STREAM_UNKNOWN


class TestDefects:
    """An appraised enclave with a defect, whose answers are sealed as they should be."""

    @pytest.fixture
    def core(self, desk: Desk) -> StreamCore:
        return StreamCore(desk.attest(), "double", b"null", None)

    def says(self, core: StreamCore, desk: Desk, change: Callable[[Any], Any], piece: bytes | None = None) -> bytes:
        """One step whose honest answer is changed, and sealed anew."""
        pending = core.step(piece)
        sealed = desk.rig.enter(pending.envelope).sealed
        honest = parse_message(response_text(pending, sealed), StepTaken, StreamEnded)
        return core.open_output(sealed_response(pending, pad(encode_message(change(honest)))))

    def test_another_streams_number(self, core: StreamCore, desk: Desk) -> None:
        with pytest.raises(ResponseRefusedError, match="stream 0"):
            self.says(core, desk, lambda said: replace(said, stream=0))

    def test_a_number_that_changes(self, core: StreamCore, desk: Desk) -> None:
        self.says(core, desk, lambda said: said)
        with pytest.raises(ResponseRefusedError, match="stream 77"):
            self.says(core, desk, lambda said: replace(said, stream=77), b"piece")

    def test_hunger_after_the_end(self, core: StreamCore, desk: Desk) -> None:
        self.says(core, desk, lambda said: said)
        with pytest.raises(ResponseRefusedError, match="after its end"):
            self.says(core, desk, lambda _: StepTaken(core._number, is_hungry=True, data=b""), b"")

    def test_output_that_the_receipt_is_not_about(self, core: StreamCore, desk: Desk) -> None:
        self.says(core, desk, lambda said: said)
        with pytest.raises(ReceiptRefusedError, match="commitment to the output"):
            self.says(core, desk, lambda said: replace(said, data=b"enD"), b"")

    def test_an_answer_of_another_kind(self, core: StreamCore, desk: Desk) -> None:
        with pytest.raises(ResponseRefusedError):
            self.says(core, desk, lambda _: fault(Code.BUSY, "no answer to a step"))
