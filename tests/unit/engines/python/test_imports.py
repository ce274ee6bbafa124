"""What a Python program can import, and what a module of it finds."""

import pkgutil
import struct
from typing import Any

import cryptography
import pytest
from tests.rigs.python_guests import Module, function, guest, main, program

from casemate.engines.frames import Failed, Loaded
from casemate.engines.python.bootstrap.standard import MODULES

RESOURCES = """
import importlib.resources as r
def main(i, c):
    f = r.files("p")
    return [f.joinpath("d.txt").read_text("utf-8"), (f / "sub" / "e.txt").read_bytes().decode(),
            sorted(x.name for x in f.iterdir()), r.read_text("p", "d.txt"), f.joinpath("none").is_file()]
"""
FOLDER = "import importlib.resources as r\ndef main(i, c): return r.files('n').joinpath('d.txt').read_text()"
WALK = "import pkgutil, p\ndef main(i, c): return sorted(m.name for m in pkgutil.walk_packages(p.__path__, 'p.'))"
DATA = "import json, pkgutil\ndef main(i, c): return json.loads(pkgutil.get_data(__name__, 'd.json'))"
PACKAGE = "import p\nfrom p import inner\ndef main(i, c): return [p.x, p.__file__, p.__path__, inner.__package__]"
LINES = "def f():\n    return 1\n"


@pytest.mark.parametrize(("files", "source", "value"), [
    ({"a.py": "x = 1"}, "import a\ndef main(i, c): return [a.x, a.__name__, a.__file__]", [1, "a", "guest/a.py"]),
    ({"p/__init__.py": "from .inner import x", "p/inner.py": "from . import other\nx = other.y", "p/other.py": "y = 2"},
     PACKAGE, [2, "guest/p/__init__.py", ["guest/p"], "p"]),
    ({"n/k.py": "z = 3"}, "from n.k import z\ndef main(i, c): return z", 3),
    ({"n/deep/m.py": "w = 4"}, "def main(i, c):\n    from n.deep import m\n    return m.w", 4),
    ({"a.py": "import b\ndef f(): return b.y\nx = 1", "b.py": "import a\ndef g(): return a.x\ny = 2"},
     "import a, b\ndef main(i, c): return [a.f(), b.g()]", [2, 1]),
    ({"d.json": '{"a": 1}'}, DATA, {"a": 1}),
    ({"p/__init__.py": "", "p/d.txt": "ä", "p/sub/e.txt": "e"}, RESOURCES,
     ["ä", "e", ["__init__.py", "d.txt", "sub"], "ä", False]),
    ({"n/d.txt": "d", "n/m.py": ""}, FOLDER, "d"),
    ({"p/__init__.py": "", "p/a.py": "", "p/q/__init__.py": ""}, WALK, ["p.a", "p.q"]),
    ({"a.py": LINES}, "import inspect, a\ndef main(i, c): return inspect.getsource(a.f)", LINES),
    ({}, "def main(i, c): return [__name__, __file__, __spec__.origin]", ["main", "guest/main.py", "guest/main.py"]),
    ({}, "import importlib.util\ndef main(i, c): return importlib.util.find_spec('numpy_') is None", True),
    ({}, "import sys, os\ndef main(i, c): return [sys.path, sys.argv, dict(os.environ), sys.stdin.read()]",
     [["guest"], [""], {}, ""]),
])  # fmt: skip
def test_modules_are_found_in_the_image(files: dict[str, str], source: str, value: Any) -> None:
    others = [Module(f"guest/{path}", text.encode()) for path, text in files.items()]
    with guest() as talk:
        assert talk.load(program(*others, main(source))) == Loaded()
        assert talk.value() == value


def zone(hours: int, name: str) -> bytes:
    """A file of a time zone without changes (TZif, RFC 9636)."""
    sizes = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, len(name) + 1)
    block = sizes + struct.pack(">lbb", hours * 3600, 0, 0) + name.encode() + b"\0"
    return block + block + f"\n{name}-{hours}\n".encode()


