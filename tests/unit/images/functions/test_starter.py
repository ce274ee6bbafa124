import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.rigs.python_guests import Module, guest, program

from casemate.engines.frames import Loaded, Refused, Returned
from casemate.host.ocalls import BUILT_IN, answer_built_in
from casemate.images.errors import FolderError
from casemate.images.functions.build import build
from casemate.images.functions.javascript.author_files import IMPORT_MAP
from casemate.images.functions.starter import Template, starter_name, write_starter
from casemate.images.keys import DeveloperKey
from casemate.images.lock import this_platform, write_lock
from casemate.wire.messages.entry import ANSWERED_OCALLS
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart


def _deno() -> str:
    found = shutil.which("deno", path=sysconfig.get_path("scripts")) or shutil.which("deno")
    if found is None:
        pytest.fail(f"{sys.executable} has no deno beside it, though the package depends on it")
    return found


STARTERS = pytest.mark.parametrize(
    ("engine", "template"), [(engine, template) for engine in Engine for template in Template]
)
ENTRIES = {Template.HELLO: ["rate"], Template.STATE: ["spend"], Template.SERVICE: ["add", "tell"]}
CODE = {Engine.JAVASCRIPT: "guest/main.js", Engine.PYTHON: "guest/main.py"}


@pytest.fixture
def starter(tmp_path: Path, engine: Engine, template: Template) -> Path:
    """A starter of any kind, with a lock."""
    folder = tmp_path / "starter"
    write_starter(folder, engine=engine, template=template)
    parts = (RuntimePart("core", bytes(32)), RuntimePart(engine, b"\x01" * 32))
    write_lock(folder, RuntimeLock().with_runtime(this_platform(), parts))
    return folder


