"""``context.state``, ``seal`` and ``unseal`` in the engine: what is asked, and what is refused without asking."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.rigs.engine import Talk, engine, main

from casemate.engines.frames import Failed, Loaded, Returned, Wanted
from casemate.engines.questions import (
    CompareAndSetState,
    DeleteState,
    GetState,
    InsideQuestion,
    ListState,
    PutState,
    Seal,
    Unseal,
)
from casemate.testing.hostile_guests import TRAPS
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE


@contextmanager
def function(body: str) -> Iterator[Talk]:
    with engine() as talk:
        assert (
            talk.load(main(f"export function main(input, context) {{ const {{state}} = context; {body} }}")) == Loaded()
        )
        yield talk


def asked(body: str) -> InsideQuestion:
    """What a function asks first."""
    with function(body) as talk:
        said = talk.call()
        assert isinstance(said, Wanted), said
        return said.question


def thrown(body: str) -> str:
    """The name of what a statement throws before anything is asked."""
    with function(f"try {{ {body} }} catch (e) {{ return e.name; }}") as talk:
        said = talk.call()
        assert isinstance(said, Returned), said
        name: str = json.loads(said.text)
        return name


@pytest.mark.parametrize(
    ("body", "question"),
    [
        ("state.get('k')", GetState("k")),
        ("state.get('ä'.repeat(128))", GetState("ä" * 128)),
        ("state.get('k\\u0000\"')", GetState('k\0"')),
        ("state.put('k', {a: [1, null]})", PutState("k", b'{"a":[1,null]}')),
        ("state.put('k', 'ä€')", PutState("k", '"ä€"'.encode())),
        ("state.put('k', null)", PutState("k", b"null")),
        (f"state.put('k', 'x'.repeat({MAX_VALUE} - 2))", PutState("k", b'"' + b"x" * (MAX_VALUE - 2) + b'"')),
        ("state.delete('k')", DeleteState("k")),
        ("state.list()", ListState("", None, 1000)),
        ("state.list('p/', {after: 'p/5', limit: 7})", ListState("p/", "p/5", 7)),
        ("state.list(undefined, {after: undefined})", ListState("", None, 1000)),
        ("state.compareAndSet('k', undefined, 1)", CompareAndSetState("k", None, b"1")),
        ("state.compareAndSet('k', [1], 'ä')", CompareAndSetState("k", b"[1]", '"ä"'.encode())),
        ("state.compareAndSet('k', null, undefined)", CompareAndSetState("k", b"null", None)),
        ("state.compareAndSet('k')", CompareAndSetState("k", None, None)),
        ("context.seal({a: 1}, 'mrenclave')", Seal(SealBinding.MRENCLAVE, b'{"a":1}')),
        ("context.unseal('abc=')", Unseal("abc=")),
    ],
)
def test_what_is_called_is_asked(body: str, question: InsideQuestion) -> None:
    assert asked(f"{body};") == question


@pytest.mark.parametrize(
    ("body", "name"),
    [
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
    ],
)
def test_what_would_end_the_guest_is_an_exception_of_the_program_s(body: str, name: str) -> None:
    assert thrown(f"{body};") == name


@pytest.mark.parametrize(("answer", "value"), [(b"", "undefined"), (b"null", None), (b'{"a":1}', {"a": 1})])
def test_no_answer_is_undefined(answer: bytes, value: Any) -> None:
    with function("const got = state.get('k'); return got === undefined ? 'undefined' : got;") as talk:
        talk.call()
        said = talk.say(talk.talk.answer(answer))
        assert isinstance(said, Returned)
        assert json.loads(said.text) == value


def test_put_has_no_value_and_a_refusal_is_an_exception_by_name() -> None:
    with function("try { return String(state.put('k', 1)); } catch (e) { return [e.name, e.message]; }") as talk:
        talk.call()
        assert talk.say(talk.talk.answer(b"null")) == Returned(b'"undefined"')
        talk.call()
        assert talk.say(talk.talk.refuse(Code.STATE_LIMIT, "full")) == Returned(b'["state-limit","full"]')


def test_a_state_that_was_kept_is_of_no_use_in_a_later_call() -> None:
    with function("if (!globalThis.kept) { globalThis.kept = context; return 0; } return kept.state.get('k');") as talk:
        assert talk.call() == Returned(b"0")
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message == "this call is over"


def test_a_tojson_that_asks_does_so_before_the_question_that_it_is_part_of() -> None:
    with function("state.put('a', {toJSON: () => state.get('b')}); return 1;") as talk:
        assert talk.call() == Wanted(GetState("b"))
        assert talk.say(talk.talk.answer(b"7")) == Wanted(PutState("a", b"7"))
        assert talk.say(talk.talk.answer(b"null")) == Returned(b"1")


TAMPERS = {
    "the bytes": TRAPS.replace("const caught = [],", "globalThis.caught = []; const"),
    "json": "JSON.parse = JSON.stringify = () => { throw new Error('trapped'); };"
    " Object.prototype.toJSON = String.prototype.toJSON = Number.prototype.toJSON = () => 'trapped';",
    "objects": """
        for (const name of ['do', 'key', 'kind', 'body', 'head', 'value', 'expected', 'name', 'message'])
            Object.defineProperty(Object.prototype, name,
                {__proto__: null, set() { throw new Error('trapped'); }, get: () => 7});""",
    "strings": "String.prototype.isWellFormed = () => true; String.prototype.toWellFormed = () => 'trapped';"
    " TextEncoder.prototype.encode = () => { throw new Error('trapped'); };",
}


@pytest.mark.parametrize("what", TAMPERS)
def test_what_the_program_has_replaced_is_not_consulted(what: str) -> None:
    with function(f"{TAMPERS[what]} return [state.get('k'), state.compareAndSet('k', 'a', 'b')];") as talk:
        assert talk.call() == Wanted(GetState("k"))
        said = talk.say(talk.talk.answer(b"5"))
        assert isinstance(said, Wanted), said
        assert isinstance(said.question, CompareAndSetState)
        assert said.question.key == "k"
        assert isinstance(talk.say(talk.talk.answer(b"true")), Returned | Failed)
