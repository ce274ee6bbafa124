"""Calls of Python functions: what goes in and out, and what ends a call."""

from typing import Any

import pytest
from tests.rigs.python_guests import ALL, LIMIT, body, function, guest, main, program

from casemate.engines.frames import Asked, Failed, FrameKind, Returned
from casemate.wire.protocol.faults import Code


@pytest.mark.parametrize("value", [
    None, True, 0, -5, 2**53 - 1, 1.5, -0.5, 1e300, "", "ä€😀", '\0\n"\\', [], {}, [1, [2, {"a": None}]], {"": 1},
])  # fmt: skip
def test_a_value_comes_in_and_goes_out_as_it_is(value: Any) -> None:
    with function("def main(input, context):\n    return input") as talk:
        assert talk.value(value) == value


@pytest.mark.parametrize(("source", "value"), [
    ("async def main(input, context):\n    return 5", 5),
    ("from asyncio import *\nasync def main(i, c):\n    return await gather(sleep(.002, 1), sleep(.001, 2))", [1, 2]),
    (("import asyncio\nasync def main(i, c):\n    async with asyncio.TaskGroup() as group:\n"
      "        task = group.create_task(asyncio.sleep(0, 3))\n    return task.result()"), 3),
    ("import asyncio\nasync def main(i, c):\n    async with asyncio.timeout(5):\n        return 4", 4),
    (("import asyncio\ndef main(i, c):\n    async def inner():\n        await asyncio.sleep(0.001)\n        return 6\n"
      "    return asyncio.run(inner())"), 6),
    ("async def inner():\n    return 7\ndef main(i, c):\n    return inner()", 7),
    ("class Later:\n    def __await__(self):\n        return 8\n        yield\nmain = lambda i, c: Later()", 8),
    ("class Callable:\n    def __call__(self, input, context):\n        return 9\nmain = Callable()", 9),
    ("import enum\nclass Kind(enum.IntEnum):\n    A = 3\ndef main(i, c):\n    return (Kind.A, {'a': (1, 2)})",
     [3, {"a": [1, 2]}]),
    ("import collections\ndef main(i, c):\n    return collections.Counter('aab')", {"a": 2, "b": 1}),
])  # fmt: skip
def test_a_function_may_be_of_any_kind(source: str, value: Any) -> None:
    with function(source) as talk:
        for _ in range(2):
            assert talk.value() == value


@pytest.mark.parametrize(("value", "words"), [
    ("float('nan')", "it is nan, which JSON does not have"),
    ("{'a': [1, float('-inf')]}", "a[1] is -inf, which JSON does not have"),
    ("[2**53]", "[0] is an integer beyond 2^53 - 1, which not every reader counts exactly: tell it as a text"),
    ("-2**53", "it is an integer beyond 2^53 - 1, which not every reader counts exactly: tell it as a text"),
    ("10**5000", "it is an integer beyond 2^53 - 1, which not every reader counts exactly: tell it as a text"),
    ("b'x'", "it is a bytes"),
    ("{'a': {'b c': {1, 2}}}", "a['b c'] is a set"),
    ("__import__('decimal').Decimal(1)", "it is a Decimal"),
    ("__import__('datetime').datetime.now()", "it is a datetime"),
    ("main", "it is a function"),
    ("(n for n in [1])", "it is a generator"),
    ("object()", "it is an object"),
    ("{1: 2}", "it has the name 1, which is an int and no text"),
    ("[{'x': {None: 2}}]", "[0].x has the name None, which is a NoneType and no text"),
    ("['a', '\\ud800']", "[1] has a lone surrogate, which UTF-8 does not have"),
    ("{'a': {'\\udfff': 1}}", "a['\\udfff'] has a lone surrogate, which UTF-8 does not have"),
])  # fmt: skip
def test_what_is_not_json_is_refused_and_named_by_its_place(value: str, words: str) -> None:
    with function(f"def main(input, context):\n    return {value}") as talk:
        assert talk.call() == Failed(Code.RESULT_REFUSED, "Error", f"the result is not JSON: {words}")
        assert isinstance(talk.call(), Failed)


def test_a_dataclass_and_a_cycle_are_refused() -> None:
    source = (
        "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "def main(input, context):\n    cycle = [1]\n    cycle.append(cycle)\n"
        "    return {'p': Point(1)} if input == 'p' else cycle"
    )
    with function(source) as talk:
        assert talk.call("p") == Failed(Code.RESULT_REFUSED, "Error", "the result is not JSON: p is a Point")
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message.endswith("is nested deeper than 64 levels, or holds itself")


