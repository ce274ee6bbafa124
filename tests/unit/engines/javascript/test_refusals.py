"""Refusals in JavaScript, whose programs may replace nearly everything."""

import json

from tests.rigs.engine_functions import function

from casemate.engines.frames import Refused, Returned, Said
from casemate.wire.protocol.manifest import Engine


def said_by(body: str) -> Said:
    with function(Engine.JAVASCRIPT, body, errors=("budget-spent", "not-yet")) as talk:
        return talk.call()


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
