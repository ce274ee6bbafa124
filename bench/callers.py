"""What the isolation of callers costs: calls of one, four and sixteen callers, and a new caller's first call."""

import itertools
import shutil
import time
from collections.abc import Iterator

from bench.figures import Kind, Row, Stats, Target
from bench.lab import ARGUMENTS, ENTRY, FUNCTION, Lab, built, policy_for
from bench.processes import at_rest
from casemate.client import Client, Enclave, EnclaveRefusedError, connect
from casemate.engines.registry import JAVASCRIPT
from casemate.images.image import Image
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.isolation import Isolation

CALLERS = (1, 4, 16)
GUESTS = 4
"""The default of ``limits.guests``, which the bench function's manifest leaves as it is."""

SHARED = f'isolation = "{Isolation.SHARED}"'
"""The line of the bench function's manifest."""

BEFORE_NEWCOMER = 1.2 / JAVASCRIPT.newcomers
"""Seconds of rest before a new caller's first call, so that the enclave's rate for new callers is no part of it."""

NEWCOMER = Target(Kind.VALUE, 8, "≤ 8 ms")


def callers(lab: Lab) -> list[Row]:
    """For each isolation mode, calls by callers in turn; where each caller has its own guests, first calls, too."""
    rows: list[Row] = []
    with connect(lab.machine.host_socket) as client:
        for mode in Isolation:
            image = _image(lab, mode)
            policy = policy_for(image, lab.machine)
            number = client.launch(image)
            for count in CALLERS:
                sessions = [client.attest(number, policy) for _ in range(count)]
                rows.append(_in_turn(mode, sessions, lab.rounds.turns))
            if mode is Isolation.CALLER:
                rows.append(_newcomers(lab, client, number, policy))
            client.destroy(number)
            at_rest(lab.machine, enclaves=0, spare_guests=1)
    return rows


def _image(lab: Lab, mode: Isolation) -> Image:
    """The bench function, with another isolation mode."""
    folder = lab.folder / f"isolated-by-{mode}"
    shutil.copytree(FUNCTION, folder)
    manifest = folder / "casemate.toml"
    text = manifest.read_text()
    assert SHARED in text
    manifest.write_text(text.replace(SHARED, f'isolation = "{mode}"'))
    return built(folder, lab.machine)


def _in_turn(mode: Isolation, sessions: list[Enclave], calls: int) -> Row:
    """Calls one after the other, each by the next caller. Each caller's first call is not counted."""
    for session in sessions:
        call_until_taken(session)
    refusals: list[int] = []
    seconds: list[float] = []
    for session in itertools.islice(itertools.cycle(sessions), calls):
        began = time.perf_counter()
        refusals.append(call_until_taken(session))
        seconds.append(time.perf_counter() - began)
    what = "1 caller" if len(sessions) == 1 else f"{len(sessions)} callers in turn"
    return Row("callers", f"isolation `{mode}`: {what}, p50", "ms", Stats.of_seconds(seconds), note=_note(refusals))


def _newcomers(lab: Lab, client: Client, number: int, policy: SgxPolicy) -> Row:
    """First calls of new callers to an enclave whose guests belong to others, while the machine's pool is full."""
    refusals: list[int] = []

    def first_calls() -> Iterator[float]:
        for _ in range(lab.rounds.newcomers):
            session = client.attest(number, policy)
            time.sleep(BEFORE_NEWCOMER)
            at_rest(lab.machine, enclaves=1, spare_guests=GUESTS)  # all of the enclave's, and the one of the pool
            began = time.perf_counter()
            refusals.append(call_until_taken(session))
            yield time.perf_counter() - began

    figure = Stats.of_seconds(first_calls())
    what = f"isolation `{Isolation.CALLER}`: first call of a new caller, with a guest of the pool, p50"
    return Row("callers", what, "ms", figure, target=NEWCOMER, note=_note(refusals))


def call_until_taken(session: Enclave) -> int:
    """Calls until there is a result, and waits as a busy enclave says; the number of its refusals."""
    refusals = 0
    while True:
        try:
            session.call(ENTRY, ARGUMENTS)
        except EnclaveRefusedError as error:
            if error.fault.code is not Code.BUSY or not error.fault.retry_ms:
                raise
            refusals += 1
            time.sleep(error.fault.retry_ms / 1000)
        else:
            return refusals


def _note(refusals: list[int]) -> str:
    return f"refused as busy and called again, which is counted in: {sum(refusals)} times" if any(refusals) else ""
