"""What a Python program prints, and when it is heard."""

import pytest
from tests.rigs.python_guests import RANDOM_AND_NOW, body, function, guest, main, program

from casemate.engines.frames import Failed, Loaded
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.manifest import Permission

LOG = RANDOM_AND_NOW | {Permission.LOG}


@pytest.mark.parametrize(("text", "lines"), [
    ("print('a', 1)", ["a 1"]),
    ("print('a\\nb')", ["a", "b"]),
    ("print()", [""]),
    ("print('no end', end='')", ["no end"]),
    ("print('a', end=''); print('b')", ["ab"]),
    ("import sys; sys.stderr.write('x\\ny')", ["x", "y"]),
    ("print('x' * 5000)", ["x" * 1024]),
    ("print('x' * 600, end=''); print('y' * 600)", ["x" * 600 + "y" * 424]),
    ("print('\\ud800ä')", ["?ä"]),
    ("for n in range(100): print(n)", [str(n) for n in range(64)]),
    ("print('\\n' * 10**6)", [""] * 64),
    ("import logging; logging.warning('w'); logging.info('i')", ["WARNING:root:w"]),
    ("import logging, sys; logging.basicConfig(stream=sys.stdout, level=1, force=True); logging.info('i')",
     ["INFO:root:i"]),
    ("import warnings; warnings.warn('old', UserWarning)", ["guest/main.py:4: UserWarning: old"]),
    ("import traceback\ntry:\n    1 / 0\nexcept Exception:\n    traceback.print_exc(limit=0)",
     ["ZeroDivisionError: division by zero"]),
    ("class D:\n    def __del__(self): raise ValueError('d')\nd = D()\ndel d",
     ["an exception outside of a call: ValueError: d"]),
    ("print.__call__('x')", ["x"]),
    ("import sys; print('x', file=sys.__stdout__)", ["x"]),
])  # fmt: skip
def test_lines_are_heard_with_the_permission_and_in_a_debug_enclave(text: str, lines: list[str]) -> None:
    with function(body(text), permissions=LOG) as talk:
        talk.value()
        assert talk.printed == lines
    with function(body(text), debug=True) as talk:
        talk.value()
        assert talk.printed == lines
        talk.value()
        assert len(talk.printed) >= 2 * len(lines) - (1 if "warn(" in text or "basicConfig" in text else 0)


@pytest.mark.parametrize("text", [
    "print('x')", "import sys; sys.stderr.write('x')", "import logging; logging.warning('w')",
    "print(end='', flush=True, *'x')",
])  # fmt: skip
def test_without_the_permission_the_words_name_the_line_to_add(text: str) -> None:
    words = 'this needs the permission "log": add permissions = ["log", ...] to [enclave] in casemate.toml'
    with function(body(text)) as talk:
        assert talk.call() == Failed(Code.GUEST_ERROR, "guest-error", words)
        assert talk.printed == []


@pytest.mark.parametrize("text", [
    "import warnings; warnings.warn('old')", "class D:\n    def __del__(self): raise ValueError\nD()",
])  # fmt: skip
def test_the_interpreter_s_own_words_are_dropped_without_the_permission(text: str) -> None:
    with function(body(text)) as talk:
        assert talk.value() is None
        assert talk.printed == []


def test_a_module_prints_while_it_is_loaded() -> None:
    with guest() as talk:
        assert talk.load(program(main("print('hello', end='')\ndef main(i, c): ..."), permissions=LOG)) == Loaded()
        assert talk.printed == ["hello"]
    with guest() as talk:
        said = talk.load(program(main("print('hello')\ndef main(i, c): ...")))
        assert isinstance(said, Failed)
        assert 'permissions = ["log", ...]' in said.message


def test_what_an_exception_leaves_open_is_heard() -> None:
    with function(body("print('half', end='')\n1 / 0"), permissions=LOG) as talk:
        assert isinstance(talk.call(), Failed)
        assert talk.printed == ["half"]


def test_a_text_alone_is_printed() -> None:
    with function(body("import sys\nsys.stdout.write(b'x')"), permissions=LOG) as talk:
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.message == "write() argument must be str, not bytes"
