import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.frames import (
    CALL_SIZE,
    MAX_HEAD,
    MAX_TEXT,
    NO_CALL,
    Asked,
    Ended,
    Failed,
    FrameKind,
    Loaded,
    Paused,
    Printed,
    Returned,
    Warm,
    frame,
    head_and_text,
    parse_said,
)
from casemate.wire.encodings.json_text import encode_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.call import MAX_CHUNK
from casemate.wire.protocol.faults import Code

CALL = b"12345678"


@given(st.binary(max_size=300))
def test_random_bytes_are_a_frame_or_refused(payload: bytes) -> None:
    try:
        call, _ = parse_said(payload)
    except WireError:
        return
    assert payload[1 : 1 + CALL_SIZE] == call


@given(st.sampled_from(FrameKind), st.binary(min_size=CALL_SIZE, max_size=CALL_SIZE), st.binary(max_size=200))
def test_any_body_of_any_kind_is_a_value_or_refused(kind: FrameKind, call: bytes, body: bytes) -> None:
    try:
        said = parse_said(frame(kind, call, body))
    except WireError:
        return
    assert said[0] == call


@given(st.text(max_size=100), st.binary(max_size=100))
def test_a_question_comes_through(name: str, arguments: bytes) -> None:
    try:
        body = head_and_text({"name": name}, arguments)
    except UnicodeEncodeError:
        return
    assert parse_said(frame(FrameKind.ASKED, CALL, body)) == (CALL, Asked(name, arguments))


def test_results_are_not_parsed() -> None:
    assert parse_said(frame(FrameKind.RETURNED, CALL, b"\xff{")) == (CALL, Returned(b"\xff{"))


@pytest.mark.parametrize(("kind", "said"), [(FrameKind.WARM, Warm()), (FrameKind.LOADED, Loaded())])
def test_plain_frames_have_no_body(kind: FrameKind, said: object) -> None:
    assert parse_said(frame(kind, NO_CALL)) == (NO_CALL, said)
    with pytest.raises(WireError, match="a body of 1 bytes"):
        parse_said(frame(kind, NO_CALL, b"x"))


@pytest.mark.parametrize("code", [Code.GUEST_ERROR, Code.OUTPUT_LIMIT, Code.RESULT_REFUSED])
def test_a_failure_has_a_code_a_name_and_a_message(code: Code) -> None:
    body = head_and_text({"code": code, "name": "TypeError", "message": "no"}, b"")
    assert parse_said(frame(FrameKind.FAILED, CALL, body)) == (CALL, Failed(code, "TypeError", "no"))


@pytest.mark.parametrize("code", [Code.LOST, Code.TIME_LIMIT, "ok", "x" * 1000])
def test_a_guest_cannot_give_itself_another_code(code: str) -> None:
    body = head_and_text({"code": code, "name": "a", "message": "b"}, b"")
    with pytest.raises(WireError, match="code"):
        parse_said(frame(FrameKind.FAILED, CALL, body))


@pytest.mark.parametrize(
    "head", [[], None, 5, {"code": "guest-error"}, {"code": "guest-error", "name": 1, "message": ""}]
)
def test_a_head_of_another_shape_is_refused(head: object) -> None:
    with pytest.raises(WireError):
        parse_said(frame(FrameKind.FAILED, CALL, head_and_text(head, b"")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\1\0\0",
        b"\5\0\0\0{}",
        (MAX_HEAD + 1).to_bytes(4, "little") + b" " * (MAX_HEAD + 1),
        len(b"[" * 50_000).to_bytes(4, "little") + b"[" * 50_000,
        b'\x10\0\0\0{"name":"\\ud800"}',
        b"\2\0\0\0\xff\xff",
    ],
    ids=["empty", "short", "cut", "long", "deep", "surrogate", "no UTF-8"],
)
def test_a_broken_head_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        parse_said(frame(FrameKind.ASKED, CALL, body))


def test_long_words_are_cut_within_a_character() -> None:
    body = encode_json({"code": "guest-error", "name": "ä" * MAX_TEXT, "message": ""})
    _, said = parse_said(frame(FrameKind.FAILED, CALL, len(body).to_bytes(4, "little") + body))
    assert isinstance(said, Failed)
    assert said.name == "ä" * (MAX_TEXT // 2)


def test_printed_bytes_that_are_no_text_are_replaced() -> None:
    assert parse_said(frame(FrameKind.PRINTED, CALL, b"a\xff")) == (CALL, Printed("a�"))


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 28, 255])
def test_a_guest_cannot_speak_as_the_enclave(kind: int) -> None:
    with pytest.raises(WireError, match="a kind that guests send"):
        parse_said(bytes((kind,)) + CALL)


@given(st.booleans(), st.binary(max_size=100))
def test_a_pause_comes_through(hungry: bool, data: bytes) -> None:
    assert parse_said(frame(FrameKind.PAUSED, CALL, bytes((hungry,)) + data)) == (CALL, Paused(hungry, data))


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_an_end_comes_through(data: bytes, text: bytes) -> None:
    body = len(data).to_bytes(4, "little") + data + text
    assert parse_said(frame(FrameKind.ENDED, CALL, body)) == (CALL, Ended(data, text))


@pytest.mark.parametrize("body", [b"", b"\2", b"\xffdata", b"\1" + bytes(MAX_CHUNK + 1)])
def test_a_broken_pause_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        parse_said(frame(FrameKind.PAUSED, CALL, body))


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0", b"\5\0\0\0four", (MAX_CHUNK + 1).to_bytes(4, "little") + bytes(MAX_CHUNK + 1)]
)
def test_a_broken_end_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        parse_said(frame(FrameKind.ENDED, CALL, body))
