"""Calls of a warm enclave through client, host, enclave and guest; without HTTP."""

import asyncio
import json
import time
from pathlib import Path
from statistics import mean

from bench.bare_engines import BareDeno
from bench.figures import Kind, Row, Stats, Target, at, interleave, timed
from bench.lab import ARGUMENTS, ENTRY, SIZE, Lab
from bench.processes import Family, at_rest, processor_seconds
from casemate.client import Enclave, aio, connect
from casemate.verifier import SgxPolicy

TARGET = Target(Kind.VALUE, 1.2, "≤ 1.2 ms")
OF_ENCLAVE = Target(Kind.VALUE, 0.37, "≤ 0.37 ms")
OF_WATCHDOG = Target(Kind.VALUE, 0.03, "≤ 0.03 ms")
BASELINE = "the function on bare `deno`, plain pipe"
SESSIONS = 16
EACH_OF_MANY = Target(Kind.VALUE, 1000 / 1600, "at least 1600 calls/s")
PARTS = 10
"""Number of parts of the calls of all sessions at once."""

CPU_PARTS = 5
CPU_PART = 0.5
"""Seconds of calls in each part in which processor time is measured: the enclave asks for more time for its guest about
ten times a second, so a shorter part would meet that once or not at all."""


def calls(lab: Lab) -> list[Row]:
    """Latency and processor time with one caller, then sixteen callers, each with its own session and connection."""
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
        family = at_rest(lab.machine, enclaves=1, spare_guests=1)
        of_enclave, of_watchdog = _processor_seconds(family, enclave)
        many_s, each_s = asyncio.run(
            _many(lab.machine.host_socket, number, lab.policy, max(1, lab.rounds.many // PARTS))
        )
        client.destroy(number)
    bare, ours, many = Stats.of_seconds(bare_s), Stats.of_seconds(ours_s), Stats.of_seconds(many_s)
    each = Stats.of_seconds(each_s)
    return [
        Row("call", f"encrypted call, {SIZE} B of JSON, p50", "ms", ours, BASELINE, bare, TARGET),
        Row("call", f"encrypted call, {SIZE} B of JSON, p99", "ms", at_99(ours_s), BASELINE, at_99(bare_s)),
        Row("call", "processor time of the enclave, for each call", "ms", of_enclave, target=OF_ENCLAVE),
        Row("call", "processor time of the watchdog, for each call", "ms", of_watchdog, target=OF_WATCHDOG),
        Row(
            "call",
            f"{SESSIONS} sessions at once, p50",
            "ms",
            many,
            f"{BASELINE}, {SESSIONS} in turn",
            Stats.of_seconds(sample * SESSIONS for sample in bare_s),
        ),
        Row("call", f"{SESSIONS} sessions at once, p99", "ms", at_99(many_s)),
        Row(
            "call",
            f"{SESSIONS} sessions at once: time for each",
            "ms",
            each,
            target=EACH_OF_MANY,
            note=f"{1000 / each.median:.0f} calls/s; one caller {1 / mean(ours_s):.0f}, bare {1 / mean(bare_s):.0f}",
        ),
    ]


def at_99(seconds: list[float]) -> Stats:
    """The 99th percentile; its spread is taken over ten parts of the run."""
    parts = [seconds[part::10] for part in range(10)]
    value = at(sorted(seconds), 0.99) * 1000
    spread = sorted(at(sorted(part), 0.99) * 1000 for part in parts if part)
    return Stats(len(seconds), value, spread[0], spread[-1], value)


def _processor_seconds(family: Family, enclave: Enclave) -> tuple[Stats, Stats]:
    """What a call takes of the processors in the enclave's process, and in the parent of the machine's guests.

    The parent ends a guest that outlives its deadline, and does nothing else for a call.
    """
    pids = (*family.enclaves, family.parent)
    found: list[list[float]] = []
    for _ in range(CPU_PARTS):
        before = [processor_seconds(pid) for pid in pids]
        end, calls = time.monotonic() + CPU_PART, 0
        while time.monotonic() < end:
            enclave.call(ENTRY, ARGUMENTS)
            calls += 1
        found.append([(processor_seconds(pid) - was) / calls for pid, was in zip(pids, before, strict=True)])
    of_enclave, of_watchdog = map(Stats.of_seconds, zip(*found, strict=True))
    return of_enclave, of_watchdog


async def _many(host: Path, number: int, policy: SgxPolicy, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds from call to result, and seconds for each call of all sessions together, in each part."""
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

        for_each: list[float] = []
        for _ in range(PARTS):
            began = time.perf_counter()
            await asyncio.gather(*(caller(enclave) for enclave in enclaves))
            for_each.append((time.perf_counter() - began) / (rounds * SESSIONS))
        return seconds, for_each
    finally:
        for client in clients:
            await client.close()
