"""Python that can never be loaded is refused when it is built, with its place; all else is let through."""

import codecs
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import SourceError
from casemate.images.functions.python.guest_code import check_guest_code
from casemate.images.functions.python.sources import MAX_SOURCE, parse_module
from casemate.images.functions.python.standard_library import ABSENT
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

MANIFEST = """
[enclave]
name = "test"
product_id = 1
security_version = 1
engine = "python"
main = "guest/main.py"
permissions = ["random", "now"]

[limits]
memory_mib = 64
time_ms = 100
output_kib = 4

[entry.rate]
input = { type = "null" }
output = { type = "null" }
callers = "anyone"
"""
Files = Mapping[str, str | bytes]
NONE: Files = MappingProxyType({})
RATE = "def rate(input, context): ...\n"


def check(main: str | bytes = RATE, others: Files = NONE, *, stream: bool = False) -> None:
    """Checks a main module and others, by their paths below guest/."""
    files = {
        f"guest/{path}": content.encode() if isinstance(content, str) else content
        for path, content in {"main.py": main, **others}.items()
    }
    text = MANIFEST + ("stream = true\n" if stream else "")
    assert check_guest_code(files, parse_manifest(text.encode(), files.get)) == ()


def test_what_can_be_loaded_is_not_run() -> None:
    check(f"{RATE}raise SystemExit('a module was run')")


NESTED = "(" * 3000 + ")" * 3000
SYNTAX = [
    ("def rate(input, context)\n    pass", "1:25", "expected ':'"),
    ("def rate(input, context):\n    return (1", "2:12", r"'\(' was never closed"),
    ("x = 1\n  y = 2", "2:", "unexpected indent"),
    ("if True:\n\tx = 1\n        y = 2", "3:", "inconsistent use of tabs"),
    ("é = 'ü' x", "1:", "invalid syntax"),
    ("return 1", "1:1", "'return' outside function"),
    ("await x", "1:1", "'await' outside function"),
    ("def f(a, a): ...", "1:", "duplicate argument 'a'"),
    ("x = 1\nfrom __future__ import annotations", "2:", "must occur at the beginning"),
    ("from __future__ import braces", "1:", "not a chance"),
    ("async def f():\n    yield 1\n    return 2", "3:", "in async generator: give the result by context.finish"),
    ("nonlocal x", "1:1", "nonlocal declaration not allowed"),
    ("print 'x'", "1:1", "Missing parentheses"),
    (f"x = {NESTED}", "1:", "too many nested|too deeply"),
    ("x = " + "-" * 100_000 + "1", "1:", ""),
]


@pytest.mark.parametrize(("source", "place", "words"), SYNTAX)
def test_what_is_no_python_is_refused_with_file_line_and_column(source: str, place: str, words: str) -> None:
    builder = f"Python {sys.version_info.major}\\.{sys.version_info.minor}, which builds this image, cannot load this"
    with pytest.raises(SourceError, match=rf"^guest/other\.py:{place}.*{builder}: .*({words})"):
        check(others={"other.py": source})


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        (codecs.BOM_UTF8 + RATE.encode(), "1:1", "begins with a byte order mark"),
        (RATE.encode("utf-16"), "1:1", "this is UTF-16"),
        (b"x = '\xe9'", "1:6", "this is not valid UTF-8"),
        (b"# -*- coding: latin-1 -*-\nx = 1", "1:15", "the encoding latin-1 is declared: save the file as UTF-8"),
        (b"#!/usr/bin/python\n# vim: set fileencoding=cp1252 :", "2:25", "the encoding cp1252 is declared"),
        (b"# coding: nonsense", "1:11", "the encoding nonsense is declared"),
        (b"x = 1\ny = '\0'", "2:6", "a null byte"),
        (b"x = 1\ry = 2\n", "1:6", "a lone CR ends a line here"),
        (b"#" * (MAX_SOURCE + 1), "1:1", f"at most {MAX_SOURCE} are allowed"),
    ],
)
def test_what_is_not_the_same_text_to_everybody_is_refused(source: bytes, place: str, words: str) -> None:
    with pytest.raises(SourceError, match=rf"^guest/other\.py:{place}: .*{words}"):
        check(others={"other.py": source})


