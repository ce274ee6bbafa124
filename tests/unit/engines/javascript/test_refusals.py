"""`context.refuse`: what a thrown refusal tells the enclave, and what does not pass for one."""

import json
from typing import Any

import pytest
from tests.rigs.engine import LIMIT, engine, main
from tests.rigs.engine_streams import Stream

from casemate.engines.command import GuestProgram
from casemate.engines.frames import Failed, Paused, Refused, Returned, Said

DECLARED = ("budget-spent", "not-yet")


def said_by(body: str, *, is_async: bool = False) -> Said:
    keyword = "async " if is_async else ""
    with engine() as talk:
        talk.load(main(f"export {keyword}function main(input, context) {{ {body} }}"), errors=DECLARED)
        return talk.call()


@pytest.mark.parametrize(("details", "text"), [
    ("", b""),
    (", undefined", b""),
    (", null", b"null"),
    (", { until: '2027', n: [1, 2] }", b'{"until":"2027","n":[1,2]}'),
    (", 'ä€'", '"ä€"'.encode()),
])  # fmt: skip
def test_a_thrown_refusal_ends_the_call_with_its_code_and_details(details: str, text: bytes) -> None:
    assert said_by(f"throw context.refuse('budget-spent'{details});") == Refused("budget-spent", text)


@pytest.mark.parametrize("body", [
    "return Promise.resolve().then(() => { throw context.refuse('not-yet'); });",
    "return new Promise((_, reject) => setTimeout(() => reject(context.refuse('not-yet')), 1));",
    "await 0; throw context.refuse('not-yet');",
    "try { throw context.refuse('not-yet'); } catch (error) { await 0; throw error; }",
])  # fmt: skip
def test_a_refusal_may_come_by_way_of_promises(body: str) -> None:
    assert said_by(body, is_async=True) == Refused("not-yet", b"")


@pytest.mark.parametrize("before", ["", "yield 'a'; ", "for await (const chunk of chunks); "])
def test_a_stream_is_refused_at_any_step(before: str) -> None:
    source = f"export async function* main(input, context, chunks) {{ {before}throw context.refuse('not-yet', 7); }}"
    with engine() as talk:
        talk.say(talk.talk.load(GuestProgram([main(source)], ("main",), LIMIT, LIMIT, ("main",), errors=DECLARED)))
        stream = Stream(talk)
        said = stream.open()
        if isinstance(said, Paused):
            said = stream.end()
        assert said == Refused("not-yet", b"7")
        assert Stream(talk).open() == (Paused(is_hungry=True, data=b"") if "chunks)" in before else said)


def test_a_refusal_is_an_error_that_stays_as_it_was_made() -> None:
    body = """
      const made = context.refuse("budget-spent", { left: 0 });
      const changes = [() => { made.code = "not-yet"; }, () => { made.message = ""; }, () => { delete made.code; }];
      const thrown = changes.map((change) => { try { change(); return null; } catch (error) { return error.name; } });
      const frozen = Object.isFrozen(made), text = String(made);
      return { error: made instanceof Error, frozen, text, code: made.code, thrown };
    """
    said = said_by(body)
    assert isinstance(said, Returned)
    assert json.loads(said.text) == {
        "error": True,
        "frozen": True,
        "text": "Refusal: the call is refused: budget-spent",
        "code": "budget-spent",
        "thrown": ["TypeError"] * 3,
    }


def test_details_are_those_of_the_time_when_the_refusal_was_made() -> None:
    body = "const d = { n: 1 }; const e = context.refuse('not-yet', d); d.n = 2; throw e;"
    assert said_by(body) == Refused("not-yet", b'{"n":1}')


@pytest.mark.parametrize(("made", "words"), [
    ("'other'", 'no error is declared as "other": add it to [errors] in casemate.toml, with its words'),
    ("'toString'", 'no error is declared as "toString": add it to [errors] in casemate.toml, with its words'),
    ("'__proto__'", 'no error is declared as "__proto__": add it to [errors] in casemate.toml, with its words'),
    ("", "a refusal's code is a string"),
    ("{ toString: () => 'not-yet' }", "a refusal's code is a string"),
    ("'not-yet', 1n", "what a refusal tells is not JSON: TypeError: Do not know how to serialize a BigInt"),
    ("'not-yet', () => 1", "what a refusal tells is not JSON: it is a function"),
    ("'not-yet', 'x'.repeat(70000)", "what a refusal tells has more than the 65536 bytes that are allowed"),
])  # fmt: skip
def test_a_refusal_that_cannot_be_told_is_the_program_s_mistake(made: str, words: str) -> None:
    said = said_by(f"throw context.refuse({made});")
    assert isinstance(said, Failed)
    assert (said.name, said.message) == ("TypeError", words)


@pytest.mark.parametrize("forged", [
    "{ name: 'Refusal', code: 'not-yet', message: 'the call is refused: not-yet' }",
    "Object.create(context.refuse('not-yet'))",
    "new Proxy(context.refuse('not-yet'), {})",
    "structuredClone(context.refuse('not-yet'))",
    "Object.assign(new Error('x'), { ...context.refuse('not-yet') })",
    "new Error('x', { cause: context.refuse('not-yet') })",
    "new (context.refuse('not-yet').constructor)('not-yet')",
    "context.refuse('not-yet').code",
])  # fmt: skip
def test_what_refuse_has_not_made_is_no_refusal(forged: str) -> None:
    assert isinstance(said_by(f"throw {forged};"), Failed)


SPOILT = """
  const namesOf = Object.getOwnPropertyNames;
  for (const type of [WeakMap, Map, Object, Error, JSON, Reflect]) {
    for (const target of [type, type.prototype].filter(Boolean)) {
      for (const name of namesOf(target)) {
        try {
          if (name !== "constructor") target[name] = () => { throw 1; };
        } catch {} // it cannot be replaced
      }
    }
  }
"""


def test_a_refusal_works_whatever_the_program_has_replaced() -> None:
    assert said_by(f"{SPOILT} throw context.refuse('not-yet', {{ n: 1 }});") == Refused("not-yet", b'{"n":1}')


def test_a_refusal_that_is_returned_or_printed_refuses_nothing() -> None:
    said: Any = said_by("return context.refuse('not-yet', 1);")
    assert said == Returned(b'{"code":"not-yet"}')
