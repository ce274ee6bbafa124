"""Calls of a warm enclave through client, host, enclave and guest; without HTTP."""

import asyncio
import json
import time
from pathlib import Path
from statistics import mean

from bench.bare_deno import BareDeno
from bench.figures import Kind, Row, Stats, Target, at, interleave, timed
from bench.lab import ARGUMENTS, ENTRY, SIZE, Lab
from casemate.client import aio, connect
from casemate.verifier import SgxPolicy

TARGET = Target(Kind.VALUE, 2, "≤ 2 ms")
BASELINE = "the function on bare `deno`, plain pipe"
SESSIONS = 16


def calls(lab: Lab) -> list[Row]:
    """Latency with one caller, then with sixteen, each with its own session and connection."""
    plain = json.dumps(ARGUMENTS, separators=(",", ":")).encode()
    with connect(lab.machine.host_socket) as client, BareDeno(lab.engine) as deno:
        number = client.launch(lab.image)
        enclave = client.attest(number, lab.policy)
        assert enclave.call(ENTRY, ARGUMENTS).value == json.loads(deno.call(plain))
        bare_s, ours_s = interleave(
            lab.rounds.calls,
            timed(lambda: deno.call(plain)),
            timed(lambda: enclave.call(ENTRY, ARGUMENTS)),
            warm_up=50,
        )
        many_s, took = asyncio.run(_many(lab.machine.host_socket, number, lab.policy, lab.rounds.many))
        client.destroy(number)
    bare, ours, many = Stats.of_seconds(bare_s), Stats.of_seconds(ours_s), Stats.of_seconds(many_s)
    return [
        Row("call", f"encrypted call, {SIZE} B of JSON, p50", "ms", ours, BASELINE, bare, TARGET),
        Row("call", f"encrypted call, {SIZE} B of JSON, p99", "ms", at_99(ours_s), BASELINE, at_99(bare_s)),
        Row(
            "call",
            f"{SESSIONS} sessions at once, p50",
            "ms",
            many,
            f"{BASELINE}, {SESSIONS} in turn",
            Stats.of_seconds(sample * SESSIONS for sample in bare_s),
            note=f"{len(many_s) / took:.0f} calls/s; one caller {1 / mean(ours_s):.0f}, bare {1 / mean(bare_s):.0f}",
        ),
        Row("call", f"{SESSIONS} sessions at once, p99", "ms", at_99(many_s)),
    ]


def at_99(seconds: list[float]) -> Stats:
    """The 99th percentile; its spread is taken over ten parts of the run."""
    parts = [seconds[part::10] for part in range(10)]
    value = at(sorted(seconds), 0.99) * 1000
    spread = sorted(at(sorted(part), 0.99) * 1000 for part in parts if part)
    return Stats(len(seconds), value, spread[0], spread[-1], value)


async def _many(host: Path, number: int, policy: SgxPolicy, rounds: int) -> tuple[list[float], float]:
    clients = [await aio.connect(host) for _ in range(SESSIONS)]
    try:
        enclaves = [await client.attest(number, policy) for client in clients]
        await asyncio.gather(*(enclave.call(ENTRY, ARGUMENTS) for enclave in enclaves))
        seconds: list[float] = []

        async def caller(enclave: aio.Enclave) -> None:
            for _ in range(rounds):
                began = time.perf_counter()
                await enclave.call(ENTRY, ARGUMENTS)
                seconds.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(caller(enclave) for enclave in enclaves))
        return seconds, time.perf_counter() - began
    finally:
        for client in clients:
            await client.close()
