import re
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.cli.functions.outcomes import Outcome, difference, is_same, junit, text_difference


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ([1, {"a": None}], [1, {"a": None}], True),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": True}, {"a": 1}, False),
        ("1", 1, False),
        (None, False, False),
        ({}, [], False),
    ],
)
def test_values_of_json_are_compared(one: Any, other: Any, same: bool) -> None:
    assert is_same(one, other) is same
    assert is_same(other, one) is same


def test_a_difference_shows_what_was_wanted_and_what_came() -> None:
    assert difference({"a": 1, "b": [2]}, {"b": [3], "a": 1}).splitlines() == [
        "--- want",
        "+++ got",
        "@@ -2,5 +2,5 @@",
        '   "a": 1,',
        '   "b": [',
        "-    3",
        "+    2",
        "   ]",
        " }",
    ]


def test_a_difference_of_texts_is_shown_and_of_long_ones_told() -> None:
    assert text_difference("a\nb\n", "a\nc\n").splitlines()[-2:] == ["-c", "+b"]
    long = "x" * 300_000
    assert (
        text_difference(long + "y", long + "zz")
        == "got 300001 characters, want 300002; they differ from character 300000 on"
    )
    assert text_difference(long, long + "z").endswith("from character 300000 on")


TEXTS = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    ["]]>", "<![CDATA[x]]>", "\x00\x1b[31m\r\n", "\ud800", "\ufffe\uffff", "&lt;\u2028\u202e", "\U0001f600"]
)
LINES = st.lists(TEXTS, max_size=2).map(tuple)
BEGAN = datetime(2026, 12, 1, 9, 30, 0, 999_999, tzinfo=UTC)


@given(st.builds(Outcome, TEXTS, st.floats(0, 1000), TEXTS, TEXTS, LINES, LINES))
def test_whatever_was_printed_is_well_formed_xml(outcome: Outcome) -> None:
    suites = ET.fromstring(junit("f", [outcome, Outcome("good", 1.0)], BEGAN))  # noqa: S314 - our own
    check_schema(suites)
    suite = suites.find("testsuite")
    assert suite is not None
    assert suite.get("timestamp") == "2026-12-01T09:30:00"
    assert (suite.get("skipped"), suite.get("errors")) == ("0", "0")
    assert suite.get("tests") == "2"
    assert suite.get("failures") == ("0" if outcome.passed else "1")
    first, second = suite.findall("testcase")
    assert (first.find("failure") is None) is outcome.passed
    assert (second.get("name"), second.get("classname"), second.get("time")) == ("good", "f", "1.000")


SCHEMA: dict[str, tuple[str, dict[str, str]]] = {
    "testsuites": (
        "testsuite*",
        {"name": "text", "time": "number", "tests": "count", "failures": "count", "errors": "count"},
    ),
    "testsuite": (
        "testcase*",
        {"name": "text!", "tests": "count!", "failures": "count!", "errors": "count!", "time": "number"}
        | {"skipped": "count", "timestamp": "date", "hostname": "text"},
    ),
    "testcase": (
        "failure? system-out? system-err?",
        {"name": "text!", "classname": "text!", "time": "number"},
    ),
    "failure": ("", {"type": "text", "message": "text"}),
    "system-out": ("", {}),
    "system-err": ("", {}),
}
"""Jenkins's schema of JUnit's XML (xunit-plugin, junit-10.xsd), as far as it is used here: for each element its inner
ones, in our order, and its attributes, those with ! required."""
TYPES = {
    "text": r"[\s\S]*",
    "count": r"\d+",
    "number": r"\d+\.\d{3}",
    "date": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
}


def check_schema(element: "ET.Element") -> None:
    inner, attributes = SCHEMA[element.tag]
    pattern = "".join(f"(?:{word.rstrip('*?')} ){word[len(word.rstrip('*?')) :]}" for word in inner.split())
    names = "".join(f"{child.tag} " for child in element)
    assert re.fullmatch(pattern, names), (element.tag, names)
    assert {name for name, kind in attributes.items() if kind.endswith("!")} <= set(element.keys())
    for name, value in element.items():
        assert re.fullmatch(TYPES[attributes[name].rstrip("!")], value), (element.tag, name, value)
    for child in element:
        check_schema(child)
