"""``context`` in either language: what it tells of the call."""

import json
import os

import pytest
from tests.rigs.engine_functions import function

from casemate.engines.frames import Returned
from casemate.wire.protocol.manifest import Engine, Permission

FACTS = {
    Engine.JAVASCRIPT: "const {trace, deadline, permissions} = context; return [trace, deadline, permissions]",
    Engine.PYTHON: "return [context.trace, context.deadline, context.permissions]",
}
GRANTED = sorted(str(permission) for permission in Permission)


@pytest.mark.parametrize("engine", Engine)
def test_the_context_tells_trace_time_and_permissions(engine: Engine) -> None:
    about = {"trace": "0a" * 16, "timeMs": 1500}
    with function(engine, FACTS[engine]) as talk:
        payload = talk.talk.call("main", b"null", None, number=os.urandom(8), about=about)
        said = talk.say(payload)
        assert isinstance(said, Returned), said
        assert talk.value() == [None, None, GRANTED]
    assert json.loads(said.text) == [about["trace"], about["timeMs"], GRANTED]
