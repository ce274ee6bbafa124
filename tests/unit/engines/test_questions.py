import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.frames import NO_CALL, FrameKind, Wanted, frame, head_and_text, parse_said
from casemate.engines.questions import parse_question
from casemate.engines.questions.seals import MAX_SEALED_TEXT, Seal, Unseal
from casemate.engines.questions.state import MAX_LISTED, CompareAndSetState, DeleteState, GetState, ListState, PutState
from casemate.wire.errors import WireError
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

LONG = "x" * (MAX_KEY + 1)


@pytest.mark.parametrize(
    ("head", "text", "means"),
    [
        ({"do": "get", "key": "k"}, b"", GetState("k")),
        ({"do": "get", "key": "x" * MAX_KEY}, b"", GetState("x" * MAX_KEY)),
        ({"do": "put", "key": "ä"}, b"\xff", PutState("ä", b"\xff")),
        ({"do": "delete", "key": "k"}, b"", DeleteState("k")),
        ({"do": "list", "prefix": "", "after": None, "limit": 1}, b"", ListState("", None, 1)),
        ({"do": "list", "prefix": "p", "after": "", "limit": MAX_LISTED}, b"", ListState("p", "", MAX_LISTED)),
        (
            {"do": "compare-and-set", "key": "k", "expected": None, "value": None},
            b"",
            CompareAndSetState("k", None, None),
        ),
        (
            {"do": "compare-and-set", "key": "k", "expected": 1, "value": 2},
            b"122",
            CompareAndSetState("k", b"1", b"22"),
        ),
        ({"do": "compare-and-set", "key": "k", "expected": 0, "value": 1}, b"2", CompareAndSetState("k", b"", b"2")),
        ({"do": "seal", "policy": "mrsigner"}, b"1", Seal(SealBinding.MRSIGNER, b"1")),
        ({"do": "unseal"}, b"abc=", Unseal("abc=")),
    ],
)
def test_a_question_is_understood(head: dict[str, object], text: bytes, means: object) -> None:
    assert parse_question(head, text) == means


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ({}, b""),
        ({"do": 5}, b""),
        ({"do": ["get"]}, b""),
        ({"do": "drop", "key": "k"}, b""),
        ({"do": "get"}, b""),
        ({"do": "get", "key": 5}, b""),
        ({"do": "get", "key": ""}, b""),
        ({"do": "get", "key": LONG}, b""),
        ({"do": "get", "key": "€" * (MAX_KEY // 3 + 1)}, b""),
        ({"do": "get", "key": "k"}, b"more"),
        ({"do": "put", "key": LONG}, b"1"),
        ({"do": "put", "key": "k"}, bytes(MAX_VALUE + 1)),
        ({"do": "delete", "key": "k"}, b"1"),
        ({"do": "list", "prefix": "", "after": None, "limit": 0}, b""),
        ({"do": "list", "prefix": "", "after": None, "limit": MAX_LISTED + 1}, b""),
        ({"do": "list", "prefix": "", "after": None, "limit": True}, b""),
        ({"do": "list", "prefix": "", "after": None, "limit": 1.0}, b""),
        ({"do": "list", "prefix": LONG, "after": None, "limit": 1}, b""),
        ({"do": "list", "prefix": "", "after": LONG, "limit": 1}, b""),
        ({"do": "list", "prefix": "", "after": None, "limit": 1}, b"1"),
        ({"do": "compare-and-set", "key": "k", "expected": 2, "value": None}, b"1"),
        ({"do": "compare-and-set", "key": "k", "expected": -1, "value": None}, b"1"),
        ({"do": "compare-and-set", "key": "k", "expected": 1, "value": True}, b"11"),
        ({"do": "compare-and-set", "key": "k", "expected": 1, "value": 1}, b"123"),
        ({"do": "compare-and-set", "key": "k", "expected": MAX_VALUE + 1, "value": None}, bytes(MAX_VALUE + 1)),
        ({"do": "seal", "policy": "MRSIGNER"}, b"1"),
        ({"do": "seal"}, b"1"),
        ({"do": "seal", "policy": "mrsigner"}, bytes(MAX_VALUE + 1)),
        ({"do": "unseal"}, b"\xff"),
        ({"do": "unseal"}, b"x" * (MAX_SEALED_TEXT + 1)),
    ],
)
def test_what_no_bootstrap_asks_is_no_frame(head: dict[str, object], text: bytes) -> None:
    with pytest.raises(WireError):
        parse_question(head, text)
    with pytest.raises(WireError):
        parse_said(frame(FrameKind.WANTED, NO_CALL, head_and_text(head, text)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["get", "put", "list", "seal"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["do", "key", "prefix", "after", "limit", "expected", "value", "policy"])
VERBS = st.sampled_from(["get", "put", "delete", "list", "compare-and-set", "seal", "unseal", "?"])


@given(st.dictionaries(MEMBERS, JSON), VERBS, st.binary(max_size=50))
def test_any_head_is_a_question_or_refused(head: dict[str, object], do: str, text: bytes) -> None:
    try:
        parse_question(head | {"do": do}, text)
    except WireError:
        return


def test_a_question_comes_in_a_frame() -> None:
    said = parse_said(frame(FrameKind.WANTED, NO_CALL, head_and_text({"do": "put", "key": "k"}, b"[1]")))
    assert said == (NO_CALL, Wanted(PutState("k", b"[1]")))
