"""FakeEnclave for Python: what it promises, and that it is as the guest's own bootstrap and the enclave's own state."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import pytest
from tests.rigs.python_guests import ALL, body, function

from casemate.enclave.store.answers import answer_of
from casemate.enclave.store.state import State
from casemate.enclave.store.transaction import Transaction
from casemate.engines.frames import Asked, Failed, Refused, Returned, Said, Wanted
from casemate.engines.questions.seals import Seal, Unseal
from casemate.engines.questions.state import StateQuestion
from casemate.guest import AsyncChunks, Chunks, Context, EnclaveError, Refusal
from casemate.testing.fake_enclave import FakeEnclave, UntellableError, key_of, stranger
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.faults import Code, FaultError, refuse


def increment(_input: object, context: Context) -> dict[str, int]:
    assert context.caller is not None
    key = f"count/{context.caller.name}"
    count: int = context.state.get(key, 0) + 1
    context.state.put(key, count)
    return {"count": count}


def test_a_call_commits_what_it_changes() -> None:
    enclave = FakeEnclave()
    assert [enclave.call(increment, {}, caller=name) for name in ("alice", "bob", "alice")] == [
        {"count": 1}, {"count": 1}, {"count": 2},
    ]  # fmt: skip
    assert enclave.state == {"count/alice": 2, "count/bob": 1}
    assert enclave.epoch == 3


@pytest.mark.parametrize("end", [ValueError("no"), Refusal("spent", 1), SystemExit()])
def test_a_call_that_raises_commits_nothing(end: BaseException) -> None:
    def main(_input: object, context: Context) -> None:
        context.state.put("k", 1)
        raise end

    enclave = FakeEnclave(errors=("spent",))
    with pytest.raises(type(end)):
        enclave.call(main)
    assert (enclave.state, enclave.epoch) == ({}, 0)


def test_a_refusal_has_a_name_that_is_declared() -> None:
    def main(_input: object, context: Context) -> None:
        raise context.refuse("spent", {"until": 5})

    with pytest.raises(Refusal) as caught:
        FakeEnclave(errors=("spent",)).call(main)
    assert (caught.value.code, caught.value.details) == ("spent", {"until": 5})
    with pytest.raises(ValueError, match="'spent' is no error that"):
        FakeEnclave().call(main)


def test_a_result_is_what_the_caller_gets() -> None:
    assert FakeEnclave().call(lambda value, _context: (value, None), {"a": [1]}) == [{"a": [1]}, None]
    with pytest.raises(UntellableError, match=r"items\[1\] is a set"):
        FakeEnclave().call(lambda _input, _context: {"items": [1, {2}]})
    with pytest.raises(UntellableError, match="more than the 1024 bytes"):
        FakeEnclave(output_kib=1).call(lambda _input, _context: "x" * 1024)


def test_the_host_answers_what_the_test_says_and_nothing_else() -> None:
    enclave = FakeEnclave(ocalls={"time": lambda _argument: {"unix_ms": 5}})
    assert enclave.call(lambda _input, context: context.ocall("time")) == {"unix_ms": 5}
    with pytest.raises(EnclaveError) as caught:
        enclave.call(lambda _input, context: context.ocall("rates"))
    assert caught.value.code == "ocall-refused"


def test_a_seal_opens_in_its_enclave_alone() -> None:
    enclave = FakeEnclave()
    sealed = enclave.call(lambda value, context: context.seal(value, "mrenclave"), {"a": 1})
    assert enclave.call(lambda text, context: context.unseal(text), sealed) == {"a": 1}
    with pytest.raises(EnclaveError) as caught:
        FakeEnclave().call(lambda text, context: context.unseal(text), sealed)
    assert caught.value.code == "state-refused"
    with pytest.raises(EnclaveError, match='permission "seal"'):
        FakeEnclave(permissions=()).call(lambda value, context: context.seal(value, "mrenclave"))


def test_prints_need_the_permission() -> None:
    enclave = FakeEnclave()
    enclave.call(lambda _input, _context: print("a\nb", end=""))  # noqa: T201 - what is tested
    assert enclave.printed == ["a", "b"]
    with pytest.raises(EnclaveError, match='permission "log"'):
        FakeEnclave(permissions=()).call(lambda _input, _context: print("x"))  # noqa: T201


def test_a_function_without_state_is_told_what_to_add_and_its_call_fails_whatever_it_catches() -> None:
    def main(_input: object, context: Context) -> str:
        try:
            context.state.get("k")
        except EnclaveError as error:
            return error.code
        return "kept"

    with pytest.raises(EnclaveError, match=r"add \[state\]"):
        FakeEnclave(max_kib=None).call(main)


def test_callers_have_keys() -> None:
    def who(_input: object, context: Context) -> list[str | None] | None:
        return None if context.caller is None else [context.caller.name, context.caller.key]

    assert FakeEnclave().call(who) is None
    assert FakeEnclave().call(who, caller="alice") == ["alice", key_of("alice")]
    assert FakeEnclave().call(who, caller=stranger("eve")) == [None, key_of("eve")]


def test_streams_are_stepped_through() -> None:
    def shout(_input: object, _context: Context, chunks: Chunks) -> Generator[bytes, None, int]:
        total = 0
        for chunk in chunks:
            total += len(chunk)
            yield chunk.upper()
        return total

    async def late(_input: object, context: Context, chunks: AsyncChunks) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in chunks:
            await asyncio.sleep(0.001)
            total += len(chunk)
            yield chunk.upper()
        context.finish(total)

    assert FakeEnclave().stream(shout, None, [b"ab", b"c" * 10]) == (b"AB" + b"C" * 10, 12)
    assert FakeEnclave().stream(late, None, [b"ab", b"c"]) == (b"ABC", 3)


def test_a_result_in_a_wrong_place_is_refused_as_in_a_guest() -> None:
    async def twice(_input: object, context: Context, _chunks: AsyncChunks) -> AsyncIterator[bytes]:
        kept.append(context)
        context.finish(1)
        context.finish(2)
        yield b""

    def returns(_input: object, context: Context) -> None:
        context.finish(1)

    kept: list[Context] = []
    with pytest.raises(RuntimeError, match="call it once"):
        FakeEnclave().stream(twice)
    with pytest.raises(RuntimeError, match="this call is over"):
        kept[0].finish(3)
    with pytest.raises(RuntimeError, match="here, return gives the result"):
        FakeEnclave().call(returns)


async def waits(_input: object, _context: Context) -> int:
    await asyncio.sleep(0.001)
    return 5


def test_a_coroutine_is_waited_for() -> None:
    assert FakeEnclave().call(waits) == 5


# --- one script, here and in a guest ----------------------------------------------------------------------------------

SCRIPT = """
got = []
def tried(use):
    try:
        got.append(use())
    except Exception as error:
        got.append([type(error).__name__, getattr(error, "code", None), str(error)])
