import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.rigs.gateway.answers import problem
from tests.rigs.gateway.deployed import launched
from tests.rigs.gateway.events import Shown, following, visit
from tests.rigs.gateway.front import Front, front, run

from casemate.gateway.http.problems import ProblemError
from casemate.gateway.http.settings import Settings
from casemate.gateway.v1.vm import console as vm_console
from casemate.gateway.v1.vm.console import ConsoleStreams
from casemate.host.vm.console import KEPT, Console
from casemate.wire.protocol.faults import FaultError


def prints(console: Console, text: bytes) -> None:
    for byte in text:
        console.put(byte)


async def streams(gateway: Front, most: int = 16) -> tuple[ConsoleStreams, Console]:
    """With VM 1, and its console."""
    async with gateway.client() as client:
        await launched(client)
    return ConsoleStreams(gateway.vms, most=most), gateway.vms.console(1)


async def closed(stream: AsyncIterator[bytes]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]


def text(shown: Shown) -> bytes:
    assert shown.kind == "console"
    assert shown.data["start"] + len(base64.b64decode(shown.data["content"])) == int(shown.name)
    return base64.b64decode(shown.data["content"])


def test_the_console_in_one_piece(gateway: Front) -> None:
    async def work() -> None:
        _, console = await streams(gateway)
        prints(console, b"Hello \xff")
        async with gateway.client() as client:
            found = (await client.get("/v1/vms/1/console?start=1")).json()
            assert found == {"start": 1, "end": 7, "text": "ello �", "content": "ZWxsbyD/", "ended": False}
            beyond = (await client.get("/v1/vms/1/console?start=99")).json()
            assert (beyond["start"], beyond["end"], beyond["text"]) == (99, 99, "")
            for start in ("-1", "x", str(2**53)):
                problem(await client.get(f"/v1/vms/1/console?start={start}"), "request-refused")

    run(work())


def test_tells_what_is_printed_and_goes_on_after_the_byte_that_a_reader_names(gateway: Front) -> None:
    async def work() -> None:
        hub, console = await streams(gateway)
        prints(console, b"one")
        stream = hub.open(visit(), hub.console(1), 0)
        assert text(await following(stream)) == b"one"
        coming = asyncio.create_task(following(stream))
        await asyncio.sleep(0.01)
        prints(console, b"tw")
        await asyncio.sleep(0.01)
        prints(console, b"o")
        second = await coming
        assert text(second) == b"two"  # in one event, though it was printed in two goes
        again = hub.open(visit(), hub.console(1), 3)
        assert text(await following(again)) == b"two"
        assert second.name == "6"
        for each in (stream, again):
            await closed(each)

    run(work())


def test_over_http_the_last_event_id_is_a_bytes_number(gateway: Front) -> None:
    async def work() -> None:
        _, console = await streams(gateway)
        prints(console, b"one two")
        console.close()
        async with gateway.client() as client:
            for header, query, first in (
                (None, "", "one two"),
                (None, "?start=4", "two"),
                ("4", "", "two"),
                ("4", "?start=1", "two"),
                ("x", "?start=4", "two"),
                ("-1", "", "one two"),
                ("9" * 40, "", "one two"),
            ):
                headers = {} if header is None else {"Last-Event-ID": header}
                answer = await client.get(f"/v1/vms/1/console/events{query}", headers=headers)
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert f'"text":"{first}"' in answer.text, header
                assert answer.text.endswith('event: end\ndata: {"gone":true}\n\n')
            problem(await client.get("/v1/vms/9/console/events"), "unknown-vm")

    run(work())


def test_a_reader_beyond_the_end_waits_at_the_end(gateway: Front) -> None:
    async def work() -> None:
        hub, console = await streams(gateway)
        prints(console, b"one")
        stream = hub.open(visit(), hub.console(1), 2**52)
        coming = asyncio.create_task(following(stream))
        await asyncio.sleep(0.01)
        prints(console, b"two")
        assert text(await coming) == b"two"
        await closed(stream)

    run(work())


def test_a_reader_that_is_too_slow_hears_how_much_is_missing(gateway: Front) -> None:
    async def work() -> None:
        hub, console = await streams(gateway)
        prints(console, b"first")
        stream = hub.open(visit(), hub.console(1), 0)
        assert text(await following(stream)) == b"first"
        prints(console, b"x" * (2 * KEPT - 4))  # the one that makes it too long is the last
        gap = await following(stream)
        assert (gap.kind, gap.data) == ("gap", {"missed": KEPT + 1 - len("first")})
        came = b""
        while len(came) < KEPT:
            came += text(await following(stream))
        assert came == b"x" * KEPT
        await closed(stream)

    run(work())


def test_a_silent_guest_gets_comments_and_a_gone_one_an_end(gateway: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vm_console, "KEEP_ALIVE", 0.02)

    async def work() -> None:
        hub, console = await streams(gateway)
        stream = hub.open(visit(), hub.console(1), 0)
        assert [(await following(stream)).kind for _ in range(2)] == ["comment", "comment"]
        prints(console, b"last words")
        async with gateway.client() as client:
            await client.delete("/v1/vms/1")
        assert text(await following(stream)) == b"last words"
        end = await following(stream)
        assert (end.kind, end.data) == ("end", {"gone": True})
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(FaultError, match="unknown-vm"):
            hub.console(1)

    run(work())


def test_streams_end_with_the_gateway(gateway: Front) -> None:
    async def work() -> None:
        hub, _ = await streams(gateway)
        stream = hub.open(visit(), hub.console(1), 0)
        ending = asyncio.create_task(following(stream))
        await asyncio.sleep(0.01)
        hub.close()
        assert (await ending).data == {"gone": False}

    run(work())


def test_there_are_only_so_many_readers_and_places_come_back(gateway: Front) -> None:
    async def work() -> None:
        hub, console = await streams(gateway, most=1)
        prints(console, b"x")
        mine = visit()
        stream = hub.open(mine, hub.console(1), 0)
        await following(stream)
        with pytest.raises(ProblemError, match="1 readers"):
            hub.open(visit(), hub.console(1), 0)
        await closed(stream)
        mine.over()
        other = hub.open(visit(), hub.console(1), 0)
        await following(other)
        await closed(other)

    run(work())


def test_over_http_one_too_many_is_refused(tmp_path: Path) -> None:
    gateway = front(tmp_path, Settings(subscribers=0))

    async def work() -> None:
        async with gateway.client() as client:
            await launched(client)
            problem(await client.get("/v1/vms/1/console/events"), "rate-limited")

    run(work())