@pytest.mark.parametrize(
    "source",
    [
        b"# coding: utf-8\nx = 1",
        b"# -*- coding: UTF8 -*-",
        b"x = 1\n# coding: latin-1 is what this is about",
        b"#\n#\n# coding: latin-1",
        b"x = 1\r\ny = '\xc3\xa9'\r\n",
        b"if True:\n\tx = 1",
        rb"x = '\d'",  # a warning alone
        b"",
    ],
)
def test_what_can_be_read_is_let_through(source: bytes) -> None:
    check(others={"other.py": source})


@given(st.binary(max_size=60) | st.text("\n\tdefr ()[]:=,'\"#\\x{}0", max_size=60).map(str.encode))
def test_any_bytes_are_a_module_or_a_source_error(source: bytes) -> None:
    try:
        module = parse_module("guest/x.py", source)
    except SourceError as error:
        place = re.match(r"guest/x\.py:([0-9]+):([0-9]+): ", str(error))
    else:
        assert module.name == "x"
        return
    assert place is not None
    assert 1 <= int(place[1]) <= source.count(b"\n") + 2
    assert int(place[2]) >= 1


@pytest.mark.parametrize(
    ("main", "words"),
    [
        ("", r"entry\.rate is not a function of guest/main\.py, want one of its functions: it has none"),
        ("def rates(input, context): ...", r"want one of \['rates'\]"),
        ("def rates(input, context):\n    rate = 1", r"want one of \['rates'\]"),
        ("rate: int\nx = [rate for rate in ()]\nclass C:\n    def rate(self): ...", "is not a function"),
        ("lambda rate: rate", "is not a function"),
    ],
)
def test_a_main_module_without_an_entry_point_is_refused(main: str, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        check(main)


@pytest.mark.parametrize(
    ("main", "place", "words"),
    [
        ("class rate: ...", "1:1", r"has to be a function: `def rate\(input, context\)`"),
        ("\nrate = 7", "2:1", "has to be a function"),
        ("rate: dict = {}", "1:1", "has to be a function"),
        ("if x:\n    rate = 1\nelse:\n    rate = []", "4:5", "has to be a function"),
        ("def rate(input): ...", "1:1", r"rate is called with \(input, context\), which its parameters do not take"),
        ("def rate(): ...", "1:1", "its parameters do not take"),
        ("def rate(input, context, chunks): ...", "1:1", "its parameters do not take"),
        ("def rate(input, context, *, more): ...", "1:1", "its parameters do not take"),
        ("def rate(*, input, context): ...", "1:1", "its parameters do not take"),
        ("def rate(input, context):\n    yield 1", "1:1", r"write stream = true in \[entry\.rate\]"),
        ("async def rate(input, context):\n    x = yield", "1:1", r"write stream = true in \[entry\.rate\]"),
        ("def rate(input, context):\n    yield from ()", "1:1", "stream = true"),
    ],
)
def test_an_entry_point_that_cannot_be_called_is_refused(main: str, place: str, words: str) -> None:
    with pytest.raises(SourceError, match=rf"^guest/main\.py:{place}: .*{words}"):
        check(main)


@pytest.mark.parametrize(
    ("main", "words"),
    [
        ("def rate(input, context, chunks): return 1", "has to yield"),
        ("async def rate(input, context, chunks): return 1", "has to yield"),
        ("def rate(input, context, chunks):\n    def inner(): yield\n    return [(lambda: (yield))]", "has to yield"),
        ("def rate(input, context):\n    yield", r"called with \(input, context, chunks\)"),
    ],
)
def test_a_stream_that_cannot_be_one_is_refused(main: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        check(main, stream=True)


@pytest.mark.parametrize(
    "main",
    [
        "async def rate(input, context): ...",
        "def rate(input, context, more=None, *, other=1, **rest): ...",
        "def rate(*arguments): ...",
        "def rate(input, /, context): ...",
        "def rate(input, context):\n    def inner(): yield\n    return list(inner())",
        "def rate(input, context): return [(yield_) for yield_ in ()]",
        "rate = lambda input, context: None",
        "from functools import partial\nrate = partial(print)",
        "from other import *",
        "from other import rate",
        "import other as rate",
        "def make(): ...\nrate, x = make(), 1",
        "try:\n    from other import rate\nexcept ImportError:\n    def rate(input, context): ...",
        "for rate in (print,): pass",
        "if (rate := print): ...",
        "[rate := print for _ in (1,)]",
        "def __getattr__(name): ...",
        "globals()['rate'] = print",
        "def install():\n    global rate\n    rate = print\ninstall()",
        "from functools import cache\n@cache\ndef rate(input): ...",
        "rate = None\nwith open as rate: ...",
        "match print:\n    case rate: ...",
        "match {}:\n    case {'x': 1, **rate}: ...",
        "match []:\n    case [*rate]: ...",
        "try: ...\nexcept Exception as rate: ...",
    ],
)
def test_what_may_be_an_entry_point_is_let_through(main: str) -> None:
    check(main, {"other.py": "def rate(input, context): ..."})


@pytest.mark.parametrize(
    "main",
    [
        "def rate(input, context, chunks):\n    for chunk in chunks: yield chunk\n    return 1",
        "async def rate(input, context, chunks):\n    async for chunk in chunks: yield chunk",
        "def rate(input, context, chunks): return (yield from other(chunks))",
        "rate = make()",
    ],
)
def test_what_may_be_a_stream_is_let_through(main: str) -> None:
    check(main, stream=True)


THERE = {
    "words/index.py": "TABLE = 1\ndef find(): ...",
    "words/deep/x.py": "",
    "other.py": "from json import dumps\n",
}


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("import numpy", 1, "there is no module numpy inside: there are the files under guest/, the standard library"),
        ("import os, numpy.linalg", 1, "there is no module numpy inside"),
        ("from requests import get", 1, "there is no module requests inside"),
        ("def f():\n    import numpy", 5, "there is no module numpy inside"),
        ("try:\n    import numpy\nexcept ValueError: ...", 5, "there is no module numpy inside"),
        ("try: ...\nexcept ImportError:\n    import numpy", 5, "there is no module numpy inside"),
        ("import ssl", 1, "ssl is a module of the standard library that is not there inside an enclave"),
        ("import tkinter.ttk", 1, "tkinter.ttk is a module of the standard library that is not there"),
        ("import http.server", 1, "http.server is a module of the standard library that is not there"),
        ("from http import HTTPStatus, server", 1, "http.server is a module of the standard library that is not there"),
        ("from smtplib import SMTP", 1, "smtplib is a module of the standard library that is not there"),
        ("import casemate", 1, "casemate is not there inside: of Casemate's modules only casemate.guest is"),
        ("from casemate.wire import errors", 1, "only casemate.guest is"),
        ("from casemate import client", 1, "only casemate.guest is"),
        ("import words.indexes", 1, r"there is no guest/words/indexes\.py"),
        ("from words import indexes", 1, "the folder guest/words has no indexes"),
        ("from words.index import finds", 1, r"guest/words/index\.py has no finds"),
        ("from other import load", 1, r"guest/other\.py has no load"),
        ("import other.inner", 1, r"there is no guest/other/inner\.py"),
        ("from . import other", 1, "leads beyond guest/: guest/ itself is no package; import by the full name"),
        ("from .other import x", 1, "leads beyond guest/"),
        ("from .. import x", 1, "leads beyond guest/"),
    ],
)
def test_an_import_that_cannot_succeed_is_refused_with_its_place(line: str, column: int, words: str) -> None:
    row = line.count("\n", 0, line.find("import numpy")) + 1 if "\n" in line else 1
    with pytest.raises(SourceError, match=rf"^guest/main\.py:{row}:{column}: .*{words}"):
        check(f"{line}\n{RATE}", THERE)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("from .. import other", "this relative import leads beyond guest/: words.index lies 1 folders deep"),
        ("from ...x import y", "leads beyond guest/"),
        ("from . import nothing", "the folder guest/words has no nothing"),
        ("from .deep.y import x", r"there is no guest/words/deep/y\.py"),
    ],
)
def test_relative_imports_are_followed(source: str, words: str) -> None:
    with pytest.raises(SourceError, match=rf"^guest/words/index\.py:1:1: .*{words}"):
        check(others={**THERE, "words/index.py": source})


