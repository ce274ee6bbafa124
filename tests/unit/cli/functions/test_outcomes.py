from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.cli.functions.outcomes import Outcome, difference, is_same, junit


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


TEXTS = st.text(max_size=30)


@given(st.builds(Outcome, TEXTS, st.floats(0, 1000), TEXTS, TEXTS, st.lists(TEXTS, max_size=2).map(tuple)))
def test_whatever_was_printed_is_well_formed_xml(outcome: Outcome) -> None:
    suite = ET.fromstring(junit("f", [outcome, Outcome("good", 1.0)])).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert suite.get("tests") == "2"
    assert suite.get("failures") == ("0" if outcome.passed else "1")
    first, second = suite.findall("testcase")
    assert (first.find("failure") is None) is outcome.passed
    assert (second.get("name"), second.get("classname"), second.get("time")) == ("good", "f", "1.000")
