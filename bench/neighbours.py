"""The slowest calls of enclaves beside which another one's guests are hostile, and without."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.calls import at_99
from bench.figures import Row
from bench.lab import ARGUMENTS, ENTRY, Lab, built, policy_for
from bench.processes import settled
from bench.python import JAVASCRIPT, PYTHON, arrangement, python_or_why_not
from casemate.client import Client, Enclave, EnclaveRefusedError, connect
from casemate.testing.hostile_guests import HOSTILE_GUESTS, HostileGuest
from casemate.testing.hostile_python import HOSTILE_PYTHON

_MAIN = {PYTHON: "main.py", JAVASCRIPT: "main.js"}
_CASES = {PYTHON: HOSTILE_PYTHON, JAVASCRIPT: HOSTILE_GUESTS}
HOSTILE = tuple(
    (engine, next(guest for guest in _CASES[engine] if guest.name == name))
    for engine, names in {
        PYTHON: (
            "endless loop",
            "a list that grows",
            "page tables (raw)",
            "endless printing",
            "os._exit",
            "a fork bomb",
        ),
        JAVASCRIPT: ("endless loop", "ArrayBuffer bomb"),
    }.items()
    for name in names
)
"""One of each kind: time, memory, memory of the kernel's, output, deaths one after the other, processes. What ends a
JavaScript guest costs the start of an engine, so there both are deaths as well."""

_Case = tuple[str, HostileGuest]

ALONE = "the same calls, alone"
_TIME_MS = 500
_STARTED = 0.6
"""Seconds of hostile calls before those beside them are timed."""


@dataclass(frozen=True, slots=True)
class _Neighbour:
    """An enclave whose calls are timed."""

    engine: str
    enclave: Enclave
    alone: list[float]
    """Seconds of its calls while nothing else runs."""

    def calls(self, count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            self.enclave.call(ENTRY, ARGUMENTS)
            seconds.append(time.perf_counter() - began)
        return seconds


def neighbours(lab: Lab) -> list[Row]:
    """A row for each engine of the neighbour and each hostile guest."""
    with connect(lab.machine.host_socket) as client, ExitStack() as held:
        ours = {JAVASCRIPT: arrangement(lab, client, JAVASCRIPT)}
        of_python, why_not = python_or_why_not(lab, client)
        if of_python is None:
            return [_row(engine, case, [], [], why_not) for engine in (JAVASCRIPT, PYTHON) for case in HOSTILE]
        ours[PYTHON] = of_python
        watched = [
            _Neighbour(engine, each.attest(held.enter_context(each.launched())), []) for engine, each in ours.items()
        ]
        for each in watched:
            each.calls(lab.rounds.calls // 10)
        beside: dict[tuple[str, _Case], list[float]] = {}
        for case in HOSTILE:
            for each in watched:  # anew for each, so that both were measured in the same minute
                each.alone.extend(each.calls(lab.rounds.calls // len(HOSTILE)))
            with _hostile(lab, client, *case):
                for each in watched:
                    beside[each.engine, case] = each.calls(lab.rounds.calls)
    return [_row(each.engine, case, beside[each.engine, case], each.alone, "") for each in watched for case in HOSTILE]


def _row(engine: str, case: _Case, beside: list[float], alone: list[float], note: str) -> Row:
    hostile, guest = case
    what = f"{engine} beside a {hostile} guest that is hostile, p99: {guest.name}"
    figure = at_99(beside) if beside else None
    return Row("neighbours", what, "ms", figure, ALONE, at_99(alone) if alone else None, note=note)


def _manifest(engine: str) -> str:
    return f"""[enclave]
name = "hostile"
product_id = 1
security_version = 1
debug = false
engine = "{engine.lower()}"
main = "guest/{_MAIN[engine]}"
permissions = ["random", "now", "log"]
isolation = "shared"

[limits]
memory_mib = 64
time_ms = {_TIME_MS}
output_kib = 256

[entry.main]
input = {{}}
output = {{ type = "null" }}
callers = "anyone"
"""


@contextmanager
def _hostile(lab: Lab, client: Client, engine: str, guest: HostileGuest) -> Iterator[None]:
    """Has an enclave of its own called without a pause, whatever becomes of its guests."""
    folder = Path(tempfile.mkdtemp(dir=lab.folder))
    (folder / "guest").mkdir()
    (folder / "casemate.toml").write_text(_manifest(engine))
    (folder / "guest" / _MAIN[engine]).write_text(guest.source)
    image = built(folder, lab.machine)
    launched = client.launch(image)
    over = threading.Event()

    def call_on() -> None:
        with connect(lab.machine.host_socket) as own:
            enclave = own.attest(launched, policy_for(image, lab.machine))
            while not over.is_set():
                try:
                    enclave.call("main", None)
                except EnclaveRefusedError:
                    continue

    thread = threading.Thread(target=call_on)
    thread.start()
    try:
        time.sleep(_STARTED)
        yield
    finally:
        over.set()
        thread.join()
        client.destroy(launched)
        settled(lab.machine)