@pytest.mark.parametrize(
    "source",
    [
        "import json, os.path, asyncio, hashlib",
        "from collections.abc import Mapping",
        "from http import HTTPStatus, client",
        "from __future__ import annotations",
        "from cryptography.hazmat.primitives import hashes",
        "import casemate.guest",
        "from casemate.guest import Context",
        "from casemate import guest",
        "import words, words.index, words.deep.x",
        "from words import index, deep",
        "from words.index import find as f, TABLE",
        "from words.index import *",
        "from other import dumps, __name__",
        "try:\n    import numpy\nexcept ImportError:\n    numpy = None",
        "try:\n    import numpy\nexcept (ValueError, ModuleNotFoundError): ...",
        "try:\n    import numpy\nexcept: ...",
        "try:\n    if True:\n        import numpy\nexcept Exception: ...",
        "from contextlib import suppress\nwith suppress(ImportError):\n    import numpy",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy",
        "import sys\nif sys.version_info < (3, 11):\n    import tomli",
        "import sys\nif sys.platform == 'win32':\n    import winreg_of_old",
    ],
)
def test_an_import_that_may_succeed_is_let_through(source: str) -> None:
    check(f"{source}\n{RATE}", THERE)


def test_modules_may_import_each_other_and_their_siblings() -> None:
    check(
        f"import a\n{RATE}",
        {
            "a.py": "import b, main",
            "b.py": "import a\nfrom package import one, made, late",
            "package/__init__.py": "from .inner import one\nfrom . import two\nmade = 1\ndef __getattr__(name): ...",
            "package/inner.py": "from .two import x\nfrom package import two\nfrom . import inner\none = 1",
            "package/deep/more.py": "from ..two import x\nfrom .. import inner\nfrom ..inner import one",
            "package/two.py": "x = 1",
        },
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("guest/json.py", "in place of the standard library's json"),
        ("guest/json/inner.py", "in place of the standard library's json"),
        ("guest/ssl.py", "in place of the standard library's ssl"),
        ("guest/__main__.py", "in place of the standard library's __main__"),
        ("guest/casemate.py", "the runtime has a package casemate of its own"),
        ("guest/casemate/guest.py", "the runtime has a package casemate of its own"),
        ("guest/cryptography/__init__.py", "the runtime has a package cryptography of its own"),
        ("guest/my-module.py", "'my-module' is not a name that Python can import"),
        ("guest/my-folder/x.py", "'my-folder' is not a name"),
        ("guest/2nd.py", "'2nd' is not a name"),
        ("guest/class.py", "'class' is not a name"),
        ("guest/x.py/y.py", r"'x\.py' is not a name"),
        ("guest/__init__.py", "no package: nobody would run this file"),
        ("guest/fast.cpython-311-x86_64-linux-gnu.so", "native code cannot be loaded"),
    ],
)
def test_a_file_that_nobody_could_import_or_that_hides_another_is_refused(path: str, words: str) -> None:
    with pytest.raises(SourceError, match=rf"^{re.escape(path)}:1:1: .*{words}"):
        check(others={path.removeprefix("guest/"): ""})


