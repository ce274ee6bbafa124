import asyncio

import pytest

from casemate.host.ocalls import BUILT_IN, ask, encode_answer
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
        ask(BUILT_IN, name, arguments)
    assert refusal.value.fault.code is Code.MALFORMED


def test_arguments_come_back_from_echo() -> None:
    assert encode_answer(ask(BUILT_IN, "echo", b'{"a": [1, 2.5, "x"]}')) == b'{"a":[1,2.5,"x"]}'


def test_a_handler_may_be_a_coroutine_function() -> None:
    async def later(arguments: list[int]) -> int:
        await asyncio.sleep(0.001)
        return sum(arguments)

    async def asked() -> object:
        return await ask({"sum": later}, "sum", b"[1, 2, 3]")

    assert asyncio.run(asked()) == 6
