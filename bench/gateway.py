"""Sealed and plain calls over HTTP through the gateway, against a bare HTTP server."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from statistics import mean
from typing import Any

import httpcore

from bench.bare_http import ECHO as ECHO_PATH
from bench.bare_http import HOST, BareHttp
from bench.calls import SESSIONS, at_99
from bench.figures import Kind, Row, Stats, Target, interleave, timed
from bench.lab import ARGUMENTS, ENTRY, SIZE, Lab, policy_for
from casemate.client import aio, connect
from casemate.client.core import CallSecrets, arguments_of
from casemate.testing.served import Served, served_machine
from casemate.verifier import SgxPolicy
from casemate.wire.messages.host import Call
from casemate.wire.messages.verbs import ASK_TIMEOUT
from casemate.wire.protocol.padding import padded_size

ECHO = "bare FastAPI on uvicorn (h11), echo of as many bytes"
ECHOES = f"bare FastAPI on uvicorn (h11), as many bytes sealed and echoed, {SESSIONS} clients at once"
SAME = f"bare FastAPI on uvicorn (h11), the same JSON, {SESSIONS} at once"
ENVELOPE = padded_size(SIZE + 200) + 300
"""About the size of a sealed call (bytes)."""

LATENCY = Target(Kind.VALUE, 1.6, "≤ 1.6 ms")

PARTS = 8
"""Number of turns that ours and the baseline take under load."""

REST = 0.1
"""Pause before each turn (seconds). Linux gives other programs a twentieth of each second even where the rest is for
programs in real time, in one piece of 50 ms: they take it here and not within a turn."""

ASKED = {"function": "words", "input": {"text": "one fish two fish red fish blue fish " * 10}}


def http(lab: Lab) -> list[Row]:
    """Sealed calls with one caller and with sixteen, then plain calls."""
    with served_machine(lab.folder / "served") as served, BareHttp() as bare:
        policy = policy_for(lab.image, served.machine)
        with connect(served.url, token=served.token) as client:
            number = client.launch(lab.image)
            enclave = client.attest(number, policy)
            echo = _echo(bare.port)
            bare_s, ours_s = interleave(
                lab.rounds.calls, timed(echo), timed(lambda: enclave.call(ENTRY, ARGUMENTS)), warm_up=50
            )
            many = asyncio.run(_sealed(served, bare.port, number, policy, max(2, lab.rounds.many // 3)))
        plain, without = asyncio.run(_plain(served, bare.port, lab.rounds.many))
    ours, base = Stats.of_seconds(ours_s), Stats.of_seconds(bare_s)
    many_s, echoed_s = ([second for turn in turns for second in turn] for turns in many)
    ours_p99 = at_99(ours_s)
    return [
        Row("http", f"encrypted call, {SIZE} B of JSON, p50", "ms", ours, ECHO, base, LATENCY),
        Row(
            "http",
            f"encrypted call, {SIZE} B of JSON, p99",
            "ms",
            ours_p99,
            ECHO,
            at_99(bare_s),
            Target(Kind.VALUE, 15, "≤ 15 ms"),
        ),
        Row(
            "http",
            f"{SESSIONS} clients at once, p50",
            "ms",
            Stats.of_seconds(many_s),
            ECHOES,
            Stats.of_seconds(echoed_s),
            note=f"{SESSIONS / mean(many_s):.0f} calls/s; one client {1 / mean(ours_s):.0f}",
        ),
        Row("http", f"{SESSIONS} clients at once, p99", "ms", at_99(many_s), ECHOES, at_99(echoed_s)),
        Row(
            "http",
            f"{SESSIONS} clients at once, p99 / p50",
            "x",
            _tails(many[0]),
            ECHOES,
            _tails(many[1]),
            Target(Kind.RATIO, 1.3, "≤ 1.3x"),
        ),
        Row(
            "http",
            f"plain call, {SESSIONS} at once: time for each",
            "ms",
            Stats.of_seconds(plain),
            SAME,
            Stats.of_seconds(without),
            Target(Kind.RATIO, 2, "≤ 2x"),
            note=f"{1 / mean(plain):.0f} calls/s; bare {1 / mean(without):.0f}",
        ),
    ]


def _echo(port: int) -> Callable[[], object]:
    """A request of the same size over a persistent connection."""
    pool = httpcore.ConnectionPool(max_connections=1)
    url, body = f"http://{HOST}:{port}{ECHO_PATH}", bytes(ENVELOPE)
    headers = [("Host", HOST), ("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
    return lambda: pool.request("POST", url, headers=headers, content=body).content


def _tails(turns: list[list[float]]) -> Stats:
    """The p99 of each turn divided by its p50."""
    return Stats.of(stats.p99 / stats.median for stats in map(Stats.of, turns))


Turns = tuple[list[list[float]], list[list[float]]]
"""Seconds of each call, of each turn: ours and the bare server's."""