def test_a_name_means_one_file() -> None:
    with pytest.raises(SourceError, match=r"^guest/words/__init__\.py:1:1: guest/words\.py and this file are both"):
        check(others={"words.py": "", "words/__init__.py": ""})
    with pytest.raises(SourceError, match=r"^guest/words\.py:1:1: the module words hides the folder of guest/words/x"):
        check(others={"words.py": "", "words/x.py": ""})
    check(others={"words.py": "", "words/words.txt": "", "words/json.dat": ""})
    check(others={"words/__init__.py": "", "words/json.py": "", "words/class/x.txt": ""})


def test_all_json_is_read_strictly_since_any_of_it_may_be_data() -> None:
    check(others={"common.json": '{"a": 1}'})
    with pytest.raises(SourceError, match=r"^guest/words/common\.json:2:2: this is .*twice"):
        check(others={"words/common.json": '{"a": 1,\n "a": 2}'})
    with pytest.raises(SourceError, match=r"^guest/common\.json:1:1: "):
        check(others={"common.json": "9007199254740993"})


def test_other_files_are_data_and_javascript_is_one_of_them() -> None:
    check(others={"main.js": "import nothing", "my-data.txt": b"\xff", "x.pyi": ""})


_LOADED = """
import json, sys
sys.modules |= {"_ssl": None, "_hashlib": None}  # which the runtime leaves out
from casemate.engines.python.bootstrap import prepare
prepare()
print(json.dumps([name for name, module in sys.modules.items() if module is not None]))
"""


def test_what_is_absent_is_what_a_guests_process_has_not_imported() -> None:
    asked = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    loaded = set(json.loads(asked.stdout)) - {"site"}  # which is how this test's process finds Casemate
    assert not ABSENT & loaded
    assert {name for name in sys.stdlib_module_names - loaded if not name.startswith("_")} <= ABSENT
