"""What `casemate test` has found, for people, for programs, and as JUnit's XML."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from casemate.cli.output import printable


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test's."""

    name: str
    seconds: float
    failure: str = ""
    """Why it failed, in a line; empty where it passed."""
    details: str = ""
    """Lines below that: a difference, a trace."""
    console: tuple[str, ...] = ()
    """What the function printed."""

    @property
    def passed(self) -> bool:
        return not self.failure

    def document(self) -> dict[str, object]:
        """The outcome for ``--json``."""
        said: dict[str, object] = {"name": self.name, "passed": self.passed, "seconds": round(self.seconds, 3)}
        if not self.passed:
            said |= {"failure": self.failure, "details": self.details}
        return said | {"console": list(self.console)}


def is_same(got: Any, want: Any) -> bool:
    """Whether two values of JSON are equal; ``True`` is not 1."""
    if isinstance(got, dict) and isinstance(want, dict):
        return got.keys() == want.keys() and all(is_same(got[name], want[name]) for name in got)
    if isinstance(got, list) and isinstance(want, list):
        return len(got) == len(want) and all(map(is_same, got, want))
    if isinstance(got, bool) or isinstance(want, bool):
        return got is want
    return bool(got == want)


def difference(got: Any, want: Any) -> str:
    """What is wanted and not there (``-``), and what is there and not wanted (``+``), line by line."""
    return "\n".join(difflib.unified_diff(_lines(want), _lines(got), "want", "got", lineterm="", n=2))


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def junit(suite: str, outcomes: Sequence[Outcome]) -> bytes:
    """The outcomes as JUnit's XML, as CI servers read it."""
    failed = sum(not outcome.passed for outcome in outcomes)
    total = f"{sum(outcome.seconds for outcome in outcomes):.3f}"
    counts = {"name": suite, "tests": str(len(outcomes)), "failures": str(failed), "errors": "0", "time": total}
    suites = ET.Element("testsuites")
    found = ET.SubElement(suites, "testsuite", counts)
    for outcome in outcomes:
        case = ET.SubElement(
            found, "testcase", {"classname": suite, "name": _text(outcome.name), "time": f"{outcome.seconds:.3f}"}
        )
        if not outcome.passed:
            failure = ET.SubElement(case, "failure", {"message": _text(outcome.failure)})
            failure.text = _text(outcome.details)
        if outcome.console:
            ET.SubElement(case, "system-out").text = _text("\n".join(outcome.console))
    ET.indent(suites)
    text: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _text(text: str) -> str:
    """Text that XML 1.0 can hold."""
    return printable(text)
