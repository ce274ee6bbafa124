"""Both clients against one host, honest or not: the same names, results and errors."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.channel.guests import Called, echo
from tests.rigs.channel.rig import ALICE, MANIFEST, MR_ENCLAVE
from tests.rigs.client.desk import SHOWN, Desk, Door, Respond
from tests.rigs.client.runs import IMAGE, Run, Steps

from casemate.client import aio, sync
from casemate.client.errors import (
    EnclaveRefusedError,
    FunctionRefusedError,
    HostRefusedError,
    ReceiptRefusedError,
    ResponseRefusedError,
)
from casemate.client.receipts import check_receipt
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.link.numbered_frames import numbered
from casemate.verifier import RefusedError
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import WireError
from casemate.wire.messages import host
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.lifecycle import State


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Desk() as found:
        yield found


@pytest.fixture
def door(desk: Desk, tmp_path: Path) -> Iterator[Door]:
    with Door(tmp_path / "host.sock", desk) as found:
        yield found


def hostile(tmp_path: Path, respond: Respond) -> Door:
    return Door(tmp_path / "hostile.sock", None, respond)


def test_the_whole_journey(run: Run, door: Door, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        number = yield client.launch(IMAGE)
        assert number == 1
        assert (yield client.enclaves()) == (SHOWN,)
        enclave = yield client.attest(number, desk.policy)
        assert enclave.evidence.mr_enclave == MR_ENCLAVE
        result = yield enclave.call("echo", {"n": 7}, caller=ALICE)
        assert result.value["arguments"] == {"n": 7}
        assert check_receipt(result.receipt, desk.policy).receipt.caller == ALICE.public_key
        result = yield enclave.call("echo", None)
        assert result.value["caller"] is None
        assert (yield client.stop(number)).state is State.STOPPED
        assert (yield client.start(number)).state is State.RUNNING
        assert (yield client.destroy(number)).state is State.DESTROYED

    run(door.path, journey)


def test_the_hosts_refusals_are_the_hosts_and_the_enclaves_the_enclaves(run: Run, door: Door, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(HostRefusedError) as by_host:
            yield client.attest(2, desk.policy)
        assert by_host.value.fault.code is Code.UNKNOWN_ENCLAVE
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(EnclaveRefusedError) as by_enclave:
            yield enclave.call("absent", None)
        assert by_enclave.value.fault.code is Code.ENTRY_UNKNOWN
        yield enclave.call("echo", None)

    run(door.path, journey)


def test_a_function_refuses_with_an_error_of_its_own(run: Run, tmp_path: Path) -> None:
    declares = f'{MANIFEST}\n[errors]\nclosed = "Nobody is served."\n'
    with (
        Desk(script=lambda called: called.refuses("closed"), manifest=declares) as closed,
        Door(tmp_path / "closed.sock", closed) as door,
    ):

        def journey(client: Any) -> Steps:
            enclave = yield client.attest(1, closed.policy)
            with pytest.raises(FunctionRefusedError, match=r"^closed: Nobody is served\.$") as caught:
                yield enclave.call("echo", None, caller=ALICE)
            refused = caught.value
            assert (refused.code, refused.reason, refused.details) == ("closed", "Nobody is served.", None)
            assert refused.receipt is not None
            checked = check_receipt(refused.receipt, closed.policy)
            assert checked.output == '{"error":"closed","details":null}'
            assert (checked.receipt.error, checked.receipt.caller) == ("closed", ALICE.public_key)
            for error in (None, "open"):
                claimed = replace(refused.receipt, receipt=replace(refused.receipt.receipt, error=error))
                with pytest.raises(ReceiptRefusedError, match="receipt signature"):
                    check_receipt(claimed, closed.policy)

        run(door.path, journey)


def test_values_that_are_no_json_are_refused_before_anything_is_sent(run: Run, door: Door, desk: Desk) -> None:
    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        for value in ({"n": 2**60}, float("nan"), object(), "\ud800", {1: {2}}):
            with pytest.raises(WireError):
                yield enclave.call("echo", value)
        yield enclave.call("echo", None)

    run(door.path, journey)


def test_an_enclave_that_does_not_satisfy_is_never_talked_to(run: Run, door: Door, desk: Desk) -> None:
    policy = replace(desk.policy, mr_enclave=frozenset({bytes(32)}))

    def journey(client: Any) -> Steps:
        with pytest.raises(RefusedError, match="mr-enclave"):
            yield client.attest(1, policy)

    run(door.path, journey)


def test_a_tampered_answer_is_refused(run: Run, desk: Desk, tmp_path: Path) -> None:
    def respond(channel: Channel, number: int, question: object) -> None:
        answer = desk.answer(question)
        if isinstance(answer, host.Answer):
            answer = host.Answer(answer.sealed[:-1] + bytes((answer.sealed[-1] ^ 1,)))
        channel.send(numbered(number, answer))

    def journey(client: Any) -> Steps:
        enclave = yield client.attest(1, desk.policy)
        with pytest.raises(ResponseRefusedError):
            yield enclave.call("echo", None)

    with hostile(tmp_path, respond) as door:
        run(door.path, journey)


def test_a_silent_host_costs_the_time_out_and_no_more(run: Run, tmp_path: Path) -> None:
    def journey(client: Any) -> Steps:
        started = time.monotonic()
        with pytest.raises(TimedOutError):
            yield client.evidence(1, bytes(32), timeout=0.1)
        assert time.monotonic() - started < 2

    with hostile(tmp_path, lambda *_: None) as door:
        run(door.path, journey)


def test_a_dying_host_is_noticed_at_once(run: Run, tmp_path: Path) -> None:
    def journey(client: Any) -> Steps:
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(PeerGoneError):
                yield client.evidence(1, bytes(32))
        assert time.monotonic() - started < 2

    with hostile(tmp_path, lambda *_: dying.die()) as dying:
        run(dying.path, journey)


@pytest.mark.parametrize("message", [b"", b"\x00", encode_message(host.Launched(1, bytes(32)))])
def test_malformed_answers_are_refused(run: Run, tmp_path: Path, message: bytes) -> None:
    def journey(client: Any) -> Steps:
        with pytest.raises(WireError):
            yield client.evidence(1, bytes(32))

    with hostile(tmp_path, lambda channel, number, _: channel.send(number.to_bytes(4, "little") + message)) as door:
        run(door.path, journey)


def test_descriptors_from_a_host_are_not_kept(run: Run, desk: Desk, tmp_path: Path) -> None:
    def respond(channel: Channel, number: int, question: object) -> None:
        channel.send(numbered(number, desk.answer(question)), (channel.fileno(),) * 4)

    def open_descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def journey(client: Any) -> Steps:
        yield client.enclaves()
        before = open_descriptors()
        yield client.enclaves()
        yield client.attest(1, desk.policy)
        assert open_descriptors() == before

    with hostile(tmp_path, respond) as door:
        run(door.path, journey)


def test_nobody_there_is_said_at_once(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PeerGoneError, match="no host at"):
        run(tmp_path / "nobody.sock", lambda _: iter(()))


def test_a_blocking_client_that_lost_count_is_of_no_use_any_more(tmp_path: Path) -> None:
    def respond(channel: Channel, number: int, _: object) -> None:
        channel.send(numbered(number + 1, host.EnclavesAre(())))

    with hostile(tmp_path, respond) as door, sync.connect(door.path) as client:
        with pytest.raises(WireError, match="number"):
            client.enclaves()
        with pytest.raises(PeerGoneError):
            client.enclaves()


def test_a_closed_client_says_so(door: Door) -> None:
    client = sync.connect(door.path)
    client.close()
    with pytest.raises(PeerGoneError, match="closed"):
        client.enclaves()


def test_calls_of_one_session_that_are_made_at_once_enter_in_order(door: Door, desk: Desk) -> None:
    seen: list[object] = []

    def script(called: Called) -> None:
        seen.append(called.arguments)
        echo(called)

    async def main() -> None:
        async with await aio.connect(door.path) as client:
            enclave = await client.attest(1, desk.policy)
            results = await asyncio.gather(*(enclave.call("echo", {"n": number}) for number in range(20)))
            assert [result.value["arguments"]["n"] for result in results] == list(range(20))

    desk.rig.script = script
    asyncio.run(main())
    desk.rig.script = echo
    assert seen == [b'{"n":%d}' % number for number in range(20)]


def test_a_call_that_is_given_up_leaves_the_others_alone(door: Door, desk: Desk) -> None:
    async def main() -> None:
        async with await aio.connect(door.path) as client:
            enclave = await client.attest(1, desk.policy)
            given_up = asyncio.create_task(enclave.call("echo", {"n": 1}))
            await asyncio.sleep(0)
            given_up.cancel()
            assert (await enclave.call("echo", {"n": 2})).value["arguments"] == {"n": 2}

    asyncio.run(main())


def test_closing_ends_calls_under_way(tmp_path: Path) -> None:
    async def main(path: Path) -> None:
        client = await aio.connect(path)
        asking = asyncio.create_task(client.enclaves())
        await asyncio.sleep(0.05)
        await client.close()
        with pytest.raises(PeerGoneError):
            await asking

    with hostile(tmp_path, lambda *_: None) as door:
        asyncio.run(main(door.path))
