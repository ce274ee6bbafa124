"""Handlers that do what they should not: whoever asks gets an answer in time, and the operator learns where it was."""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from casemate.ocalls import Asked, answering
from casemate.ocalls.answering import Answering
from casemate.ocalls.handlers import Handler
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.messages.ocalls import AskHandler, Asking
from casemate.wire.protocol.faults import Code, FaultError

ASKING = Asking(3, "hello", b"\x11" * 32, b"\x22" * 32, 7, 2, debug=False)
NUMBER = {"type": "object", "properties": {"usd": {"type": "number"}}, "additionalProperties": False}
OWN = Path(__file__)


def question(name: str = "rates", argument: Any = None, schema: Any = NUMBER, time_ms: int = 5000) -> AskHandler:
    return AskHandler(name, json.dumps(argument).encode(), ASKING, json.dumps(schema).encode(), time_ms)


def answered(
    function: Callable[..., Any], asked: AskHandler | None = None, *, is_async: bool = False, takes_asked: bool = False
) -> Any:
    async def ask() -> bytes:
        handlers = {"rates": Handler("rates", function, is_async, takes_asked)}
        return await Answering(handlers, OWN, lambda: None).answer(asked or question())

    return json.loads(asyncio.run(asyncio.wait_for(ask(), 20)))


def refusal(function: Callable[..., Any], asked: AskHandler | None = None, *, is_async: bool = False) -> str:
    with pytest.raises(FaultError) as refused:
        answered(function, asked, is_async=is_async)
    assert refused.value.fault.code is Code.OCALL_REFUSED
    return refused.value.fault.reason


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.INFO)
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


async def later(argument: Any) -> Any:
    await asyncio.sleep(0.01)
    return argument


def test_a_function_and_a_coroutine_answer() -> None:
    assert answered(lambda argument: argument, question(argument={"usd": 2})) == {"usd": 2}
    assert answered(later, question(argument={"usd": 2.5}), is_async=True) == {"usd": 2.5}


def test_a_handler_learns_who_asks() -> None:
    seen: list[Asked] = []

    def rates(_: object, asked: Asked) -> object:
        seen.append(asked)
        return {}

    answered(rates, takes_asked=True)
    assert seen == [Asked("rates", 3, "hello", b"\x11" * 32, b"\x22" * 32, 7, 2, debug=False)]
    assert str(seen[0]) == f"enclave 3 ('hello', MRENCLAVE {'11' * 32})"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"usd": "1"}, 'the answer does not fit the manifest\'s schema: /usd: the value is not of type "number"'),
        ({"usd": 1, "eur": 2}, "/: Additional properties are not allowed"),
        ([], "/: the value is not of type"),
        (None, "/: the value is not of type"),
        (object(), "the answer is not JSON: Object of type object"),
        ({"usd": float("nan")}, "the answer is not JSON"),
        ({"usd": {1, 2}}, "the answer is not JSON"),
        ({1: 1, "1": 2}, "an object with the same name twice"),
        ({"usd": 2**60}, "the answer is"),
        ("\ud800", "the answer is not JSON"),
        ("x" * (MAX_OCALL + 1), "the answer is 1048579 bytes"),
    ],
    ids=["type", "member", "array", "null", "object", "NaN", "set", "names", "integer", "surrogate", "long"],
)
def test_an_answer_that_does_not_fit_is_refused_by_the_name_of_its_member(
    answer: object, words: str, logged: Callable[[], str]
) -> None:
    assert words in refusal(lambda _: answer)
    assert f"OCALL rates of enclave 3 ('hello', MRENCLAVE {'11' * 32}): " in logged()
    assert words in logged()


def test_an_answer_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "the answer is not JSON" in refusal(lambda _: endless)


