"""A Python function beside the same one in JavaScript, and on bare CPython over a pipe."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.bare_engines import BarePython
from bench.callers import BEFORE_NEWCOMER, SHARED, call_until_taken
from bench.figures import Arm, Kind, Row, Stats, Target, interleave, timed
from bench.lab import ARGUMENTS, ENTRY, FUNCTION, SIZE, Lab, built, policy_for
from bench.memory import LOOKS, MIB, UnreadableError, look
from bench.processes import settled
from casemate.client import Client, Enclave, connect
from casemate.images.image import Image
from casemate.verifier import SgxPolicy
from casemate.wire.protocol.faults import FaultError
from casemate.wire.protocol.isolation import Isolation

SOURCE = Path(__file__).parent / "price.py"
PYTHON, JAVASCRIPT = "Python", "JavaScript"
BARE = "the function on bare CPython, plain pipe"
BARE_START = "CPython alone, start to first reply"
OF_JAVASCRIPT = "the same in JavaScript"

CALL = Target(Kind.OVER, 0.1, "≤ 0.1 ms above JavaScript")
LAUNCH = Target(Kind.VALUE, 12, "≤ 12 ms")
NEWCOMER = Target(Kind.VALUE, 8, "≤ 8 ms")
IN_A_ROW = Target(Kind.VALUE, 10, "at least 100 new callers/s")
ONE_MORE = Target(Kind.VALUE, 5, "≤ 5 MiB")


@dataclass(frozen=True, slots=True)
class _Figures:
    """What was measured of one engine; an empty list is of what could not be."""

    calls: list[float]
    launches: list[float]
    newcomers: list[float]
    in_a_row: list[float]
    memory: list[float]


_NOTHING = _Figures([], [], [], [], [])


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A function's image on the lab's machine."""

    lab: Lab
    client: Client
    image: Image
    policy: SgxPolicy

    @contextmanager
    def launched(self) -> Iterator[int]:
        """The number of an enclave that is there for the block's time."""
        number = self.client.launch(self.image)
        try:
            yield number
        finally:
            self.client.destroy(number)
            settled(self.lab.machine)

    def attest(self, number: int) -> Enclave:
        return self.client.attest(number, self.policy)


def python(lab: Lab) -> list[Row]:
    """The rows of both engines; those of Python say why not where this machine runs no Python guests."""
    with connect(lab.machine.host_socket) as client:
        arrangements = {JAVASCRIPT: arrangement(lab, client, JAVASCRIPT)}
        of_python, why_not = python_or_why_not(lab, client)
        if of_python is not None:
            arrangements[PYTHON] = of_python
        bare_calls, calls = _calls(lab, arrangements)
        bare_launches, launches = _launches(lab, client, arrangements)
        found = {
            engine: _Figures(calls[engine], launches[engine], *_of_newcomers(each), _of_memory(each))
            for engine, each in arrangements.items()
        }
    baselines = {BARE: bare_calls, BARE_START: bare_launches, OF_JAVASCRIPT: found[JAVASCRIPT].calls}
    return [
        *_rows(PYTHON, found.get(PYTHON, _NOTHING), baselines, why_not),
        *_rows(JAVASCRIPT, found[JAVASCRIPT], baselines, ""),
    ]


def _rows(engine: str, found: _Figures, baselines: dict[str, list[float]], why_not: str) -> Iterator[Row]:
    """An engine's rows. Targets are Python's."""

    def row(what: str, samples: list[float], target: Target | None, baseline: str = "") -> Row:
        of_baseline = Stats.of_seconds(baselines[baseline]) if baseline else None
        note = why_not or ("" if samples else "readable by root alone")
        unit, stats = ("MiB", Stats.of) if target is ONE_MORE else ("ms", Stats.of_seconds)
        figure = stats(samples) if samples else None
        wanted = target if engine == PYTHON else None
        return Row("python", f"{engine}: {what}", unit, figure, baseline, of_baseline, wanted, note)

    call = f"encrypted call, {SIZE} B of JSON, p50"
    yield row(call, found.calls, None, BARE)
    if engine == PYTHON:
        yield row(f"{call}, beside JavaScript", found.calls, CALL, OF_JAVASCRIPT)
    yield row("enclave, launched", found.launches, LAUNCH, BARE_START)
    yield row("first call of a new caller, p50", found.newcomers, NEWCOMER)
    yield row("new callers one after the other: time for each", found.in_a_row, IN_A_ROW)
    yield row("a guest more", found.memory, ONE_MORE)