for use in (
    lambda: state.get("k"), lambda: state.get("k", 5), lambda: state.get("k", ABSENT) is ABSENT,
    lambda: state.put("k", {"b": 1, "a": [None, 1.0]}), lambda: state.get("k"), lambda: state.put("n", None),
    lambda: state.get("n", 5), lambda: state.list(), lambda: state.list("k"), lambda: state.list(after="k", limit=1),
    lambda: state.compare_and_set("k", {"a": [None, 1.0], "b": 1}, 2), lambda: state.compare_and_set("k", 1, 3),
    lambda: state.compare_and_set("z", ABSENT, 1), lambda: state.compare_and_set("z", 1, ABSENT),
    lambda: state.compare_and_set("n", None, "x"), lambda: state.delete("n"), lambda: state.delete("n"),
    lambda: state.get(5), lambda: state.get(""), lambda: state.get("x" * 257), lambda: state.get("\\ud800"),
    lambda: state.put("k", {1}), lambda: state.put("k", 2**53), lambda: state.put("k", "x" * (1 << 20)),
    lambda: state.put("k", "x" * (1 << 20 - 10)), lambda: state.list(limit=0), lambda: state.list(limit="x"),
    lambda: context.ocall("double", 4), lambda: context.ocall("none"), lambda: context.ocall("double", {1: 2}),
    lambda: context.ocall(None), lambda: context.seal({1}, "mrenclave"), lambda: context.seal(1, "nobody"),
    lambda: context.unseal("ä"), lambda: context.unseal(5), lambda: context.unseal("AAAA"),
    lambda: context.unseal(context.seal({"a": 1}, "mrsigner")), lambda: context.entry, lambda: list(context.caller),
    lambda: context.refuse("spent", [1]).code, lambda: context.refuse("other"), lambda: context.refuse("spent", {1}),
    lambda: setattr(context, "entry", 1),
):
    tried(use)
