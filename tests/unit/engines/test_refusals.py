"""`context.refuse` in either language: what a thrown refusal tells the enclave, and what does not pass for one."""

import pytest
from tests.rigs.engine_functions import function
from tests.rigs.engine_streams import Kind, Stream, in_python, streams

from casemate.engines.frames import Failed, Paused, Refused, Returned, Said
from casemate.wire.protocol.manifest import Engine

JAVASCRIPT, PYTHON = Engine
DECLARED = ("budget-spent", "not-yet")
AN_ASYNC_ONE_TOO = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


def said_by(engine: Engine, body: str, *, is_async: bool = False) -> Said:
    """What a second call says; the first has said the same."""
    with function(engine, body, errors=DECLARED, is_async=is_async) as talk:
        said = talk.call()
        assert talk.call() == said
        return said


@AN_ASYNC_ONE_TOO
@pytest.mark.parametrize(("engine", "body", "text"), [
    (JAVASCRIPT, "throw context.refuse('budget-spent');", b""),
    (JAVASCRIPT, "throw context.refuse('budget-spent', undefined);", b""),
    (JAVASCRIPT, "throw context.refuse('budget-spent', null);", b"null"),
    (JAVASCRIPT, "throw context.refuse('budget-spent', { until: '2027', n: [1, 2] });", b'{"until":"2027","n":[1,2]}'),
    (JAVASCRIPT, "throw context.refuse('budget-spent', 'ä€');", '"ä€"'.encode()),
    (PYTHON, "raise context.refuse('budget-spent')", b""),
    (PYTHON, "raise context.refuse('budget-spent', None)", b""),
    (PYTHON, "raise context.refuse('budget-spent', {'until': '2027', 'n': [1, 2]})", b'{"until":"2027","n":[1,2]}'),
    (PYTHON, "raise context.refuse('budget-spent', 'ä€')", '"ä€"'.encode()),
    (PYTHON, "raise Refusal('budget-spent', [1])", b"[1]"),
])  # fmt: skip
def test_a_thrown_refusal_ends_the_call_with_its_code_and_details(
    engine: Engine, body: str, text: bytes, *, is_async: bool
) -> None:
    assert said_by(engine, body, is_async=is_async) == Refused("budget-spent", text)


@pytest.mark.parametrize(("engine", "body"), [
    (JAVASCRIPT, "return Promise.resolve().then(() => { throw context.refuse('not-yet'); });"),
    (JAVASCRIPT, "return new Promise((_, reject) => setTimeout(() => reject(context.refuse('not-yet')), 1));"),
    (JAVASCRIPT, "await 0; throw context.refuse('not-yet');"),
    (JAVASCRIPT, "try { throw context.refuse('not-yet'); } catch (error) { await 0; throw error; }"),
    (PYTHON, "import asyncio\nasync def later(): raise context.refuse('not-yet')\nawait asyncio.gather(later())"),
    (PYTHON, "import asyncio\nawait asyncio.sleep(0.001)\nraise context.refuse('not-yet')"),
    (PYTHON, "import asyncio\ntry: raise context.refuse('not-yet')\nfinally: await asyncio.sleep(0)"),
])  # fmt: skip
def test_a_refusal_may_come_by_way_of_what_is_waited_for(engine: Engine, body: str) -> None:
    assert said_by(engine, body, is_async=True) == Refused("not-yet", b"")


@pytest.mark.parametrize(("kind", "before"), [
    *((Kind.JAVASCRIPT, before) for before in ("", "yield 'a'; ", "for await (const chunk of chunks); ")),
    *(row for text in ("", "yield 'a'\n", "for c in chunks:\n    yield b''\n") for row in in_python(text).items()),
])  # fmt: skip
def test_a_stream_is_refused_at_any_step(kind: Kind, before: str) -> None:
    ending = "throw context.refuse('not-yet', 7);"
    if kind is not Kind.JAVASCRIPT:
        ending = "raise context.refuse('not-yet', 7)\nyield"
    with streams(kind, before + ending, errors=DECLARED) as talk:
        for _ in range(2):
            stream = Stream(talk)
            said = stream.open()
            assert isinstance(said, Paused) is ("chunks" in before)
            assert (stream.end() if isinstance(said, Paused) else said) == Refused("not-yet", b"7")


@pytest.mark.parametrize(("engine", "body"), [
    (JAVASCRIPT, "const d = { n: [1] }; const e = context.refuse('not-yet', d); d.n.push(2); throw e;"),
    (PYTHON, "d = {'n': [1]}\ne = context.refuse('not-yet', d)\nd['n'].append(2)\nraise e"),
])  # fmt: skip
def test_details_are_those_of_the_time_when_the_refusal_was_made(engine: Engine, body: str) -> None:
    assert said_by(engine, body) == Refused("not-yet", b'{"n":[1]}')