def _run(folder: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@STARTERS
def test_a_starter_builds_as_it_is(
    starter: Path, engine: Engine, template: Template, developer_key: DeveloperKey
) -> None:
    contents = build(starter, developer_key, epoch=0).contents()
    assert contents.manifest.name == "starter"
    assert contents.manifest.engine is engine
    assert contents.manifest.main == CODE[engine]
    assert [entry.name for entry in contents.manifest.entries] == ENTRIES[template]
    assert contents.manifest.debug is False
    assert len(contents.manifest.errors) == 1
    assert (contents.manifest.state is not None) is (template is not Template.HELLO)
    assert (contents.manifest.service is not None) is (template is Template.SERVICE)


@STARTERS
def test_a_starters_input_is_as_its_schema_says(starter: Path, template: Template, developer_key: DeveloperKey) -> None:
    entry = build(starter, developer_key, epoch=0).contents().schemas.entries[ENTRIES[template][0]]
    entry.input.check(json.loads((starter / "input.json").read_text()))


@pytest.mark.parametrize(("template", "tests"), [(Template.HELLO, 5), (Template.STATE, 3), (Template.SERVICE, 2)])
@pytest.mark.parametrize("engine", [Engine.JAVASCRIPT])
def test_a_javascript_starters_own_test_passes(starter: Path, tests: int) -> None:
    flags = ("--no-prompt", "--no-config", "--no-remote", "--no-npm", f"--import-map={IMPORT_MAP}")
    cache = str(starter / ".deno")
    said = _run(starter, _deno(), "test", *flags, DENO_DIR=cache, NO_COLOR="1", DENO_NO_UPDATE_CHECK="1")
    assert f"{tests} passed" in said


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("engine", [Engine.JAVASCRIPT])
def test_a_javascript_starter_is_typed(starter: Path) -> None:
    main = starter / "guest" / "main.js"
    check = (_deno(), "check", "--quiet", "--no-config", "--no-lock", str(main))
    environment = {"DENO_DIR": str(starter / ".deno"), "NO_COLOR": "1"}
    _run(starter, *check, **environment)
    main.write_text(main.read_text().replace("context.refuse(", "context.refuses("))
    done = subprocess.run(check, cwd=starter, env=environment, capture_output=True, text=True, check=False)
    assert "Property 'refuses' does not exist on type 'Context'" in done.stderr


PYTHON_TESTS = {"unittest": ("-m", "unittest", "discover", "tests"), "pytest": ("-m", "pytest", "-q", "tests")}


@pytest.mark.parametrize(("template", "tests"), [(Template.HELLO, 5), (Template.STATE, 3), (Template.SERVICE, 2)])
@pytest.mark.parametrize("engine", [Engine.PYTHON])
@pytest.mark.parametrize("runner", PYTHON_TESTS)
def test_a_python_starters_own_test_passes(starter: Path, tests: int, runner: str) -> None:
    command = (sys.executable, "-W", "error", *PYTHON_TESTS[runner])
    said = _run(starter, *command, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")  # loading Hypothesis takes a second
    assert f"Ran {tests} tests" in said or f"{tests} passed" in said


@pytest.mark.parametrize("template", Template)
@pytest.mark.parametrize("engine", [Engine.PYTHON])
def test_a_python_starter_is_strictly_typed_and_formatted(starter: Path) -> None:
    sources = [str(path) for path in starter.rglob("*.py")]
    assert "Success" in _run(starter, sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, *sources)
    ruff = shutil.which("ruff", path=sysconfig.get_path("scripts"))
    assert ruff is not None
    _run(starter, ruff, "format", "--check", "--isolated", "--line-length", "120", *sources)


@pytest.mark.parametrize(("engine", "template"), [(Engine.PYTHON, Template.HELLO)])
def test_a_python_starter_runs_on_the_engine(starter: Path, developer_key: DeveloperKey) -> None:
    contents = build(starter, developer_key, epoch=0).contents()
    with guest() as talk:
        errors = tuple(error.name for error in contents.manifest.errors)
        modules = (Module(module.path, module.source) for module in contents.modules())
        assert talk.load(program(*modules, entries=("rate",), errors=errors)) == Loaded()
        rated = talk.call(json.loads((starter / "input.json").read_text()), entry="rate")
        assert isinstance(rated, Returned)
        (entry,) = contents.schemas.entries.values()
        assert entry.output.filter(json.loads(rated.text))["verdict"] == "strong"
        refused = talk.call({"password": "abc"}, entry="rate")
        assert isinstance(refused, Refused)
        assert refused.name == "too-short"


@pytest.mark.parametrize("template", [Template.HELLO])
@pytest.mark.parametrize("engine", Engine)
def test_what_the_function_returns_is_what_its_schema_lets_out(starter: Path, developer_key: DeveloperKey) -> None:
    (entry,) = build(starter, developer_key, epoch=0).contents().schemas.entries.values()
    entry.input.check({"password": "x"})
    result = {"verdict": "weak", "guesses_log10": 1.0, "advice": [], "rated_for": "anyone", "password": "x"}
    assert "password" not in entry.output.filter(result)


def _uncomment(path: Path, sign: str) -> None:
    text = path.read_text()
    uncommented = re.sub(sign, "", text, flags=re.MULTILINE)
    assert uncommented != text
    path.write_text(uncommented)


@pytest.mark.parametrize("template", [Template.HELLO])
@pytest.mark.parametrize("engine", Engine)
def test_the_ocalls_that_the_starter_shows_work(starter: Path, engine: Engine, developer_key: DeveloperKey) -> None:
    """Without their comment signs: the host answers one, and the starter's handlers the other."""
    _uncomment(starter / "casemate.toml", r"^# (?=\[ocall|input|output)")
    _uncomment(starter / CODE[engine], r"(?<=  )(?://|#) (?=.*ocall\()")
    ocalls = build(starter, developer_key, epoch=0).contents().schemas.ocalls
    code = (starter / CODE[engine]).read_text()
    assert set(re.findall(r"^ +\w.*ocall\(\"(\w+)\"", code, re.MULTILINE)) == set(ocalls) == {"time", "minimum_length"}
    said = answer_built_in("time", json.dumps(ocalls["time"].input.filter(None)).encode())
    ocalls["time"].output.check(json.loads(said))
    handlers = runpy.run_path(str(starter / "handlers.py"))
    ocalls["minimum_length"].output.check(handlers["minimum_length"](ocalls["minimum_length"].input.filter(None)))


def test_what_is_said_of_hosts_ocalls_is_so() -> None:
    assert set(ANSWERED_OCALLS) == set(BUILT_IN)


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FolderError, match=r"README\.md is already there"):
        write_starter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_refuses_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be written to"):
        write_starter(tmp_path / "file" / "inside")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("my-enclave", "my-enclave"),
        ("My First_Enclave", "my-first-enclave"),
        ("é", "enclave"),
        ("-", "enclave"),
        ("x" * 80, "x" * 64),
    ],
)
def test_an_enclave_is_named_for_its_folder(folder: str, name: str) -> None:
    assert starter_name(Path("/somewhere") / folder) == name


@STARTERS
def test_no_placeholder_is_left(starter: Path) -> None:
    for path in starter.rglob("*"):
        assert path.is_dir() or not re.search(rb"@[A-Z]+@", path.read_bytes())
        assert path.suffix != ".template"
