"""A while at saturation, and a thousand bad clients: no error but 429, nothing grows, and nobody is shut out."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from tests.rigs.levels import in_profile
from tests.rigs.platform.flood import sealed_calls, told, wrk
from tests.rigs.platform.machine import Platform, Tell, policy_for
from tests.rigs.platform.slow import slow_clients
from tests.rigs.platform.watch import MemoryWatch

from casemate.client import connect
from casemate.images.image import Image

pytestmark = [pytest.mark.machine, pytest.mark.alone]

SECONDS = in_profile(40, 60)
CONNECTIONS = 32
"""Of wrk, in the clear."""
CLIENTS = 8
"""With sealed calls, at the same time."""
FLAT = 4.0
"""MiB a minute: less is noise of allocators and garbage collectors."""
SLOW = 1000
CALM = 1.0
"""Longest 99th percentile of a sealed call beside slow clients (seconds)."""
BESIDE = in_profile(8.0, 15.0)
"""How long that is looked at (seconds)."""
COMPUTE = {"function": "statistics", "input": {"numbers": list(range(20))}}


def test_at_saturation_nothing_breaks_and_no_process_grows(
    platform: Platform, image: Image, tmp_path: Path, record_property: Tell
) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(COMPUTE))
    policy = policy_for(platform.machine, image)
    with platform.connect() as client:
        number = client.launch(image)
    url, token = platform.url, platform.token
    told(wrk(f"{url}/enclave/compute", token, body, connections=CONNECTIONS, seconds=2))  # warm
    with MemoryWatch(platform.machine.status.supervisor_pid) as watch:
        flood = wrk(f"{url}/enclave/compute", token, body, connections=CONNECTIONS, seconds=SECONDS)
        sealed = asyncio.run(sealed_calls(url, token, number, policy, clients=CLIENTS, seconds=SECONDS))
        plain = told(flood)
        sizes = watch.sizes()
    growth = watch.growth()
    record_property("plain calls", f"{plain.per_second:.0f}/s, p50 {plain.p50_ms:.1f} ms, p99 {plain.p99_ms:.1f} ms")
    record_property(
        "sealed calls at the same time",
        f"{len(sealed.seconds) / SECONDS:.0f}/s, p50 {sealed.at(0.5):.1f} ms, p99 {sealed.at(0.99):.1f} ms",
    )
    record_property("statuses", plain.statuses)
    record_property("MiB at the end", sizes)
    record_property("MiB a minute", {process.role: round(slope, 2) for process, slope in growth.items()})
    assert set(plain.statuses) <= {"200", "429"}
    assert plain.statuses["200"] > SECONDS
    assert plain.broken == 0
    assert sealed.errors == {}
    assert len(sealed.seconds) > SECONDS
    if watch.unreadable:
        record_property("not looked at: this user may not see the memory of", sorted(watch.unreadable))
    assert {process.role for process in growth} | watch.unreadable >= {"supervisor", "chip", "parent", "gateway"}
    assert {str(process): slope for process, slope in growth.items() if slope > FLAT} == {}


def test_a_thousand_slow_and_malformed_clients_do_not_shut_others_out(
    platform: Platform, image: Image, record_property: Tell
) -> None:
    policy = policy_for(platform.machine, image)
    with platform.connect() as client:
        number = client.launch(image)
    with slow_clients(platform.address, SLOW) as came:
        sealed = asyncio.run(sealed_calls(platform.url, platform.token, number, policy, clients=2, seconds=BESIDE))
        began = time.monotonic()
        with connect(platform.url, token=platform.token) as newcomer:
            assert newcomer.attest(number, policy).call("turn", "live").value == "evil"
        took = time.monotonic() - began
    record_property("slow clients that came", came[0])
    record_property("beside them", f"p50 {sealed.at(0.5):.1f} ms, p99 {sealed.at(0.99):.1f} ms")
    record_property("a newcomer's connection, challenge and call (ms)", round(took * 1000))
    assert came[0] >= SLOW
    assert sealed.errors == {}
    assert sealed.at(0.99) < CALM * 1000
    assert took < CALM * 2
