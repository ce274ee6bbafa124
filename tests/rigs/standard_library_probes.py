"""What programs do with the standard library, as code to run inside a confined Python guest, and what becomes of it."""

import re
from pathlib import Path
from typing import NamedTuple

WORKS = "works"


class Probe(NamedTuple):
    """Code, and what its outcome begins with: :data:`WORKS`, or an exception (a pattern for its name and message)."""

    code: str
    outcome: str


def probes() -> list[Probe]:
    """Those in the file beside this one: below each outcome, after ``# ``, the code that has it.

    A line that begins with an import begins a probe, except below a line that does nothing but import.
    """
    found: list[Probe] = []
    outcome, goes_on = "", False
    for line in Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines():
        imports = line.startswith(("import ", "from "))
        if line.startswith("# "):
            outcome, goes_on = line.removeprefix("# "), False
        elif imports and not goes_on:
            found.append(Probe(line, outcome))
        elif line:
            found[-1] = Probe(f"{found[-1].code}\n{line}", outcome)
        goes_on = imports and ";" not in line
    return found


def has(outcome: str, probe: Probe) -> bool:
    """Whether a probe's outcome is the one that is expected."""
    return outcome == probe.outcome if WORKS in (outcome, probe.outcome) else bool(re.match(probe.outcome, outcome))
