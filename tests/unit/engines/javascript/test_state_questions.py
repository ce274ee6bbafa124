"""``context.state`` in JavaScript, whose programs may replace nearly everything."""

import pytest
from tests.rigs.engine_functions import function

from casemate.engines.frames import Failed, Returned, Wanted
from casemate.engines.questions.state import CompareAndSetState, GetState
from casemate.testing.hostile_guests import TRAPS
from casemate.wire.protocol.manifest import Engine

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
    with function(
        Engine.JAVASCRIPT, f"{TAMPERS[what]} return [state.get('k'), state.compareAndSet('k', 'a', 'b')];"
    ) as talk:
        assert talk.call() == Wanted(GetState("k"))
        said = talk.say(talk.talk.answer(b"5"))
        assert isinstance(said, Wanted), said
        assert isinstance(said.question, CompareAndSetState)
        assert said.question.key == "k"
        assert isinstance(talk.say(talk.talk.answer(b"true")), Returned | Failed)
