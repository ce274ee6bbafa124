import pytest

from casemate.host.ocalls import BUILT_IN, answer
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
        answer(BUILT_IN, name, arguments)
    assert refusal.value.fault.code is Code.MALFORMED


def test_arguments_come_back_from_echo() -> None:
    assert answer(BUILT_IN, "echo", b'{"a": [1, 2.5, "x"]}') == b'{"a":[1,2.5,"x"]}'