@pytest.mark.parametrize(("size", "fits"), [(LIMIT - 2, True), (LIMIT - 1, False), (10 * LIMIT, False)])
def test_a_result_has_its_limit_in_bytes(size: int, fits: bool) -> None:
    with function("def main(input, context):\n    return input[0] * input[1]") as talk:
        assert isinstance(talk.call(["x", size]), Returned) is fits
        words = f"the result has more than the {LIMIT} bytes that are allowed"
        assert talk.call(["ä", LIMIT // 2]) == Failed(Code.OUTPUT_LIMIT, "Error", words)


def test_the_context_says_who_calls_what() -> None:
    source = "def main(i, c):\n    return [c.entry, c.caller and [c.caller.name, c.caller.key]]\nother = main"
    with function(source, entries=("main", "other")) as talk:
        assert talk.value() == ["main", None]
        said = talk.call(entry="other", caller={"name": "alice", "key": "ed25519:x"})
        assert said == Returned(b'["other",["alice","ed25519:x"]]')
        assert talk.call(caller={"name": None, "key": "k"}) == Returned(b'["main",[null,"k"]]')


def test_the_context_cannot_be_changed() -> None:
    with function(
        body("try:\n    context.entry = 'x'\nexcept AttributeError as e:\n    return type(e).__name__")
    ) as talk:
        assert talk.value() == "FrozenInstanceError"


@pytest.mark.parametrize("size", [0, 60_000, 64 * 1024 - 13, 64 * 1024, 64 * 1024 + 1, 4_000_000])
def test_arguments_of_any_size_come_in(size: int) -> None:
    with function("def main(input, context):\n    return len(input)") as talk:
        for _ in range(2):
            assert talk.value("x" * size) == size


# --- OCALLs -----------------------------------------------------------------------------------------------------------


def test_an_ocall_is_asked_and_its_answer_returned() -> None:
    with function(body("return [context.ocall('t', {'a': input}), context.ocall('u')]")) as talk:
        assert talk.call("ä") == Asked("t", '{"a":"ä"}'.encode())
        assert talk.say(talk.talk.answer(b'{"b":[1]}')) == Asked("u", b"null")
        assert talk.say(talk.talk.answer(b"null")) == Returned(b'[{"b":[1]},null]')


def test_a_refused_ocall_is_an_exception_with_the_code() -> None:
    source = body("try:\n    context.ocall('t')\nexcept EnclaveError as e:\n    return [e.code, str(e)]\n")
    with function(source) as talk:
        talk.call()
        assert talk.say(talk.talk.refuse(Code.OCALL_REFUSED, "no")) == Returned(b'["ocall-refused","no"]')
    with function(body("context.ocall('t')")) as talk:
        talk.call()
        said = talk.say(talk.talk.refuse(Code.OCALL_REFUSED, "no"))
        assert said == Failed(Code.GUEST_ERROR, "ocall-refused", "no")


@pytest.mark.parametrize(("call", "name", "words"), [
    ("5", "TypeError", "an OCALL's name is int, want a text"),
    ("'t', {1}", "TypeError", "the OCALL's argument is not JSON: it is a set"),
    ("'t', {'a': b''}", "TypeError", "the OCALL's argument is not JSON: a is a bytes"),
    ("'t', 'x' * 100000", "ValueError", "the OCALL's argument has more than the 65536 bytes that are allowed"),
])  # fmt: skip
def test_an_ocall_that_cannot_be_asked_is_an_exception(call: str, name: str, words: str) -> None:
    with function(body(f"context.ocall({call})")) as talk:
        assert talk.call() == Failed(Code.GUEST_ERROR, name, words)


KEEPS_ITS_CONTEXT = """
kept = []
def main(input, context):
    kept.append(context)
    words = []
    for use in (lambda c: c.ocall("t"), lambda c: c.state.get("k"), lambda c: c.seal(1, "mrenclave")):
        try:
            use(kept[0])
        except Exception as e:
            words.append(f"{type(e).__name__}: {e}")
    return words
"""


def test_a_context_is_of_no_use_when_its_call_is_over() -> None:
    with function(KEEPS_ITS_CONTEXT, permissions=ALL) as talk:
        talk.call()
        for _ in range(2):
            talk.say(talk.talk.answer(b"1"))
        assert talk.say(talk.talk.answer(b'"text"')) == Returned(b"[]")
        assert talk.value() == ["RuntimeError: this call is over"] * 3


# --- exceptions of odd classes --------------------------------------------------------------------------------------

BROKEN = """
from casemate.guest import EnclaveError, Refusal

class Empty({base}):
    def __init__(self): pass

class Throws({base}):
    def __init__(self): pass
    def __getattribute__(self, name): raise KeyboardInterrupt

class Pretends(Exception):
    @property
    def __class__(self): raise SystemExit

class Says(str):
    def __getitem__(self, place): raise SystemExit

class SaysSo(Exception):
    def __str__(self): return Says("x")

def main(input, context):
    raise {raised}
"""


@pytest.mark.parametrize("raised", ["Empty()", "Throws()", "Pretends()", "SaysSo()", "{base}.__new__({base})"])
@pytest.mark.parametrize("base", ["Refusal", "EnclaveError"])
def test_an_exception_that_does_not_tell_what_it_is_ends_its_call_alone(base: str, raised: str) -> None:
    for debug in (False, True):
        with function(BROKEN.format(base=base, raised=raised.format(base=base)), debug=debug) as talk:
            for _ in range(2):
                said = talk.call()
                assert isinstance(said, Failed), said
                assert said.code is Code.GUEST_ERROR


# --- what a call leaves behind ----------------------------------------------------------------------------------------

LEFT_BEHIND = """
import asyncio
log = []
async def later(context):
    try:
        await asyncio.sleep(0.005)
        log.append("ran")
        print("late")
        context.ocall("t")
    finally:
        log.append("ended")
        print("finally")
async def main(input, context):
    if input == "look":
        await asyncio.sleep(0.02)
        return log
    asyncio.get_running_loop().call_later(0.001, lambda: log.append("timer"))
    task = asyncio.ensure_future(later(context))
    await asyncio.sleep(0)
    return 1
"""


def test_tasks_and_timers_that_a_call_leaves_never_run_in_the_next() -> None:
    with function(LEFT_BEHIND, debug=True) as talk:
        assert talk.value() == 1
        assert talk.value("look") == ["ended"]
        assert talk.printed == []


def test_a_call_that_waits_for_nothing_is_told_so() -> None:
    source = "import asyncio\nasync def main(i, c):\n    await asyncio.get_running_loop().create_future()"
    with function(source) as talk:
        for _ in range(2):
            words = "what is awaited can never come: nothing is left to run"
            assert talk.call() == Failed(Code.GUEST_ERROR, "NothingLeftError", words)


def test_a_task_that_fails_unheard_is_printed_by_a_debug_enclave_s_guest_alone() -> None:
    source = (
        "import asyncio\nasync def fails():\n    raise TypeError('r')\n"
        "async def main(i, c):\n    asyncio.ensure_future(fails())\n    await asyncio.sleep(0.001)\n    return 1"
    )
    with function(source, debug=True) as talk:
        assert talk.value() == 1
        assert talk.printed == ["a task or callback failed, and nobody waited for it: TypeError: r"]
    with function(source) as talk:
        assert talk.value() == 1
        assert talk.printed == []


def test_the_event_loop_has_no_connections() -> None:
    source = "import asyncio\nasync def main(i, c):\n    await asyncio.open_connection('127.0.0.1', 9)"
    with function(source) as talk:
        assert isinstance(talk.call(), Failed)
        assert isinstance(talk.call(), Failed)


# --- frames -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [
    b"\x63" + bytes(8), bytes((FrameKind.LOAD,)) + bytes(8), bytes((FrameKind.CHUNK,)) + b"12345678x",
    bytes((FrameKind.ANSWER,)) + bytes(8),
])  # fmt: skip
def test_what_no_enclave_sends_ends_the_guest(payload: bytes) -> None:
    with function(body("return 1")) as talk:
        talk.send(payload)
        assert talk.ended()


def test_a_guest_ends_with_its_enclave() -> None:
    with guest() as talk:
        talk.load(program(main(body("return 1"))))
        talk.hang_up()
        assert talk.ended()


def test_copies_of_one_process_draw_different_numbers() -> None:
    source = "import random\nfirst = random.random()\ndef main(i, c):\n    return [first, random.random()]"
    with function(source) as talk:
        one, other = talk.value(), talk.other.value()
        assert one[0] == other[0]  # what a module does when it is imported happens once an image
        assert one[1] != other[1]


@pytest.mark.parametrize("use", ["context.seal(1, 'mrenclave')", "context.unseal('abc=')"])
def test_seals_without_their_permission_are_refused_with_the_line_to_add(use: str) -> None:
    words = 'this needs the permission "seal": add permissions = ["seal", ...] to [enclave] in casemate.toml'
    with function(body(use)) as talk:
        assert talk.call() == Failed(Code.GUEST_ERROR, "guest-error", words)