@pytest.mark.parametrize(("engine", "change"), [
    *((JAVASCRIPT, change) for change in ("e.code = 'budget-spent'", "e.message = ''", "delete e.code")),
    *((PYTHON, change) for change in ("e.code = 'budget-spent'", "e.details = 2", "del e.code")),
])  # fmt: skip
def test_a_refusal_stays_as_it_was_made(engine: Engine, change: str) -> None:
    body = f"e = context.refuse('not-yet', 1)\ntry: {change}\nexcept AttributeError: raise e from None"
    if engine is JAVASCRIPT:
        body = f"const e = context.refuse('not-yet', 1); try {{ {change}; }} catch (error) {{ throw e; }}"
    assert said_by(engine, body) == Refused("not-yet", b"1")


def in_javascript(code: str) -> str:
    return f'no error is declared as "{code}": add it to [errors] in casemate.toml, with its words'


UNDECLARED = "'other' is no error that [errors] in casemate.toml declares, which are: budget-spent, not-yet"


@pytest.mark.parametrize(("engine", "thrown", "name", "words"), [
    (JAVASCRIPT, "throw context.refuse('other')", "TypeError", in_javascript("other")),
    (JAVASCRIPT, "throw context.refuse('toString')", "TypeError", in_javascript("toString")),
    (JAVASCRIPT, "throw context.refuse('__proto__')", "TypeError", in_javascript("__proto__")),
    (JAVASCRIPT, "throw context.refuse()", "TypeError", "a refusal's code is a string"),
    (JAVASCRIPT, "throw context.refuse({ toString: () => 'not-yet' })", "TypeError", "a refusal's code is a string"),
    (JAVASCRIPT, "throw context.refuse('not-yet', 1n)", "TypeError",
     "what a refusal tells is not JSON: TypeError: Do not know how to serialize a BigInt"),
    (JAVASCRIPT, "throw context.refuse('not-yet', () => 1)", "TypeError",
     "what a refusal tells is not JSON: it is a function"),
    (JAVASCRIPT, "throw context.refuse('not-yet', 'x'.repeat(70000))", "TypeError",
     "what a refusal tells has more than the 65536 bytes that are allowed"),
    (PYTHON, "raise context.refuse('other')", "ValueError", UNDECLARED),
    (PYTHON, "raise Refusal('other')", "ValueError", UNDECLARED),
    (PYTHON, "raise context.refuse(5)", "TypeError", "a refusal's code is int, want a text"),
    (PYTHON, "raise context.refuse([])", "TypeError", "a refusal's code is list, want a text"),
    (PYTHON, "raise context.refuse('not-yet', {1})", "TypeError", "what the refusal tells is not JSON: it is a set"),
    (PYTHON, "raise Refusal('not-yet', [{1}])", "TypeError", "what the refusal tells is not JSON: [0] is a set"),
    (PYTHON, "raise context.refuse('not-yet', 'x' * 70000)", "ValueError",
     "what the refusal tells has more than the 65536 bytes that are allowed"),
])  # fmt: skip
def test_a_refusal_that_cannot_be_told_is_the_program_s_mistake(
    engine: Engine, thrown: str, name: str, words: str
) -> None:
    said = said_by(engine, thrown)
    assert isinstance(said, Failed)
    assert (said.name, said.message) == (name, words)


@pytest.mark.parametrize(("engine", "thrown"), [
    (JAVASCRIPT, "throw { name: 'Refusal', code: 'not-yet', message: 'the call is refused: not-yet' }"),
    (JAVASCRIPT, "throw Object.create(context.refuse('not-yet'))"),
    (JAVASCRIPT, "throw new Proxy(context.refuse('not-yet'), {})"),
    (JAVASCRIPT, "throw structuredClone(context.refuse('not-yet'))"),
    (JAVASCRIPT, "throw Object.assign(new Error('x'), { ...context.refuse('not-yet') })"),
    (JAVASCRIPT, "throw new Error('x', { cause: context.refuse('not-yet') })"),
    (JAVASCRIPT, "throw new (context.refuse('not-yet').constructor)('not-yet')"),
    (JAVASCRIPT, "throw context.refuse('not-yet').code"),
    (PYTHON, "raise ValueError('x') from context.refuse('not-yet')"),
    (PYTHON, "raise ExceptionGroup('x', [context.refuse('not-yet')])"),
    (PYTHON, "try: raise context.refuse('not-yet')\nfinally: raise ValueError('x')"),
    (PYTHON, "raise type('Refusal', (Exception,), {'code': 'not-yet', 'details': None})"),
])  # fmt: skip
def test_what_is_no_refusal_does_not_pass_for_one(engine: Engine, thrown: str) -> None:
    assert isinstance(said_by(engine, thrown), Failed)


@pytest.mark.parametrize(("engine", "body", "text"), [
    (JAVASCRIPT, "return context.refuse('not-yet', 1);", b'{"code":"not-yet"}'),
    (PYTHON, "e = context.refuse('not-yet', 1)\nreturn [e.code, e.details]", b'["not-yet",1]'),
    (PYTHON, "try: raise context.refuse('not-yet', 1)\nexcept Refusal as e: return [e.code, e.details]",
     b'["not-yet",1]'),
])  # fmt: skip
def test_a_refusal_that_is_not_thrown_refuses_nothing(engine: Engine, body: str, text: bytes) -> None:
    assert said_by(engine, body) == Returned(text)
