import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import deployed
from tests.rigs.gateway.events import following, visit
from tests.rigs.gateway.front import Front, front, run

from casemate.gateway.http.problems import ProblemError
from casemate.gateway.http.settings import Settings
from casemate.gateway.v1 import events
from casemate.gateway.v1.events import EventStreams
from casemate.host.events import KEPT, MachineEvent
from casemate.wire.protocol.access_tokens import AccessToken, Role
from casemate.wire.protocol.lifecycle import State


def streams(gateway: Front, most: int = 16) -> EventStreams:
    return EventStreams(gateway.host, most=most)


def test_begins_with_all_enclaves_and_tells_each_change(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            enclave = await deployed(client)
        stream = streams(gateway).open(visit(), None)
        first = await following(stream)
        assert (first.kind, first.data) == ("enclaves", {"enclaves": [enclave]})
        gateway.host.become(1, State.LOST, "it crashed")
        second = await following(stream)
        assert second.kind == "enclave"
        assert second.data["enclave"] == enclave | {"state": "lost", "reason": "it crashed"}
        gateway.host.events.publish(MachineEvent("the chip ended with -9"))
        third = await following(stream)
        assert (third.kind, third.data["text"]) == ("machine", "the chip ended with -9")
        assert first.name.rpartition("-")[0] == third.name.rpartition("-")[0]
        await stream.aclose()  # type: ignore[attr-defined]

    run(work())


def test_goes_on_after_the_event_that_a_reader_names(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            await deployed(client)
        hub = streams(gateway)
        stream = hub.open(visit(), None)
        name = (await following(stream)).name
        gateway.host.become(1, State.STOPPED)
        gateway.host.become(1, State.RUNNING)
        again = hub.open(visit(), name)
        assert [(await following(again)).data["enclave"]["state"] for _ in range(2)] == ["stopped", "running"]
        for each in (stream, again):
            await each.aclose()  # type: ignore[attr-defined]

    run(work())


@pytest.mark.parametrize("name", ["", "x", "0" * 16 + "-1", "-1", "0" * 16 + "-99999999999999999999"])
def test_begins_anew_where_the_named_event_is_another_processs(gateway: Front, name: str) -> None:
    async def work() -> None:
        stream = streams(gateway).open(visit(), name)
        assert (await following(stream)).kind == "enclaves"
        await stream.aclose()  # type: ignore[attr-defined]

    run(work())


def test_a_reader_that_is_too_slow_hears_that_events_are_missing(gateway: Front) -> None:
    async def work() -> None:
        stream = streams(gateway).open(visit(), None)
        await following(stream)
        for number in range(KEPT + 10):
            gateway.host.events.publish(MachineEvent(str(number)))
        gap = await following(stream)
        assert (gap.kind, gap.data) == ("gap", {"missed": 10})
        assert (await following(stream)).data["text"] == "10"
        await stream.aclose()  # type: ignore[attr-defined]

    run(work())


def test_a_stream_without_events_sends_comments(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.05)

    async def work() -> None:
        stream = streams(gateway).open(visit(), None)
        assert [(await following(stream)).kind for _ in range(3)] == ["enclaves", "comment", "comment"]
        gateway.host.events.publish(MachineEvent("x"))
        assert (await following(stream)).kind == "machine"
        await stream.aclose()  # type: ignore[attr-defined]

    run(work())


def test_streams_end_when_the_gateway_does(gateway: Front) -> None:
    async def work() -> None:
        hub = streams(gateway)
        stream = hub.open(visit(), None)
        await following(stream)
        ending = asyncio.create_task(following(stream))
        await asyncio.sleep(0.01)
        hub.close()
        assert (await ending).kind == "end"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert [(await following(each)).kind for each in [hub.open(visit(), None)]] == ["enclaves"]

    run(work())


def test_there_are_only_so_many_readers_and_places_come_back(gateway: Front) -> None:
    async def work() -> None:
        hub = streams(gateway, most=1)
        mine = visit()
        hub.open(mine, None)  # and never read
        with pytest.raises(ProblemError, match="1 readers"):
            hub.open(visit(), None)
        mine.over()
        other = hub.open(visit(), None)
        await following(other)
        await other.aclose()  # type: ignore[attr-defined]

    run(work())


def test_one_token_has_a_quarter_of_the_places(gateway: Front) -> None:
    async def work() -> None:
        hub = streams(gateway, most=8)
        created = datetime(2026, 11, 22, tzinfo=UTC)
        one, other = (AccessToken(name, Role.CALL, created, name.encode() * 32) for name in ("a", "b"))
        for token in (one, other):
            for _ in range(2):
                hub.open(visit(token), None)
            with pytest.raises(ProblemError, match=f"2 readers of token {token.name} follow the events already"):
                hub.open(visit(token), None)

    run(work())


def test_over_http_it_is_an_event_stream(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(subscribers=0))

    async def refused() -> None:
        async with gateway.client() as client:
            problem(await client.get("/v1/events"), "rate-limited")

    run(refused())


def test_a_stream_is_served_until_the_end(gateway: Front) -> None:
    async def work() -> None:
        async with gateway.client() as client:
            asking = asyncio.create_task(client.get("/v1/events"))
            await asyncio.sleep(0.1)
            gateway.host.events.publish(MachineEvent("hello"))
            await asyncio.sleep(0.1)
            gateway.gateway.close()
            answer = await asking
        assert answer.headers["content-type"].startswith("text/event-stream")
        kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
        assert kinds == ["enclaves", "machine", "end"]

    run(work())
