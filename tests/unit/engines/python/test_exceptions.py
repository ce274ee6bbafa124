"""Words about exceptions: name, message, and the place in the program's own source."""

import pytest
from tests.rigs.python_guests import Module, function, guest, main, program

from casemate.engines.frames import Failed, Loaded, Place, Returned
from casemate.wire.protocol.faults import Code

THROWN = [
    ("ValueError('m')", "ValueError", "m"),
    ("ValueError", "ValueError", ""),
    ("KeyError('k')", "KeyError", "'k'"),
    ("SystemExit(3)", "SystemExit", "3"),
    ("KeyboardInterrupt()", "KeyboardInterrupt", ""),
    ("GeneratorExit()", "GeneratorExit", ""),
    ("type('Mine', (BaseException,), {})('m')", "Mine", "m"),
    ("type('Bad', (Exception,), {'__str__': lambda self: 1 / 0})()", "Bad", ""),
    ("type('Exits', (Exception,), {'__str__': lambda self: exit_()})()", "Exits", ""),
    ("type('Number', (Exception,), {'__str__': lambda self: 5})()", "Number", ""),
    ("ValueError('x' * 10**6)", "ValueError", "x" * 1024),
    ("ValueError('\\ud800')", "ValueError", "?"),
    ("ExceptionGroup('g', [ValueError('a'), TypeError('b')])", "ExceptionGroup",
     "g (2 sub-exceptions): ValueError: a; TypeError: b"),
    ("BaseExceptionGroup('g', [ValueError(n) for n in range(5)])", "ExceptionGroup",
     "g (5 sub-exceptions): ValueError: 0; ValueError: 1; ValueError: 2"),
    ("EnclaveError('state-limit', 'm')", "state-limit", "m"),
    ("StopIteration(1)", "StopIteration", "1"),
    ("5", "TypeError", "exceptions must derive from BaseException"),
]  # fmt: skip


@pytest.mark.parametrize(("thrown", "name", "message"), THROWN, ids=[thrown[:40] for thrown, _, _ in THROWN])
def test_whatever_is_raised_has_a_name_and_the_guest_goes_on(thrown: str, name: str, message: str) -> None:
    source = (
        "from casemate.guest import EnclaveError\ndef exit_():\n    raise SystemExit\n"
        f"def main(input, context):\n    if input:\n        raise {thrown}\n    return 1"
    )
    with function(source) as talk:
        assert talk.call(1) == Failed(Code.GUEST_ERROR, name, message)
        assert talk.value() == 1


@pytest.mark.parametrize(("source", "name"), [
    ("def main(i, c):\n    return main(i, c)", "RecursionError"),
    ("def main(i, c):\n    value = []\n    for _ in range(10**5):\n        value = [value]\n    return repr(value)",
     "RecursionError"),
    ("def main(i, c):\n    return str(10**100000)", "ValueError"),
    ("def main(i, c):\n    return input('?')", "EOFError"),
    ("import sys\ndef main(i, c):\n    sys.exit('done')", "SystemExit"),
])  # fmt: skip
def test_what_goes_too_far_is_an_exception(source: str, name: str) -> None:
    with function(source, debug=True) as talk:
        for _ in range(2):
            said = talk.call()
            assert isinstance(said, Failed)
            assert said.name == name


INNER = Module("guest/lib/inner.py", b"def inner(x):\n    return x['a']['b']\n")
OUTER = main("from lib.inner import inner\n\nasync def main(x, context):\n    y = 1; 'ä😀'; return inner(x)\n")


def test_a_debug_enclave_s_guest_says_where_it_raised() -> None:
    with guest() as talk:
        assert talk.load(program(INNER, OUTER, debug=True)) == Loaded()
        said = talk.call({"a": {}})
        assert isinstance(said, Failed)
        assert said.place == Place("guest/lib/inner.py", 2, 12)
        said = talk.call()
        assert isinstance(said, Failed)
        assert (said.name, said.place) == ("TypeError", Place("guest/lib/inner.py", 2, 12))


def test_columns_count_characters() -> None:
    with function("def main(x, c):\n    'ä😀'; return x.y", debug=True) as talk:
        said = talk.call(1)
        assert isinstance(said, Failed)
        assert said.place == Place("guest/main.py", 2, len("    'ä😀'; return ") + 1)


def test_the_place_is_the_program_s_own_also_for_what_the_library_raises() -> None:
    with function("import json\n\ndef main(x, c):\n    json.loads('{')", debug=True) as talk:
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.name == "JSONDecodeError"
        assert said.place == Place("guest/main.py", 4, 5)


def test_a_debug_enclave_s_guest_says_where_it_is_when_it_is_interrupted() -> None:
    source = (
        "import os, signal\n\ndef main(x, c):\n    1 + 1; os.kill(os.getpid(), signal.SIGALRM)\n    while True: pass"
    )
    with function(source, debug=True) as talk:
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.place is not None
        assert (said.place.path, said.place.line in (4, 5)) == ("guest/main.py", True)


def test_every_other_guest_says_no_place() -> None:
    with function("def main(x, c):\n    1 / 0") as talk:
        assert talk.call() == Failed(Code.GUEST_ERROR, "ZeroDivisionError", "division by zero")


@pytest.mark.parametrize(("source", "name", "place"), [
    ("x = 1\nNone.x\n", "AttributeError", Place("guest/main.py", 2, 1)),
    ("def main(i, c):\n    return (1\n", "SyntaxError", Place("guest/main.py", 2, 12)),
    ("import sys\nsys.exit(1)", "SystemExit", Place("guest/main.py", 2, 1)),
    ("def other(i, c): ...", "TypeError", None),
    ("main = 5", "TypeError", None),
    ("import numpy_", "ModuleNotFoundError", Place("guest/main.py", 1, 1)),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", Place("guest/main.py", 1, 1)),
])  # fmt: skip
def test_a_program_that_cannot_be_loaded_says_why_and_where(source: str, name: str, place: Place | None) -> None:
    with guest() as talk:
        said = talk.load(program(main(source)))
        assert isinstance(said, Failed)
        assert (said.name, said.place) == (name, place)
        assert talk.ended()


def test_a_main_module_without_the_entry_is_named() -> None:
    with guest() as talk:
        said = talk.load(program(main("def other(i, c): ...")))
        assert said == Failed(Code.GUEST_ERROR, "TypeError", "guest/main.py has no function main")


def test_a_traceback_shows_the_program_s_lines() -> None:
    source = (
        "import traceback\ndef main(i, c):\n    try:\n        1 / i\n    except ZeroDivisionError:\n"
        "        return traceback.format_exc()"
    )
    with function(source) as talk:
        text = talk.value(0)
        assert 'File "guest/main.py", line 4, in main\n    1 / i\n' in text


def test_a_task_s_exception_is_the_call_s() -> None:
    source = (
        "import asyncio\nasync def main(i, c):\n    async with asyncio.TaskGroup() as group:\n"
        "        group.create_task(fails())\nasync def fails():\n    raise ValueError('inner')"
    )
    with function(source, debug=True) as talk:
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message == "unhandled errors in a TaskGroup (1 sub-exception): ValueError: inner"
    with function(source.replace("import asyncio", "import asyncio as asyncio")) as talk:
        assert not isinstance(talk.call(), Returned)
