"""The table ``[run]``: which code that a caller brings a function may have run, and what that may use.

Code that runs so is no part of the image and is not measured. It gets a guest of its own, without permissions, state,
OCALLs or seals, and the manifest says how large and how long-lived such a guest may be at most.

Example:
    [run]
    engines = ["javascript", "python"]
    memory_mib = 64
    time_ms = 1000
    output_kib = 64
    code_kib = 64
    at_once = 2
    per_call = 16
"""

from dataclasses import dataclass
from typing import Final

from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.manifest_table import ManifestError, Table, shown

KEYS: Final = ("engines", "memory_mib", "time_ms", "output_kib", "code_kib", "at_once", "per_call")

MIN_MEMORY_MIB, MAX_MEMORY_MIB = 16, 512
"""A guest's memory: the engines do not start with less."""
MAX_TIME_MS = 60_000
"""As long as the longest call."""
MAX_OUTPUT_KIB = 1024
"""Longest result: the function that has asked gets it in one piece."""
MAX_CODE_KIB = 1024
"""All sources of a run together: they come in one frame, with the argument."""
MAX_AT_ONCE = 8
"""Runs of an enclave at the same time."""
MAX_PER_CALL, DEFAULT_PER_CALL = 1000, 16
"""Runs of one call, or of one stream."""
PROCESSES: Final = 2
"""A run's processes at most: one that loads Python code, and the copy that is called."""
MAX_RUNS_MIB = 1024
"""``at_once`` times ``memory_mib`` (MiB)."""


@dataclass(frozen=True, slots=True)
class RunRules:
    """The table ``[run]``."""

    engines: tuple[Engine, ...]
    """Those that code may be brought for; the image's own need not be among them."""
    memory_mib: int
    """A run's guest may have at most so much; the function may ask for less, as for each of the next two."""
    time_ms: int
    """From the moment that its process is there: to load the code, and to call it."""
    output_kib: int
    code_kib: int
    """All sources of a run together."""
    at_once: int
    """Runs of the enclave at the same time; others wait for their turn."""
    per_call: int
    """Runs of one call, or of one stream, one after the other."""


def parse_run(top: Table) -> RunRules | None:
    """The table, which has no defaults but for its two numbers of runs; None where it is absent.

    Raises:
        ManifestError: names the key.
    """
    if "run" not in top:
        return None
    table = top.table("run", KEYS)
    rules = RunRules(
        engines=_engines(table),
        memory_mib=table.integer("memory_mib", MIN_MEMORY_MIB, MAX_MEMORY_MIB),
        time_ms=table.integer("time_ms", 1, MAX_TIME_MS),
        output_kib=table.integer("output_kib", 1, MAX_OUTPUT_KIB),
        code_kib=table.integer("code_kib", 1, MAX_CODE_KIB),
        at_once=table.integer("at_once", 1, MAX_AT_ONCE, absent=1),
        per_call=table.integer("per_call", 1, MAX_PER_CALL, absent=DEFAULT_PER_CALL),
    )
    if rules.at_once * rules.memory_mib > MAX_RUNS_MIB:
        most = MAX_RUNS_MIB // rules.memory_mib
        want = f"at most {most} with memory_mib = {rules.memory_mib}: {MAX_RUNS_MIB} MiB in all"
        raise ManifestError(table.key("at_once"), got=rules.at_once, want=want)
    return rules


def _engines(table: Table) -> tuple[Engine, ...]:
    known = ", ".join(f'"{engine}"' for engine in Engine)
    want = f"a list of {known}"
    names, key = table.value("engines", want), table.key("engines")
    if not isinstance(names, list) or not names or any(name not in tuple(Engine) for name in names):
        raise ManifestError(key, got=shown(names), want=want)
    if len(set(names)) < len(names):
        raise ManifestError(key, got=shown(names), want="each name once")
    return tuple(Engine(name) for name in names)
