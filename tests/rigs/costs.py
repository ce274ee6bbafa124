"""What parsers cost: processor time and memory for inputs of n, 4n and 16n, in processes of their own.

A table of :class:`Cost` rows is a module's ``COSTS``, and ``MORE`` for the nightly tests. A test asks the
:class:`Meter` what is wrong with a row's figures::

    COSTS = (Cost("JSON: many members", Where.ELSEWHERE, parse, many_members, largest=2**20),)

    @pytest.mark.parametrize("cost", COSTS, ids=lambda cost: cost.name)
    def test_costs_stay_in_proportion(meter: Meter, cost: Cost) -> None:
        assert meter.faults(__name__, cost) == []

The meter's process has one thread. It imports a table once and forks: a process for each row, and below it a process
for each run, so that every run has a peak of memory of its own. Imports, the making of the input and a first, small
call are not counted.
"""

import contextlib
import gc
import importlib
import itertools
import json
import mmap
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from casemate.wire.errors import CasemateError

ROOT = Path(__file__).resolve().parents[2]

MIB = 2**20
GROWTH = 1.3
"""A run on an input of four times the size may cost at most this times four."""

FLOOR_SECONDS = 0.0005
FLOOR_MIB = 1.0
"""Costs below these count as these: less is noise of the clock, of page faults and of the kernel's counting of pages.
So what takes less than 2.6 ms and 5 MiB at 16n is cheap enough, however it grows."""

SIZES = (1, 4, 16)
RUNS = 5
ROUNDS = 3
"""The best of five runs counts; up to three times five before a row is called too expensive. A larger input is compared
with the median of the smaller one's runs: the best of many short runs is luck that a long run never has."""

LONGEST_MESSAGE = 1000
"""Characters of an error, whatever the input."""

_RUN_SECONDS = 60
_RUN_DATA = 2**30
"""A run that takes more than this (seconds, bytes of memory) is ended."""


class Where(Enum):
    """Who parses, and what the largest accepted input may cost there: seconds of processor time, and MiB."""

    CHIP = (0.050, 16.0)
    ELSEWHERE = (0.500, 64.0)


@dataclass(frozen=True, slots=True)
class Cost:
    """One parser and one kind of input that is as bad for it as we know to make it."""

    name: str
    where: Where
    call: Callable[[Any], object]
    """The parser. It may answer, or refuse with a :class:`CasemateError`."""
    make: Callable[[int], bytes]
    """An input of this size; sizes are in whatever unit the generator counts (bytes, members, levels)."""
    largest: int
    """The size at the limit of what is accepted."""
    accepted: bool = True
    """Whether inputs up to ``largest`` are accepted; else they are refused, and what counts is how soon."""
    ready: Callable[[bytes], Any] = bytes
    """What is done before the clock starts: compiling a schema whose validation is measured, say."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took."""

    seconds: float
    mib: float
    refused: str | None
    """The error's text; None where the input was accepted."""
    died: str | None = None
    """How the run ended, where it neither answered nor refused."""


_NOTHING = Run(0.0, 0.0, None, "could not be measured: standard error says why")

Figures = dict[int, list[Run]]
"""All runs by size."""


def faults_of(cost: Cost, figures: Figures) -> list[str]:
    """What is wrong with a row's figures, in words; nothing where all is well."""
    faults = []
    for size, runs in figures.items():
        for run in runs:
            if run.died is not None:
                return [f"size {size}: {run.died}"]
            if cost.accepted and run.refused is not None:
                return [f"size {size} is refused: {run.refused[:200]}"]
            if run.refused is not None and len(run.refused) > LONGEST_MESSAGE:
                return [f"size {size}: an error of {len(run.refused)} characters: {run.refused[:200]}"]
    if not cost.accepted and all(run.refused is None for run in figures[max(figures)]):
        faults.append("the largest input is accepted")
    sizes = sorted(figures)
    seconds = {size: [run.seconds for run in figures[size]] for size in sizes}
    mib = {size: [run.mib for run in figures[size]] for size in sizes}
    faults += _disproportions("s", seconds, floor=FLOOR_SECONDS, limit=cost.where.value[0])
    faults += _disproportions("MiB", mib, floor=FLOOR_MIB, limit=cost.where.value[1])
    return faults


def _disproportions(unit: str, took: dict[int, list[float]], *, floor: float, limit: float) -> list[str]:
    sizes = sorted(took)
    best = min(took[sizes[-1]])
    faults = [f"size {sizes[-1]} takes {best:.4f} {unit}, at most {limit} is allowed"] if best > limit else []
    for small, large in itertools.pairwise(sizes):
        usual, best = max(statistics.median(took[small]), floor), min(took[large])
        growth = best / (usual * large / small)
        if growth > GROWTH:
            faults.append(
                f"from size {small} to {large} the cost grows {growth:.2f} times linearly: "
                f"{usual:.4f} to {best:.4f} {unit}"
            )
    return faults