@pytest.mark.parametrize("error", [ValueError("secret words"), SystemExit(3), KeyboardInterrupt(), RecursionError()])
@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_handler_raises_is_in_the_log_alone(
    error: BaseException, is_async: bool, logged: Callable[[], str]
) -> None:
    def raises(_: object) -> None:
        raise error

    async def raises_later(_: object) -> None:
        raise error

    said = refusal(raises_later if is_async else raises, is_async=is_async)
    assert said == f"the handler of OCALL 'rates': {type(error).__name__} was raised"
    assert f'File "{OWN}"' in logged()
    assert str(error) in logged()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_handler_that_hangs_costs_its_call_alone_and_the_log_shows_where(
    is_async: bool, logged: Callable[[], str]
) -> None:
    let_go = threading.Event()

    def hangs(_: object) -> None:
        let_go.wait(10)  # here

    async def hangs_too(_: object) -> None:
        let_go.wait(10)  # here

    began = time.monotonic()
    try:
        said = refusal(hangs_too if is_async else hangs, question(time_ms=100), is_async=is_async)
    finally:
        let_go.set()
    assert time.monotonic() - began < 5
    assert said == "the handler of OCALL 'rates': no answer within 100 ms, the time limit of the call"
    assert "let_go.wait(10)  # here" in logged()
    assert "threading.py" not in logged().partition("it is here:")[2].partition(OWN.name)[0]


def test_a_coroutine_whose_time_is_up_is_cancelled() -> None:
    ended = threading.Event()

    async def waits(_: object) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    refusal(waits, question(time_ms=50), is_async=True)
    assert ended.wait(5)


def test_many_calls_run_beside_each_other() -> None:
    together = threading.Barrier(8)

    def meets(_: object) -> dict[str, int]:
        together.wait(10)
        return {"usd": 1}

    async def ask() -> None:
        handlers = {"rates": Handler("rates", meets, is_async=False, takes_asked=False)}
        answers = Answering(handlers, OWN, lambda: None)
        assert await asyncio.gather(*(answers.answer(question()) for _ in range(8))) == [b'{"usd":1}'] * 8

    asyncio.run(ask())


def test_too_many_handlers_that_hang_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "MOST_RUNNING", 2)
    let_go, ended = threading.Event(), threading.Event()

    async def ask() -> None:
        hangs = Handler("rates", lambda _: let_go.wait(10), is_async=False, takes_asked=False)
        answers = Answering({"rates": hangs}, OWN, ended.set)
        for at in range(3):
            assert ended.is_set() is False, at
            with pytest.raises(FaultError, match="no answer within 20 ms"):
                await answers.answer(question(time_ms=20))
        assert ended.is_set()
        ended.clear()
        let_go.set()
        for thread in threading.enumerate():
            if thread.name == "ocall rates":
                thread.join(10)
        await asyncio.sleep(0)  # their ends are counted
        with pytest.raises(FaultError):
            await answers.answer(question(time_ms=1000))
        assert not ended.is_set()

    asyncio.run(asyncio.wait_for(ask(), 20))


def test_a_coroutine_that_blocks_is_noticed() -> None:
    let_go = threading.Event()

    async def blocks(_: object) -> None:
        let_go.wait(10)

    async def ask() -> None:
        answers = Answering({"rates": Handler("rates", blocks, True, False)}, OWN, lambda: None)
        await asyncio.wait_for(answers.check_alive(), 5)
        with pytest.raises(FaultError):
            await answers.answer(question(time_ms=20))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answers.check_alive(), 0.1)
        let_go.set()
        await asyncio.wait_for(answers.check_alive(), 5)

    asyncio.run(ask())


def test_no_handler_and_no_thread_are_typed_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(later, question("limits")) == "the handler of OCALL 'limits': there is none, there are: rates"

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def ask() -> None:
        answers = Answering({"rates": Handler("rates", later, False, False)}, OWN, lambda: None)
        monkeypatch.setattr(threading.Thread, "start", start)
        with pytest.raises(FaultError, match="can't start new thread"):
            await answers.answer(question())

    asyncio.run(ask())


@pytest.mark.parametrize("argument", [b"", b"{", b"\xff", b"[" * 100_000])
def test_an_argument_that_is_not_json_reaches_no_handler(argument: bytes) -> None:
    asked = AskHandler("rates", argument, ASKING, b"{}", 1000)
    assert "the argument" in refusal(lambda _: sys.exit("reached"), asked)


@pytest.mark.parametrize("schema", [b"{", b'{"type": 3}', b"[]", b'{"$ref": "https://example.org/"}'])
def test_a_schema_that_is_none_is_the_images_fault(schema: bytes) -> None:
    refusal(lambda _: {}, AskHandler("rates", b"null", ASKING, schema, 1000))