async def _sealed(served: Served, bare_port: int, number: int, policy: SgxPolicy, rounds: int) -> Turns:
    """Sealed calls of sixteen clients, and the same requests by the same client code to the bare server, in turns."""
    urls = [served.url] * SESSIONS + [f"http://{HOST}:{bare_port}"] * SESSIONS
    clients = [await aio.connect(url, token=served.token) for url in urls]
    try:
        enclaves = [await client.attest(number, policy) for client in clients[:SESSIONS]]

        async def call(at: int) -> None:
            await enclaves[at].call(ENTRY, ARGUMENTS)

        async def echo(at: int) -> None:
            arguments = arguments_of(ARGUMENTS)
            sealed = enclaves[at].attested.seal_call(ENTRY, arguments, caller=None, secrets=CallSecrets.fresh())
            await clients[SESSIONS + at].relay(Call(0, sealed.envelope), ASK_TIMEOUT)

        found: Turns = ([], [])
        for ask in (call, echo):
            await _turn(ask, 2)
        for part in range(PARTS):
            for index in ((0, 1), (1, 0))[part % 2]:
                await asyncio.sleep(REST)
                found[index].append(await _turn((call, echo)[index], rounds))
        return found
    finally:
        for client in clients:
            await client.close()


async def _turn(ask: Callable[[int], Awaitable[None]], rounds: int) -> list[float]:
    """Seconds of each call while sixteen clients make ``rounds`` calls each."""
    seconds: list[float] = []

    async def client(at: int) -> None:
        for _ in range(rounds):
            began = time.perf_counter()
            await ask(at)
            seconds.append(time.perf_counter() - began)

    await asyncio.gather(*map(client, range(SESSIONS)))
    return seconds


async def _plain(served: Served, bare_port: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds for each call while sixteen are under way, of ours and of the bare server, measured in turns."""
    port = int(served.url.rpartition(":")[2])
    ours = _Load(port, "/enclave/compute", ASKED, served.authorization)
    bare = _Load(bare_port, "/compute", ASKED, {})
    found: tuple[list[float], list[float]] = ([], [])
    for load in (ours, bare):
        await load.run(rounds)  # launches the learner's enclave and warms it up
    for part in range(PARTS):
        for index in ((0, 1), (1, 0))[part % 2]:
            found[index].append(await (ours, bare)[index].run(rounds))
    return found


class _Load:
    """Repeats one request over sixteen connections."""

    def __init__(self, port: int, path: str, asked: Any, headers: dict[str, str]) -> None:
        body = json.dumps(asked).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
        self._port = port
        self._request = "\r\n".join([*lines, "", ""]).encode() + body

    async def run(self, rounds: int) -> float:
        """The seconds that each request took."""
        began = time.perf_counter()
        await asyncio.gather(*(self._client(rounds) for _ in range(SESSIONS)))
        return (time.perf_counter() - began) / (rounds * SESSIONS)

    async def _client(self, rounds: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        for _ in range(rounds):
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise RuntimeError(head.decode())
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()
        await writer.wait_closed()