class Meter:
    """The process that measures; started once, asked row by row."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.rigs.costs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def measure(self, module: str, cost: Cost) -> Figures:
        """The figures of the row of this name in the module's ``COSTS``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([module, cost.name]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return {int(size): [Run(**run) for run in runs] for size, runs in answer.items()}

    def faults(self, module: str, cost: Cost) -> list[str]:
        """What is wrong with a row in this process and in two new ones; nothing where one of them finds nothing.

        Where a process's memory lies makes all its runs on large inputs slower or faster by a tenth: its forks share
        that. A parser that is out of proportion is so in every process.
        """
        found = faults_of(cost, self.measure(module, cost))
        for _ in range(2):
            if not found:
                break
            with Meter() as another:
                found = faults_of(cost, another.measure(module, cost))
        return found


def figures_of(cost: Cost) -> Figures:
    """Measures a row, in processes below this one."""
    sizes = [max(1, cost.largest // SIZES[-1]) * times for times in SIZES]
    sizes[-1] = cost.largest
    inputs = {size: _made(cost, size) for size in sizes}
    with contextlib.suppress(Exception):  # what is loaded or compiled at the first call
        cost.call(cost.ready(cost.make(max(1, sizes[0] // 64))))
    gc.collect()
    gc.freeze()
    figures: Figures = {size: [] for size in sizes}
    for _ in range(ROUNDS):
        for _ in range(RUNS):
            for size in sizes:
                figures[size].append(_run(cost, inputs[size]))
                if figures[size][-1].died is not None:
                    return figures
        if not faults_of(cost, figures):
            break
    return figures


def _made(cost: Cost, size: int) -> mmap.mmap:
    """The input, made by a process that takes its garbage with it."""
    descriptor = os.memfd_create("input")
    maker = os.fork()
    if maker == 0:
        with _ending(), os.fdopen(descriptor, "wb") as file:
            file.write(cost.make(size))
    _, status = os.waitpid(maker, 0)
    if status:
        raise ChildProcessError(f"{cost.name}: the input of size {size} could not be made")
    length = os.fstat(descriptor).st_size
    made = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ) if length else mmap.mmap(-1, 1)
    os.close(descriptor)
    return made


def _run(cost: Cost, given: mmap.mmap) -> Run:
    """One run in a process of its own."""
    reading, writing = os.pipe()
    runner = os.fork()
    if runner == 0:
        with _ending():
            os.close(reading)
            signal.alarm(_RUN_SECONDS)  # a limit on processor time would make the kernel's clock a coarse one
            resource.setrlimit(resource.RLIMIT_DATA, (_RUN_DATA, _RUN_DATA))
            with os.fdopen(writing, "w") as file:
                json.dump(_measured(cost, given[:]), file)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    _, status = os.waitpid(runner, 0)
    if status or not said:
        code = os.waitstatus_to_exitcode(status)
        return Run(0.0, 0.0, None, f"ended with {code} ({_RUN_SECONDS} s or {_RUN_DATA // MIB} MiB may be over)")
    return Run(**json.loads(said))


def _measured(cost: Cost, given: bytes) -> dict[str, Any]:
    value = cost.ready(given)
    refused = died = answer = None
    gc.collect()  # the collector starts from the same count for every size
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    start = time.process_time()
    try:
        answer = cost.call(value)
    except CasemateError as error:
        refused = str(error)
    except MemoryError:
        died = f"out of memory ({_RUN_DATA // MIB} MiB)"
    except Exception as error:
        died = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.process_time() - start
    mib = (_peak() - before) / 1024
    del answer
    return {"seconds": seconds, "mib": mib, "refused": refused, "died": died}


def _peak() -> int:
    """Most memory that was resident since it was last cleared (KiB)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split(None, 1)[0])


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Ends a forked process, whatever happens inside."""
    code = 1
    try:
        yield
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(code)


def _serve() -> None:
    """Answers one row for each line of standard input."""
    for line in sys.stdin:
        module, name = json.loads(line)
        table = importlib.import_module(module)
        cost = next(cost for cost in (*table.COSTS, *getattr(table, "MORE", ())) if cost.name == name)
        reading, writing = os.pipe()
        rower = os.fork()
        if rower == 0:
            with _ending():
                os.close(reading)
                with os.fdopen(writing, "w") as file:
                    json.dump({size: [asdict(run) for run in runs] for size, runs in figures_of(cost).items()}, file)
        os.close(writing)
        with os.fdopen(reading) as file:
            said = file.read()
        os.waitpid(rower, 0)
        sys.stdout.write((said or json.dumps({0: [asdict(_NOTHING)]})) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
