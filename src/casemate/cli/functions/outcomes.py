"""What `casemate test` has found, for people, for programs, and as JUnit's XML."""

import difflib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from xml.etree import ElementTree as ET

from casemate.cli.output import printable

_MOST_COMPARED = 256 * 1024
"""Longest texts whose lines are compared (characters)."""


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
    ocalls: tuple[str, ...] = ()
    """What the handlers of OCALLs printed, and what went wrong in them."""

    @property
    def passed(self) -> bool:
        return not self.failure

    def document(self) -> dict[str, object]:
        """The outcome for ``--json``."""
        said: dict[str, object] = {"name": self.name, "passed": self.passed, "seconds": round(self.seconds, 3)}
        if not self.passed:
            said |= {"failure": self.failure, "details": self.details}
        return said | {"console": list(self.console), "ocalls": list(self.ocalls)}


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
    return _difference(_lines(got), _lines(want))


def text_difference(got: str, want: str) -> str:
    """The same of two texts, as far as they are not too long to be compared."""
    if max(len(got), len(want)) > _MOST_COMPARED:
        at = next(
            (at for at, (one, other) in enumerate(zip(got, want, strict=False)) if one != other),
            min(len(got), len(want)),
        )
        return f"got {len(got)} characters, want {len(want)}; they differ from character {at} on"
    return _difference(got.splitlines(), want.splitlines())


def _difference(got: list[str], want: list[str]) -> str:
    return "\n".join(difflib.unified_diff(want, got, "want", "got", lineterm="", n=2))


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).splitlines()


def junit(suite: str, outcomes: Sequence[Outcome], began: datetime) -> bytes:
    """The outcomes as JUnit's XML, as CI servers read it.

    Args:
        suite: the function's name.
        outcomes: all there are.
        began: when the tests began; the format has no time zone.
    """
    failed = sum(not outcome.passed for outcome in outcomes)
    total = f"{sum(outcome.seconds for outcome in outcomes):.3f}"
    counts = {"name": suite, "tests": str(len(outcomes)), "failures": str(failed), "errors": "0", "time": total}
    suites = ET.Element("testsuites", counts)
    about = {"skipped": "0", "timestamp": began.strftime("%Y-%m-%dT%H:%M:%S"), "hostname": platform.node()}
    found = ET.SubElement(suites, "testsuite", counts | about)
    for outcome in outcomes:
        case = ET.SubElement(
            found, "testcase", {"classname": suite, "name": _text(outcome.name), "time": f"{outcome.seconds:.3f}"}
        )
        if not outcome.passed:
            failure = ET.SubElement(case, "failure", {"message": _text(outcome.failure), "type": "failure"})
            failure.text = _text(outcome.details)
        if outcome.console:
            ET.SubElement(case, "system-out").text = _text("\n".join(outcome.console))
        if outcome.ocalls:
            ET.SubElement(case, "system-err").text = _text("\n".join(outcome.ocalls))
    ET.indent(suites)
    text: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _text(text: str) -> str:
    """Text that XML 1.0 can hold."""
    return printable(text)