if input == "refuse":
    raise context.refuse("spent", got)
return got
"""


class Base:
    """A committed state for the guest's side of the comparison; nothing is committed."""

    state = State()
    mark = StateMark(0, 0)

    async def commit(self, _transaction: Transaction, _deadline: float) -> StateMark:
        raise NotImplementedError


class EnclaveSide:
    """Answers a guest's questions."""

    def __init__(self) -> None:
        self._sealed: dict[str, bytes] = {}
        self._transaction = Transaction(Base(), limit=64 << 20)

    def answer(self, said: Asked | Wanted) -> bytes:
        if isinstance(said, Asked):
            if said.name != "double":
                raise refuse(Code.OCALL_REFUSED, "the manifest declares no such OCALL")
            return json.dumps(2 * json.loads(said.arguments)).encode()
        question = said.question
        if isinstance(question, Seal):
            self._sealed["token"] = question.value
            return b'"token"'
        if isinstance(question, Unseal):
            if question.text not in self._sealed:
                raise refuse(Code.STATE_REFUSED, "no text that this enclave has sealed")
            return self._sealed[question.text]
        assert isinstance(question, StateQuestion)
        return answer_of(self._transaction, question)


def in_a_guest(argument: object) -> Said:
    """What the guest says in the end, its questions answered with the enclave's own state."""
    enclave = EnclaveSide()
    with function(body(SCRIPT), permissions=ALL, errors=("spent",)) as talk:
        said = talk.call(argument, caller={"name": "alice", "key": key_of("alice")})
        while isinstance(said, Asked | Wanted):
            try:
                text = enclave.answer(said)
            except FaultError as error:
                said = talk.say(talk.talk.refuse(error.fault.code, error.fault.reason))
            else:
                said = talk.say(talk.talk.answer(text))
    return said


def main_of(source: str) -> Callable[..., Any]:
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the very text that the guest loads
    made: Callable[..., Any] = names["main"]
    return made


def test_one_script_gives_the_same_here_and_in_a_guest() -> None:
    enclave = FakeEnclave(ocalls={"double": lambda argument: 2 * argument}, errors=("spent",))
    there = in_a_guest("go")
    assert isinstance(there, Returned), there
    here = enclave.call(main_of(body(SCRIPT)), "go", caller="alice")
    assert here == json.loads(there.text)
    assert len(here) > 40


def test_and_the_same_refusal() -> None:
    enclave = FakeEnclave(ocalls={"double": lambda argument: 2 * argument}, errors=("spent",))
    there = in_a_guest("refuse")
    assert isinstance(there, Refused)
    with pytest.raises(Refusal) as caught:
        enclave.call(main_of(body(SCRIPT)), "refuse", caller="alice")
    assert caught.value.details == json.loads(there.details)


@pytest.mark.parametrize(("text", "kind"), [
    ("return {1}", UntellableError), ("return 'x' * 100_000", UntellableError), ("1 / 0", ZeroDivisionError),
    ("raise SystemExit(1)", SystemExit),
])  # fmt: skip
def test_and_the_same_failures(text: str, kind: type[BaseException]) -> None:
    with function(body(text)) as talk:
        there = talk.call()
    assert isinstance(there, Failed)
    with pytest.raises(kind) as caught:
        FakeEnclave(output_kib=64).call(main_of(body(text)))
    assert str(caught.value) == there.message


def test_the_configuration_is_told_anew_each_time() -> None:
    enclave = FakeEnclave(configuration={"greeting": "hi"})

    def changes(_input: object, context: Context) -> Any:
        context.config["greeting"] = "changed"
        return context.config

    assert enclave.call(changes) == {"greeting": "hi"}
    enclave.configuration = None
    assert enclave.call(lambda _input, context: context.config) is None
