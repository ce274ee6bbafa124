"""As many requests as a machine takes: wrk for what is in the clear, our own clients for sealed calls."""

import asyncio
import json
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.rigs.missing import missing

from casemate.client import GatewayBusyError, aio
from casemate.verifier import SgxPolicy

SCRIPT = Path(__file__).with_name("flood.lua")
BUSY_PAUSE = 0.05
"""After a refusal that says: too much to do (seconds)."""


@dataclass(frozen=True)
class Told:
    """What wrk says."""

    statuses: dict[str, int]
    broken: int
    """Connections that were refused, broke, or were not answered in time."""
    per_second: float
    p50_ms: float
    p99_ms: float


def wrk(url: str, token: str, body: Path, *, connections: int, seconds: int) -> "subprocess.Popen[str]":
    """wrk, under way; the test is skipped where there is none, and fails where ``CI`` is set."""
    program = shutil.which("wrk")
    if program is None:
        missing("wrk is missing: run scripts/system-packages as root, or install it")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(SCRIPT), url]
    return subprocess.Popen([*command, "--", str(body), token], stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]") -> Told:
    """What it has found, once it ends."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    statuses: Counter[str] = Counter()
    for thread in found["statuses"]:
        statuses.update(thread)
    return Told(
        dict(statuses),
        sum(found[error] for error in ("refused", "read", "write", "timeout")),
        found["requests"] / found["microseconds"] * 1e6,
        found["p50_us"] / 1000,
        found["p99_us"] / 1000,
    )


@dataclass
class Calls:
    """What became of sealed calls."""

    seconds: list[float] = field(default_factory=list)
    """Of each call that was answered."""
    busy: int = 0
    """Refusals that say: too much to do."""
    errors: Counter[str] = field(default_factory=Counter)
    """Everything else."""

    def at(self, share: float) -> float:
        """A percentile (milliseconds)."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


async def sealed_calls(url: str, token: str, number: int, policy: SgxPolicy, *, clients: int, seconds: float) -> Calls:
    """So many clients, each with a session of its own, each calling again as soon as it is answered."""
    calls = Calls()
    end = time.monotonic() + seconds
    await asyncio.gather(*(_caller(url, token, number, policy, end, calls) for _ in range(clients)))
    return calls


async def _caller(url: str, token: str, number: int, policy: SgxPolicy, end: float, calls: Calls) -> None:
    async with await aio.connect(url, token=token) as client:
        enclave = await client.attest(number, policy)
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                result = await enclave.call("turn", "stressed")
                assert result.value == "desserts"
                calls.seconds.append(time.monotonic() - began)
            except GatewayBusyError:
                calls.busy += 1
                await asyncio.sleep(BUSY_PAUSE)
            except Exception as error:
                calls.errors[repr(error)] += 1
