"""``context.state``, ``seal`` and ``unseal`` in Python: what is asked, and what is refused without asking."""

import json
from typing import Any

import pytest
from tests.rigs.python_guests import ALL, body, function

from casemate.engines.frames import Failed, Returned, Wanted
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
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE


@pytest.mark.parametrize(("use", "question"), [
    ("state.get('k')", GetState("k")),
    ("state.get('ä' * 128)", GetState("ä" * 128)),
    ("state.get('k\\0\"')", GetState('k\0"')),
    ("state.put('k', {'a': [1, None]})", PutState("k", b'{"a":[1,null]}')),
    ("state.put('k', 'ä€')", PutState("k", '"ä€"'.encode())),
    ("state.put('k', None)", PutState("k", b"null")),
    (f"state.put('k', 'x' * ({MAX_VALUE} - 2))", PutState("k", b'"' + b"x" * (MAX_VALUE - 2) + b'"')),
    ("state.delete('k')", DeleteState("k")),
    ("state.list()", ListState("", None, 1000)),
    ("state.list('p/', after='p/5', limit=7)", ListState("p/", "p/5", 7)),
    ("state.compare_and_set('k', ABSENT, 1)", CompareAndSetState("k", None, b"1")),
    ("state.compare_and_set('k', [1], 'ä')", CompareAndSetState("k", b"[1]", '"ä"'.encode())),
    ("state.compare_and_set('k', None, ABSENT)", CompareAndSetState("k", b"null", None)),
    ("state.compare_and_set('k', ABSENT, ABSENT)", CompareAndSetState("k", None, None)),
    ("context.seal({'a': 1}, 'mrenclave')", Seal(SealBinding.MRENCLAVE, b'{"a":1}')),
    ("context.unseal('abc=')", Unseal("abc=")),
])  # fmt: skip
def test_what_is_called_is_asked(use: str, question: InsideQuestion) -> None:
    with function(body(use), permissions=ALL) as talk:
        assert talk.call() == Wanted(question)


@pytest.mark.parametrize(("use", "name"), [
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
])  # fmt: skip
def test_what_would_end_the_guest_is_an_exception_of_the_program_s(use: str, name: str) -> None:
    with function(body(use), permissions=ALL) as talk:
        said = talk.call()
        assert isinstance(said, Failed), said
        assert said.name == name


@pytest.mark.parametrize("use", ["context.seal(1, 'mrenclave')", "context.unseal('abc=')"])
def test_without_the_permission_the_words_name_the_line_to_add(use: str) -> None:
    words = 'this needs the permission "seal": add permissions = ["seal", ...] to [enclave] in casemate.toml'
    with function(body(use)) as talk:
        assert talk.call() == Failed(Code.GUEST_ERROR, "guest-error", words)


@pytest.mark.parametrize(("answer", "value"), [(b"", "absent"), (b"null", None), (b'{"a":1}', {"a": 1})])
def test_no_answer_is_absent(answer: bytes, value: Any) -> None:
    with function(body("got = state.get('k', ABSENT)\nreturn 'absent' if got is ABSENT else got")) as talk:
        talk.call()
        said = talk.say(talk.talk.answer(answer))
        assert isinstance(said, Returned)
        assert json.loads(said.text) == value
    with function(body("return [state.get('k'), state.get('k', 5)]")) as talk:
        talk.call()
        talk.say(talk.talk.answer(b""))
        assert talk.say(talk.talk.answer(b"")) == Returned(b"[null,5]")


def test_put_has_no_value_and_a_refusal_is_an_exception_by_its_code() -> None:
    source = body("try:\n    return str(state.put('k', 1))\nexcept EnclaveError as e:\n    return [e.code, str(e)]")
    with function(source) as talk:
        talk.call()
        assert talk.say(talk.talk.answer(b"null")) == Returned(b'"None"')
        talk.call()
        assert talk.say(talk.talk.refuse(Code.STATE_LIMIT, "full")) == Returned(b'["state-limit","full"]')


def test_a_value_that_asks_does_so_before_the_question_that_it_is_part_of() -> None:
    source = body(
        "class Value(dict):\n    def items(self):\n        return [('b', state.get('b'))]\n"
        "state.put('a', Value(b=7))\nreturn 1"
    )
    with function(source) as talk:
        assert talk.call() == Wanted(GetState("b"))
        said = talk.say(talk.talk.answer(b"7"))
        while isinstance(said, Wanted) and isinstance(said.question, GetState):
            said = talk.say(talk.talk.answer(b"7"))
        assert said == Wanted(PutState("a", b'{"b":7}'))
        assert talk.say(talk.talk.answer(b"null")) == Returned(b"1")
