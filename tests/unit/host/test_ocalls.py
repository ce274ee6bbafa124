import pytest

from casemate.host.ocalls import answer_built_in
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.faults import Code, FaultError


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b"[" * 900 + b"]" * 900,
        b"[" + b"[]," * 300_000 + b"0]",
        b'"' + b"a" * MAX_OCALL + b'"',
        b"NaN",
        b"9" * 5_000_000,
    ],
    ids=["nothing", "no text", "open brackets", "deep", "many items", "long", "no number", "an endless number"],
)
@pytest.mark.parametrize("name", ["echo", "log"])
def test_an_enclaves_odd_arguments_are_malformed_and_no_more(name: str, arguments: bytes) -> None:
    with pytest.raises(FaultError) as refusal:
        answer_built_in(name, arguments)
    assert refusal.value.fault.code is Code.MALFORMED


def test_arguments_come_back_from_echo() -> None:
    assert answer_built_in("echo", b'{"a": [1, 2.5, "x"]}') == b'{"a":[1,2.5,"x"]}'


def test_a_question_that_nobody_answers_is_refused_with_what_would_answer_it() -> None:
    with pytest.raises(FaultError, match=r"no OCALL 'rates', it has echo, log, time; `casemate up --ocalls FILE` adds"):
        answer_built_in("rates", b"null")
