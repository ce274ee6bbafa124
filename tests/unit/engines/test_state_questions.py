"""``context.state``, ``seal`` and ``unseal`` in either language: what is asked, and what is refused without asking."""

import json
from typing import Any

import pytest
from tests.rigs.engine_functions import function

from casemate.engines.frames import Failed, Returned, Wanted
from casemate.engines.questions import InsideQuestion
from casemate.engines.questions.seals import Seal, Unseal
from casemate.engines.questions.state import CompareAndSetState as SetIf
from casemate.engines.questions.state import DeleteState, GetState, ListState, PutState
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

JAVASCRIPT, PYTHON = Engine
LARGEST = b'"' + b"x" * (MAX_VALUE - 2) + b'"'
QUESTIONS = [
    ("state.get('k')", "state.get('k')", GetState("k")),
    ("state.get('ä'.repeat(128))", "state.get('ä' * 128)", GetState("ä" * 128)),
    ("state.get('k\\u0000\"')", "state.get('k\\0\"')", GetState('k\0"')),
    ("state.put('k', {a: [1, null]})", "state.put('k', {'a': [1, None]})", PutState("k", b'{"a":[1,null]}')),
    ("state.put('k', 'ä€')", "state.put('k', 'ä€')", PutState("k", '"ä€"'.encode())),
    ("state.put('k', null)", "state.put('k', None)", PutState("k", b"null")),
    (f"state.put('k', 'x'.repeat({MAX_VALUE - 2}))", f"state.put('k', 'x' * {MAX_VALUE - 2})", PutState("k", LARGEST)),
    ("state.delete('k')", "state.delete('k')", DeleteState("k")),
    ("state.list()", "state.list()", ListState("", None, 1000)),
    ("state.list(undefined, {after: undefined})", "state.list(after=None)", ListState("", None, 1000)),
    ("state.list('p', {after: 'p5', limit: 7})", "state.list('p', after='p5', limit=7)", ListState("p", "p5", 7)),
    ("state.compareAndSet('k', undefined, 1)", "state.compare_and_set('k', ABSENT, 1)", SetIf("k", None, b"1")),
    ("state.compareAndSet('k', [1], 'ä')", "state.compare_and_set('k', [1], 'ä')", SetIf("k", b"[1]", '"ä"'.encode())),
    ("state.compareAndSet('k', null)", "state.compare_and_set('k', None, ABSENT)", SetIf("k", b"null", None)),
    ("state.compareAndSet('k')", "state.compare_and_set('k', ABSENT, ABSENT)", SetIf("k", None, None)),
    ("context.seal([1], 'mrenclave')", "context.seal([1], 'mrenclave')", Seal(SealBinding.MRENCLAVE, b"[1]")),
    ("context.unseal('abc=')", "context.unseal('abc=')", Unseal("abc=")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("engine", "use", "question"),
    [(engine, row[place], row[2]) for place, engine in enumerate(Engine) for row in QUESTIONS],
)
def test_what_is_called_is_asked(engine: Engine, use: str, question: InsideQuestion) -> None:
    with function(engine, use) as talk:
        assert talk.call() == Wanted(question)


IN_JAVASCRIPT = [
    ("state.get()", "TypeError"),
    ("state.get(5)", "TypeError"),
    ("state.get('\\ud800')", "TypeError"),
    ("state.get('')", "state-limit"),
    (f"state.get('x'.repeat({MAX_KEY + 1}))", "state-limit"),
    (f"state.put('€'.repeat({MAX_KEY // 3 + 1}), 1)", "state-limit"),
    ("state.put('k')", "TypeError"),
    ("state.put('k', undefined)", "TypeError"),
    ("state.put('k', () => 1)", "TypeError"),
    ("state.put('k', 5n)", "TypeError"),
    ("const a = {}; a.a = a; state.put('k', a)", "TypeError"),
    ("state.put('k', {toJSON() { throw new Error('x'); }})", "TypeError"),
    (f"state.put('k', 'x'.repeat({MAX_VALUE} - 1))", "state-limit"),
    (f"state.compareAndSet('k', 'x'.repeat({MAX_VALUE}), 1)", "state-limit"),
    ("state.list('p', {limit: 0})", "TypeError"),
    ("state.list('p', {limit: 1.5})", "TypeError"),
    ("state.list('p', {limit: NaN})", "TypeError"),
    ("state.list('p', {limit: '5'})", "TypeError"),
    ("state.list('p', {limit: 10001})", "TypeError"),
    ("state.list(5)", "TypeError"),
    ("state.list('', {after: 5})", "TypeError"),
    (f"state.list('x'.repeat({MAX_KEY + 1}))", "state-limit"),
    ("context.seal(1)", "TypeError"),
    ("context.seal(1, 'MRSIGNER')", "TypeError"),
    ("context.seal(undefined, 'mrsigner')", "TypeError"),
    ("context.unseal(5)", "TypeError"),
    ("context.unseal('ä')", "state-refused"),
    (f"context.unseal('x'.repeat({2 * MAX_VALUE + 1}))", "state-refused"),
    ("state.get = 5", "TypeError"),
    ("context.state = 5", "TypeError"),
]
IN_PYTHON = [
    ("state.get()", "TypeError"),
    ("state.get(5)", "TypeError"),
    ("state.get('\\ud800')", "ValueError"),
    ("state.get('')", "state-limit"),
    (f"state.get('x' * ({MAX_KEY} + 1))", "state-limit"),
    (f"state.put('€' * ({MAX_KEY} // 3 + 1), 1)", "state-limit"),
    ("state.put('k')", "TypeError"),
    ("state.put('k', ABSENT)", "TypeError"),
    ("state.put('k', lambda: 1)", "TypeError"),
    ("state.put('k', 2**53)", "TypeError"),
    ("state.put('k', float('nan'))", "TypeError"),
    ("a = {}; a['a'] = a; state.put('k', a)", "TypeError"),
    (f"state.put('k', 'x' * ({MAX_VALUE} - 1))", "state-limit"),
    (f"state.compare_and_set('k', 'x' * {MAX_VALUE}, 1)", "state-limit"),
    ("state.list('p', limit=0)", "ValueError"),
    ("state.list('p', limit=1.5)", "TypeError"),
    ("state.list('p', limit=True)", "TypeError"),
    ("state.list('p', limit='5')", "TypeError"),
    ("state.list('p', limit=10001)", "ValueError"),
    ("state.list(5)", "TypeError"),
    ("state.list('', after=5)", "TypeError"),
    (f"state.list('x' * ({MAX_KEY} + 1))", "state-limit"),
    ("context.seal(1)", "TypeError"),
    ("context.seal(1, 'MRSIGNER')", "ValueError"),
    ("context.seal({1}, 'mrsigner')", "TypeError"),
    ("context.unseal(5)", "TypeError"),
    ("context.unseal('ä')", "state-refused"),
    (f"context.unseal('x' * (2 * {MAX_VALUE} + 1))", "state-refused"),
    ("state.get = 5", "TypeError"),
    ("context.state = 5", "FrozenInstanceError"),
]


@pytest.mark.parametrize(
    ("engine", "use", "name"),
    [(engine, *row) for engine, rows in ((JAVASCRIPT, IN_JAVASCRIPT), (PYTHON, IN_PYTHON)) for row in rows],
)
def test_what_would_end_the_guest_is_an_exception_of_the_program_s(engine: Engine, use: str, name: str) -> None:
    with function(engine, use) as talk:
        said = talk.call()
        assert isinstance(said, Failed), said
        assert said.name == name


@pytest.mark.parametrize(("answer", "value"), [(b"", "absent"), (b"null", None), (b'{"a":1}', {"a": 1})])
@pytest.mark.parametrize(("engine", "body"), [
    (JAVASCRIPT, "const got = state.get('k'); return got === undefined ? 'absent' : got;"),
    (PYTHON, "return state.get('k', 'absent')"),
    (PYTHON, "got = state.get('k', ABSENT)\nreturn 'absent' if got is ABSENT else got"),
])  # fmt: skip
def test_no_answer_is_absent(engine: Engine, body: str, answer: bytes, value: Any) -> None:
    with function(engine, body) as talk:
        talk.call()
        said = talk.say(talk.talk.answer(answer))
        assert isinstance(said, Returned)
        assert json.loads(said.text) == value


@pytest.mark.parametrize(("engine", "body", "nothing"), [
    (JAVASCRIPT, "try { return String(state.put('k', 1)); } catch (e) { return [e.name, e.message]; }", "undefined"),
    (PYTHON, "try:\n    return str(state.put('k', 1))\nexcept EnclaveError as e:\n    return [e.code, str(e)]", "None"),
])  # fmt: skip
def test_put_has_no_value_and_a_refusal_is_an_exception_by_its_name(engine: Engine, body: str, nothing: str) -> None:
    with function(engine, body) as talk:
        talk.call()
        assert talk.say(talk.talk.answer(b"null")) == Returned(json.dumps(nothing).encode())
        talk.call()
        assert talk.say(talk.talk.refuse(Code.STATE_LIMIT, "full")) == Returned(b'["state-limit","full"]')


@pytest.mark.parametrize(("engine", "body"), [
    (JAVASCRIPT, "if (!globalThis.kept) { globalThis.kept = context; return 0; } return kept.state.get('k');"),
    (PYTHON, "global kept\nif 'kept' in globals(): return kept.state.get('k')\nkept = context\nreturn 0"),
])  # fmt: skip
def test_a_state_that_was_kept_is_of_no_use_in_a_later_call(engine: Engine, body: str) -> None:
    with function(engine, body) as talk:
        assert talk.call() == Returned(b"0")
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message == "this call is over"


@pytest.mark.parametrize(("engine", "body"), [
    (JAVASCRIPT, "state.put('a', {toJSON: () => ({b: state.get('b')})}); return 1;"),
    (PYTHON, """
class Value(dict):
    def items(self): return [('b', state.get('b'))]
state.put('a', Value(b=7))
return 1"""),
])  # fmt: skip
def test_a_value_that_asks_does_so_before_the_question_that_it_is_part_of(engine: Engine, body: str) -> None:
    with function(engine, body) as talk:
        assert talk.call() == Wanted(GetState("b"))
        said = talk.say(talk.talk.answer(b"7"))
        while said == Wanted(GetState("b")):
            said = talk.say(talk.talk.answer(b"7"))
        assert said == Wanted(PutState("a", b'{"b":7}'))
        assert talk.say(talk.talk.answer(b"null")) == Returned(b"1")
