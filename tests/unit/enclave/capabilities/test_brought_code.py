"""What a function may ask to have run, and what is made of it."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.capabilities.brought_code import MAX_MODULES, BroughtCode, CodeRefusedError, read_brought
from casemate.wire.protocol.capabilities.run import RunRules
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest import Engine

RULES = RunRules(
    engines=(Engine.JAVASCRIPT, Engine.PYTHON),
    memory_mib=64,
    time_ms=100,
    output_kib=4,
    code_kib=1,
    at_once=1,
    per_call=1,
)


def read(
    engine: Any = "javascript", code: Any = "x", entry: Any = "main", argument: Any = None, limits: Any = None
) -> BroughtCode:
    return read_brought(json.dumps([engine, code, entry, argument, limits or {}]).encode(), RULES)


def test_what_is_not_said_is_as_the_manifest_allows() -> None:
    brought = read(argument={"a": [1.5]})
    assert (brought.memory_mib, brought.time_ms, brought.output_limit) == (64, 100, 4096)
    assert json.loads(brought.argument) == {"a": [1.5]}
    less = read(limits={"memory_mib": 16, "time_ms": 1, "output_kib": 1})
    assert (less.memory_mib, less.time_ms, less.output_limit) == (16, 1, 1024)


def test_a_program_gets_nothing_but_its_sources() -> None:
    program = read(code={"main.js": "import './a.js'", "a.js": "", "b.js": ""}).program()
    assert [module.path for module in program.modules] == ["guest/a.js", "guest/main.js"]
    assert program.permissions == frozenset()
    assert (program.entries, program.streams, program.errors) == (("main",), (), ())
    python = read("python", code={"main.py": "", "z.py": "", "a/data.bin": "\0"}).program()
    assert [module.path for module in python.modules] == ["guest/a/data.bin", "guest/z.py", "guest/main.py"]


def test_the_hash_is_that_of_a_listing_which_sha256sum_prints() -> None:
    def line(path: str, source: str) -> str:
        return f"{hashlib.sha256(source.encode()).hexdigest()}  {path}\n"

    both = line("a.js", "1") + line("main.js", "2")
    assert read(code={"main.js": "2", "a.js": "1"}).sha256 == hashlib.sha256(both.encode()).hexdigest()
    assert read(code="2").sha256 == read(code={"main.js": "2"}).sha256
    assert read("python", "2").sha256 != read(code="2").sha256


def test_circles_and_imports_of_nothing_are_the_codes_mistakes() -> None:
    with pytest.raises(CodeRefusedError, match="import each other"):
        read(code={"main.js": "import './a.js'", "a.js": "import './main.js'"}).program()
    with pytest.raises(CodeRefusedError, match=r"guest/main\.js:2: '\./a\.js' is none"):
        read(code="\nimport './a.js'").program()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"engine": "ruby"}, 'allows "javascript" or "python"'),
        ({"engine": ["javascript"]}, "allows"),
        ({"code": None}, "code is a source"),
        ({"code": {}}, "code is a source"),
        ({"code": {"main.js": 1}}, "is no text"),
        ({"code": {"other.js": ""}}, "has no main.js"),
        ({"code": {"main.js": "", "../a.js": ""}}, "relative path"),
        ({"code": {"main.js": "", "/a.js": ""}}, "relative path"),
        ({"code": {"main.js": "", "a.txt": ""}}, "ends with"),
        ({"code": {"main.js": "", f"{'a' * 200}.js": ""}}, "128 at most"),
        ({"code": {"main.js": "", **{f"{number}.js": "" for number in range(MAX_MODULES)}}}, "at most 32"),
        ({"code": "x" * 1025}, "1025 bytes"),
        ({"code": "\ud800"}, "no JSON"),
        ({"entry": "a b"}, "name of a function"),
        ({"entry": 1}, "name of a function"),
        ({"limits": {"time_ms": 101}}, "1 to 100"),
        ({"limits": {"time_ms": True}}, "1 to 100"),
        ({"limits": {"memory_mib": 15}}, "16 to 64"),
        ({"limits": {"guests": 1}}, "limits is an object"),
        ({"limits": [1]}, "limits is an object"),
    ],
)
def test_mistakes_of_the_functions_are_named(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(FaultError, match=words) as refused:
        read(**asked)
    assert refused.value.fault.code is Code.GUEST_ERROR


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode))
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(FaultError):
        read_brought(text, RULES)