def arrangement(lab: Lab, client: Client, engine: str) -> Arrangement:
    """The bench function in an engine's language, with guests for each caller."""
    folder = Path(tempfile.mkdtemp(dir=lab.folder)) / "function"
    shutil.copytree(FUNCTION, folder)
    manifest = folder / "casemate.toml"
    text = manifest.read_text().replace(SHARED, f'isolation = "{Isolation.CALLER}"')
    if engine == PYTHON:
        (folder / "guest" / "main.js").unlink()
        shutil.copyfile(SOURCE, folder / "guest" / "main.py")
        text = text.replace('engine = "javascript"', 'engine = "python"\npermissions = ["random", "now"]')
        text = text.replace("guest/main.js", "guest/main.py")
    manifest.write_text(text)
    image = built(folder, lab.machine)
    return Arrangement(lab, client, image, policy_for(image, lab.machine))


def python_or_why_not(lab: Lab, client: Client) -> tuple[Arrangement | None, str]:
    """The Python function; or None, and why it cannot be measured here."""
    if not any(part.component == "python" for part in lab.machine.status.runtime):
        return None, "the runtime of this machine has no part `python`"
    made = arrangement(lab, client, PYTHON)
    try:
        with made.launched():
            return made, ""
    except FaultError as error:  # a layer that Python guests must have is missing
        return None, str(error)


def _calls(lab: Lab, arrangements: dict[str, Arrangement]) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of warm calls: on bare CPython, and by engine."""
    plain = json.dumps(ARGUMENTS, separators=(",", ":")).encode()
    with ExitStack() as held:
        bare = held.enter_context(BarePython(lab.runtime))
        enclaves = [each.attest(held.enter_context(each.launched())) for each in arrangements.values()]
        expected = json.loads(bare.call(plain))
        assert all(enclave.call(ENTRY, ARGUMENTS).value == expected for enclave in enclaves)

        def arm(enclave: Enclave) -> Arm:
            return timed(lambda: enclave.call(ENTRY, ARGUMENTS))

        bare_s, *ours = interleave(lab.rounds.calls, timed(lambda: bare.call(plain)), *map(arm, enclaves), warm_up=50)
    return bare_s, dict(zip(arrangements, ours, strict=True))


def _launches(
    lab: Lab, client: Client, arrangements: dict[str, Arrangement]
) -> tuple[list[float], dict[str, list[float]]]:
    """Seconds of launches with all processes in readiness: of bare CPython to its first reply, and by engine."""
    plain = json.dumps(ARGUMENTS).encode()
    bare: list[BarePython] = []

    def bury() -> None:
        while bare:
            bare.pop().__exit__(None, None, None)

    def start() -> None:
        bare.append(BarePython(lab.runtime))
        bare[-1].call(plain)

    def clear() -> None:
        for enclave in client.enclaves():
            client.destroy(enclave.enclave)
        settled(lab.machine)

    def arm(each: Arrangement) -> Arm:
        return timed(lambda: each.client.launch(each.image), prepare=clear)

    bare_s, *ours = interleave(
        lab.rounds.launches, timed(start, prepare=bury), *map(arm, arrangements.values()), warm_up=2
    )
    bury()
    clear()
    return bare_s, dict(zip(arrangements, ours, strict=True))


def _of_newcomers(each: Arrangement) -> tuple[list[float], list[float]]:
    """Seconds of new callers' first calls: with all in readiness for each, and one right after the other."""

    def first_call(session: Enclave) -> float:
        began = time.perf_counter()
        call_until_taken(session)
        return time.perf_counter() - began

    with each.launched() as number:
        in_a_row = [first_call(session) for session in [each.attest(number) for _ in range(each.lab.rounds.newcomers)]]
        rested = []
        for _ in range(each.lab.rounds.newcomers):
            session = each.attest(number)
            time.sleep(BEFORE_NEWCOMER)
            settled(each.lab.machine)
            rested.append(first_call(session))
    return rested, in_a_row


def _of_memory(each: Arrangement) -> list[float]:
    """What each process adds that a second and a third caller bring (MiB). Empty where this user may not look."""
    with each.launched() as number:

        def processes(more_than: int) -> tuple[int, ...]:
            while True:  # what replaces the pool's guest may begin after a while
                family = settled(each.lab.machine)
                time.sleep(each.lab.rounds.settle)
                pids = (family.parent, *family.enclaves, *family.guests)
                if len(pids) > more_than:
                    return pids

        sizes: list[tuple[float, int]] = []
        count = 0
        try:
            for _ in range(3):
                call_until_taken(each.attest(number))
                pids = processes(count)
                count = len(pids)
                sizes.append((min(sum(look(pids).pss.values()) for _ in range(LOOKS)) / MIB, count))
        except UnreadableError:
            return []
    return [(after - before) / (more - less) for (before, less), (after, more) in pairwise(sizes)]
