"""The operator's module: who may have written it, and which of its functions answer OCALLs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.two_users import ATTACKER, shared_folder, two_users, user

from casemate.ocalls.errors import HandlersError
from casemate.ocalls.handlers import Handler, load_handlers, trace_of
from casemate.ocalls.module_file import MAX_MODULE


@pytest.fixture(autouse=True)
def python_as_before() -> Iterator[None]:
    """The modules and folders that Python has loaded and looks into, as before the test."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    return tmp_path / "operators_answers.py"


def loaded(module: Path, source: str) -> dict[str, Handler]:
    module.write_text(source)
    return dict(load_handlers(module))


def refused(module: Path, source: str) -> str:
    with pytest.raises(HandlersError) as refusal:
        loaded(module, source)
    return str(refusal.value)


def test_the_functions_that_a_module_defines_itself_are_handlers(module: Path) -> None:
    found = loaded(
        module,
        "from os.path import join\nimport json\nLIMIT = 3\nclass Store: pass\n_seen = lambda x: x\n"
        "def _helper(a, b, c): pass\n"
        "def rates(argument): return {'usd': 1}\n"
        "async def Limits(argument, asked): return 3\n",
    )
    assert {name: (each.is_async, each.takes_asked) for name, each in found.items()} == {
        "rates": (False, False),
        "Limits": (True, True),
    }
    assert found["rates"].function(None) == {"usd": 1}


def test_a_module_can_list_its_handlers_and_have_other_functions(module: Path) -> None:
    found = loaded(module, "__all__ = ['b']\nfrom math import floor as b\ndef helper(a, b, c, d): pass\n")
    assert list(found) == ["b"]


@pytest.mark.parametrize(
    ("parameters", "takes_asked"),
    [
        ("a", False),
        ("a, who", True),
        ("a, asked=None", True),
        ("a, *, retries=3", False),
        ("a, retries=3", False),
        ("*a", False),
        ("a=None", False),
    ],
)
def test_who_asks_is_told_to_those_who_want_to_know(module: Path, parameters: str, takes_asked: bool) -> None:
    assert loaded(module, f"def rates({parameters}): pass")["rates"].takes_asked is takes_asked


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "defines no handler: want a function for each OCALL, such as `def rates(argument)"),
        ("def f(): pass", "f takes other arguments, want f(argument) or f(argument, asked); begin its name with _"),
        ("def f(a, b, c): pass", "f takes other arguments"),
        ("def f(a, *, key): pass", "f takes other arguments"),
        ("def f(a): yield a", "f is a generator, want a function that returns its answer"),
        ("async def f(a): yield a", "f is a generator"),
        ("def größe(a): pass", "no OCALL can be called like the function 'größe', want letters, digits and _"),
        (f"def {'f' * 65}(a): pass", "no OCALL can be called like the function"),
        ("__all__ = ['f']", "__all__ names 'f', which is not a function of the module"),
        ("__all__ = ['f']\nf = 3", "__all__ names 'f'"),
        ("import nothing_there", "line 1, in <module>\n    import nothing_there\nModuleNotFoundError: No module named"),
        ("x = 1\ndef f(:", "line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("\0", "cannot be loaded"),
    ],
)
def test_what_cannot_be_a_module_of_handlers_is_refused_with_its_place(module: Path, source: str, words: str) -> None:
    said = refused(module, source)
    assert words in said
    assert "casemate/ocalls" not in said  # the trace begins with the operator's own lines


def test_a_trace_too_long_to_be_told_loses_its_beginning(module: Path) -> None:
    said = refused(module, "def f(n):\n    raise ValueError('é' * 5000 + str(n))\nf(1)")
    assert said.endswith("é1")
    assert len(said.encode()) < 4096


def test_a_trace_begins_in_the_operators_code(module: Path) -> None:
    failing = loaded(module, "def rates(a): return a['b']")["rates"].function
    with pytest.raises(KeyError) as error:
        failing({})
    told = trace_of(error.value, module)
    assert told.splitlines()[1] == f'  File "{module}", line 1, in rates'
    assert "test_handlers.py" not in told


@pytest.mark.parametrize("name", ["json.py", "os.py", "casemate.py", "two-words.py", "tomllib.py"])
def test_a_module_must_have_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    assert "rename the file" in refused(tmp_path / name, "def f(a): pass")


def test_a_module_may_import_what_lies_beside_it(module: Path) -> None:
    module.with_name("operators_table.py").write_text("RATES = {'usd': 2}")
    found = loaded(module, "from operators_table import RATES\ndef rates(argument): return RATES")
    assert found["rates"].function(None) == {"usd": 2}


@pytest.mark.parametrize("mode", [0o646, 0o664])
def test_a_file_that_others_may_write_is_not_loaded(module: Path, mode: int) -> None:
    module.write_text("raise RuntimeError('it ran')")
    module.chmod(mode)
    with pytest.raises(HandlersError, match=r"others can write to it: chmod go-w .* would run with your rights"):
        load_handlers(module)


def test_a_file_in_a_folder_that_others_may_write_is_not_loaded(module: Path) -> None:
    module.write_text("raise RuntimeError('it ran')")
    for mode in (0o777, 0o1777):  # a sticky folder keeps the file, but lets others put modules beside it
        module.parent.chmod(mode)
        with pytest.raises(HandlersError, match="would run with your rights"):
            load_handlers(module)


@two_users
def test_another_users_file_is_not_loaded() -> None:
    with shared_folder() as folder:
        module = folder / "operators_answers.py"
        with user(ATTACKER):
            module.write_text("raise RuntimeError('it ran')")
        with pytest.raises(HandlersError, match=f"user {ATTACKER}"):
            load_handlers(module)


@pytest.mark.parametrize("kind", ["link", "folder", "nothing", "long"])
def test_what_is_no_module_is_not_loaded(module: Path, kind: str) -> None:
    if kind == "link":
        module.symlink_to("elsewhere.py")
        module.with_name("elsewhere.py").write_text("raise RuntimeError('it ran')")
    elif kind == "folder":
        module.mkdir()
    elif kind == "long":
        module.write_bytes(bytes(MAX_MODULE + 1))
    with pytest.raises(HandlersError, match=r"operators_answers\.py"):
        load_handlers(module)