def test_time_zones_are_those_of_a_tzdata_that_the_image_brings() -> None:
    source = """
import datetime, zoneinfo
def main(name, c):
    return datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo(name)).isoformat()
"""
    folders = ("tzdata", "tzdata/zoneinfo", "tzdata/zoneinfo/Europe")
    packages = [Module(f"guest/{folder}/__init__.py", b"") for folder in folders]
    with guest() as talk:
        berlin = Module("guest/tzdata/zoneinfo/Europe/Berlin", zone(2, "CEST"))
        assert talk.load(program(*packages, berlin, main(source))) == Loaded()
        assert talk.value("Europe/Berlin") == "2026-07-01T00:00:00+02:00"
        said = talk.call("Europe/Oslo")
        assert isinstance(said, Failed)
        assert said.name == "ZoneInfoNotFoundError"


def test_a_main_module_may_lie_in_a_folder() -> None:
    with guest() as talk:
        deep = Module("guest/app/start.py", b"from . import part\ndef main(i, c): return [__name__, part.x]")
        assert talk.load(program(Module("guest/app/part.py", b"x = 5"), deep)) == Loaded()
        assert talk.value() == ["app.start", 5]


@pytest.mark.parametrize(("name", "words"), [
    ("numpy_", "there is no module numpy_ in this enclave: a function has its own files below guest/, most of the"),
    ("tkinter", "tkinter is a module of the standard library that is not there inside an enclave"),
    ("json.nothing", "json.nothing is a module of the standard library that is not there inside an enclave"),
    ("casemate.wire", "there is no module casemate.wire in this enclave"),
    ("casemate.engines.frames", "there is no module casemate.engines"),
    ("pytest", "there is no module pytest in this enclave"),
])  # fmt: skip
def test_what_is_not_there_is_named_in_words(name: str, words: str) -> None:
    with function(f"def main(i, c):\n    import {name}") as talk:
        said = talk.call()
        assert isinstance(said, Failed)
        assert said.name == "ModuleNotFoundError"
        assert said.message.startswith(words)


@pytest.mark.parametrize("path", ["guest/json.py", "guest/casemate.py", "guest/random/__init__.py", "guest/sys.py"])
def test_a_file_cannot_hide_a_module_that_is_there(path: str) -> None:
    with guest() as talk:
        said = talk.load(program(Module(path, b""), main("def main(i, c): ...")))
        assert isinstance(said, Failed)
        assert said.name == "ImportError"
        assert "call it otherwise" in said.message


def test_all_modules_that_are_promised_are_there() -> None:
    source = "import importlib\ndef main(names, c): return len([importlib.import_module(name) for name in names])"
    parts = [found.name for found in pkgutil.walk_packages(cryptography.__path__, "cryptography.")]
    assert "cryptography.hazmat.backends.openssl.backend" in parts, "keys import it when they are made"
    with function(source) as talk:
        assert talk.value([*MODULES, *parts]) == len(MODULES) + len(parts)


@pytest.mark.parametrize("use", [
    "'ä'.encode('utf-16').decode('utf-16')", "'ä'.encode('cp1252').decode('latin-1')", "'日'.encode('shift_jis').hex()",
    "__import__('datetime').datetime.strptime('2026-01-02', '%Y-%m-%d').isoformat()",
    "__import__('hashlib').sha256(b'').hexdigest()", "str(__import__('uuid').uuid4())",
    "__import__('time').strftime('%Z', __import__('time').localtime(0))", "str(__import__('decimal').Decimal('1.5'))",
    "__import__('secrets').token_hex()", "__import__('pprint').pformat({1: 2})",
    "__import__('xml.etree.ElementTree').etree.ElementTree.fromstring('<a/>').tag",
    "__import__('xml.dom.minidom').dom.minidom.parseString('<a/>').toxml()",
    "str(__import__('xml.sax').sax.parseString('<a/>', __import__('xml.sax').sax.ContentHandler()))",
    "str(list(__import__('sqlite3').connect(':memory:').iterdump()))",
    "__import__('unittest').IsolatedAsyncioTestCase.__name__",
    "__import__('zlib').decompress(__import__('zlib').compress(b'x')).decode()",
])  # fmt: skip
def test_what_is_loaded_late_elsewhere_opens_no_file_here(use: str) -> None:
    source = f"""
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
def main(i, c):
    value = {use}
    return [isinstance(value, str), opened]
"""
    with function(source) as talk:
        assert talk.value() == [True, []]
