import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casemate.chip import runtime
from casemate.chip import runtime_copy as module
from casemate.chip.errors import RuntimeCopyError
from casemate.chip.interpreter_files import SourceFile
from casemate.chip.runtime import (
    ENGINE,
    ENGINE_FILES,
    HOLDS,
    PYTHON,
    RuntimeCopy,
    component_of,
    hold,
    loader_environment,
    unused,
)
from casemate.chip.runtime_copy import cache_root, check_confined, compiled_folder, prepare_runtime, verify_copy
from casemate.chip.runtime_sources import ROOMS, installed_files, runtime_sources
from casemate.engines.javascript.engine import BOOTSTRAP
from casemate.wire.errors import MissingExtraError
from casemate.wire.protocol.runtime_lock import RuntimePart

Prepare = Callable[..., RuntimeCopy]


@pytest.fixture
def sources(tmp_path: Path) -> tuple[SourceFile, ...]:
    """A runtime of three files; copying the real one for each test would take a second and 170 MB."""
    origin = tmp_path / "origin"
    origin.mkdir()
    for name, content in (("python", b"#!interpreter"), ("os.py", b"import sys"), ("x.so", b"\x7fELF")):
        (origin / name).write_bytes(content)
    return (
        SourceFile(PYTHON, origin / "python", executable=True),
        SourceFile("lib/python3.11/os.py", origin / "os.py"),
        SourceFile("lib/python3.11/lib-dynload/x.so", origin / "x.so"),
    )


@pytest.fixture
def prepare(tmp_path: Path, sources: tuple[SourceFile, ...], monkeypatch: pytest.MonkeyPatch) -> Prepare:
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(module, "check_confined", lambda _: None)  # there is nothing to start

    def run(of: tuple[SourceFile, ...] = sources) -> RuntimeCopy:
        return prepare_runtime(of, root)

    return run


def test_digest_is_over_sorted_paths_executable_bits_and_hashes(prepare: Prepare) -> None:
    label = b"casemate runtime v3\x00"
    digest = hashlib.sha256(label + b"interpreter\x00")
    for path, executable, content in (
        ("bin/python3", 1, b"#!interpreter"),
        ("lib/python3.11/lib-dynload/x.so", 0, b"\x7fELF"),
        ("lib/python3.11/os.py", 0, b"import sys"),
    ):
        head = len(path).to_bytes(4, "little") + path.encode() + bytes((executable,))
        digest.update(head + hashlib.sha256(content).digest())
    core = hashlib.sha256(label + b"core\x00" + b"interpreter\x00" + digest.digest()).digest()
    copy = prepare()
    assert copy.parts == (RuntimePart("core", core),)
    assert copy.directory.name == hashlib.sha256(label + b"core\x00" + core).hexdigest()


def test_an_engines_files_change_its_own_digest_alone(prepare: Prepare, tmp_path: Path) -> None:
    def parts(engine: bytes, bootstrap: bytes, core: bytes) -> dict[str, bytes]:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        sources = []
        for path, content in (
            (PYTHON, core),
            (ENGINE, engine),
            ("lib/python3.11/casemate/engines/javascript/bootstrap/calls.js", bootstrap),
            ("lib/python3.11/casemate/engines/javascript/engine.py", core),
        ):
            file = folder / path.replace("/", "-")
            file.write_bytes(content)
            sources.append(SourceFile(path, file))
        return {part.component: part.digest for part in prepare(tuple(sources)).parts}

    before = parts(b"1", b"1", b"1")
    assert set(before) == {"core", "javascript"}
    for changed in (parts(b"2", b"1", b"1"), parts(b"1", b"2", b"1")):
        assert changed["core"] == before["core"]
        assert changed["javascript"] != before["javascript"]
    changed = parts(b"1", b"1", b"2")
    assert changed["core"] != before["core"]
    assert changed["javascript"] == before["javascript"]


def test_no_code_that_an_enclave_runs_is_an_engines() -> None:
    """What an image's lock does not name must not come to run in its enclave."""
    parts: dict[str, set[str]] = {}
    for file in runtime_sources():
        component = component_of(file.path)
        name = file.source.name if component == "javascript" else file.path.partition("/casemate/")[2]
        parts.setdefault(component, set()).add(name)
    assert parts.keys() == {"core", *ENGINE_FILES}
    assert parts["javascript"] == {"deno", "node_modules.txt", *(f"{part}.js" for part in BOOTSTRAP)}
    folders = {name.rpartition("/")[0] for name in parts["python"]}
    assert folders == {"engines/python/bootstrap", "guest", "zygote"}
    assert "engines/python/engine.py" in parts["core"]


def test_digest_does_not_depend_on_place_time_or_order(
    prepare: Prepare, sources: tuple[SourceFile, ...], tmp_path: Path
) -> None:
    first = prepare()
    moved = []
    for file in reversed(sources):
        target = tmp_path / "elsewhere" / file.source.name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(file.source, target)
        os.utime(target, (0, 0))
        moved.append(SourceFile(file.path, target, file.executable))
    assert prepare(tuple(moved)).parts == first.parts


def test_second_start_reuses_the_copy(prepare: Prepare) -> None:
    first, second = prepare(), prepare()
    assert first.rebuilt
    assert not second.rebuilt
    assert second.directory == first.directory


def test_copy_is_readable_by_all_writable_by_none_and_its_own_bytes(
    prepare: Prepare, sources: tuple[SourceFile, ...]
) -> None:
    before = os.umask(0o077)
    try:
        directory = prepare().directory
    finally:
        os.umask(before)
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        if path.is_dir():
            assert stat.S_IMODE(status.st_mode) == 0o755
        else:
            wanted = 0o555 if path.name == "python3" else 0o444
            assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (wanted, 1)
    inodes = {file.source.stat().st_ino for file in sources}
    assert not inodes & {path.stat().st_ino for path in directory.rglob("*")}


def touch_content(directory: Path) -> None:
    file = directory / "lib/python3.11/os.py"
    file.chmod(0o644)
    file.write_bytes(b"import evil")
    file.chmod(0o444)


def add_file(directory: Path) -> None:
    (directory / "lib/python3.11/sitecustomize.py").write_bytes(b"")


def remove_file(directory: Path) -> None:
    (directory / "lib/python3.11/os.py").unlink()


def make_executable(directory: Path) -> None:
    (directory / "lib/python3.11/os.py").chmod(0o555)


def replace_by_link(directory: Path) -> None:
    file = directory / "lib/python3.11/os.py"
    file.rename(directory.parent / "moved")
    file.symlink_to(directory.parent / "moved")


def add_second_name(directory: Path) -> None:
    os.link(directory / "lib/python3.11/os.py", directory.parent / "other-name")


def let_others_write(directory: Path) -> None:
    (directory / "lib/python3.11").chmod(0o777)


def link_a_folder(directory: Path) -> None:
    (directory / "lib/python3.11").rename(directory.parent / "folder")
    (directory / "lib/python3.11").symlink_to(directory.parent / "folder")


@pytest.mark.parametrize(
    "tamper",
    [
        touch_content,
        add_file,
        remove_file,
        make_executable,
        replace_by_link,
        add_second_name,
        let_others_write,
        link_a_folder,
    ],
)
def test_touched_copy_is_found_reported_and_made_anew(prepare: Prepare, tamper: Callable[[Path], None]) -> None:
    directory = prepare().directory
    tamper(directory)
    with pytest.raises(RuntimeCopyError):
        verify_copy(directory)
    again = prepare()
    assert again.rebuilt
    assert again.directory == directory
    verify_copy(directory)
    assert (directory / "lib/python3.11/os.py").read_bytes() == b"import sys"


def test_changed_source_gives_another_copy(prepare: Prepare, sources: tuple[SourceFile, ...]) -> None:
    first = prepare()
    sources[1].source.write_bytes(b"import sys  # newer")
    second = prepare()
    assert second.rebuilt
    assert second.parts != first.parts
    assert first.directory.exists()


def test_lying_note_about_the_sources_cannot_name_another_digest(prepare: Prepare) -> None:
    copy = prepare()
    hint = next((copy.directory.parent / "hints").iterdir())
    for lie in (b"00" * 32, b"../../../../etc", b"\xff", b""):
        hint.write_bytes(lie)
        assert prepare().parts == copy.parts


def test_missing_source_is_a_typed_error(prepare: Prepare, sources: tuple[SourceFile, ...]) -> None:
    sources[2].source.unlink()
    with pytest.raises(RuntimeCopyError, match="cannot be copied"):
        prepare()


def test_old_unused_copies_are_tidied_away(prepare: Prepare, sources: tuple[SourceFile, ...]) -> None:
    copies: list[RuntimeCopy] = []
    holding = -1
    for version in range(6):
        sources[1].source.write_bytes(b"# version %d" % version)
        copies.append(prepare())
        os.utime(copies[-1].directory, (version, version))
        if version == 0:
            holding = hold(copies[0])
            os.utime(copies[0].directory, (0, 0))
    left = [copy.directory.exists() for copy in copies]
    os.close(holding)
    assert left == [True, False, False, True, True, True]
    assert len(list((copies[0].directory.parent / "hints").iterdir())) == 4


def test_a_copy_that_another_chip_tidies_away_at_the_same_time_is_no_error(
    prepare: Prepare, sources: tuple[SourceFile, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def raced(directory: Path) -> Iterator[bool]:
        with unused(directory) as is_unused:
            shutil.rmtree(directory)  # the other was faster
            yield is_unused

    monkeypatch.setattr(module, "unused", raced)
    for version in range(6):
        sources[1].source.write_bytes(b"# version %d" % version)
        assert prepare().directory.exists()


def test_who_can_read_a_copy_cannot_keep_others_from_holding_it(prepare: Prepare) -> None:
    copy = prepare()
    reader = os.open(copy.directory, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(reader, fcntl.LOCK_EX | fcntl.LOCK_NB)  # any user can: the copy is there for all to read
    os.close(hold(copy))
    os.close(reader)
    file = copy.directory.parent / HOLDS / copy.directory.name
    assert (stat.S_IMODE(file.stat().st_mode), stat.S_IMODE(file.parent.stat().st_mode)) == (0o600, 0o700)


def test_holding_a_copy_does_not_wait_for_ever(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "HOLD_TIME", 0.1)
    copy = prepare()
    with unused(copy.directory) as is_unused:
        assert is_unused
        with pytest.raises(RuntimeCopyError, match="is being tidied away: start again"):
            hold(copy)
    holding = hold(copy)
    with unused(copy.directory) as is_unused:
        assert not is_unused
    os.close(holding)


def test_a_hold_that_others_could_take_is_refused(prepare: Prepare) -> None:
    copy = prepare()
    os.close(hold(copy))
    (copy.directory.parent / HOLDS).chmod(0o755)
    with pytest.raises(RuntimeCopyError, match="mode 0755, others can look into it"):
        hold(copy)


def test_compiled_modules_lie_beside_the_copy_for_this_user_alone(prepare: Prepare) -> None:
    copy = prepare()
    folder = compiled_folder(copy.directory)
    assert copy.directory not in folder.parents
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert compiled_folder(copy.directory) == folder
    verify_copy(copy.directory)


def test_copy_that_is_gone_cannot_be_held(prepare: Prepare) -> None:
    copy = prepare()
    shutil.rmtree(copy.directory)
    with pytest.raises(RuntimeCopyError, match="start again"):
        hold(copy)


def test_interrupted_work_is_tidied_away_when_it_is_old(prepare: Prepare, tmp_path: Path) -> None:
    for name, age in ((".new-abc", 7200), (".old-abc", 7200), (".new-now", 0)):
        (tmp_path / "root" / name).mkdir()
        moment = (tmp_path / "root").stat().st_mtime - age
        os.utime(tmp_path / "root" / name, (moment, moment))
    prepare()
    hidden = [path.name for path in (tmp_path / "root").iterdir() if path.name.startswith(".")]
    assert hidden == [".new-now"]


class TestRoot:
    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(module, "SYSTEM_ROOT", tmp_path / "file" / "not-a-folder")
        (tmp_path / "file").write_bytes(b"")

    def test_is_in_the_users_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cache_root() == tmp_path / "home/.cache/casemate/runtime"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_root() == tmp_path / "xdg/casemate/runtime"

    def test_ignores_a_relative_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache_root() == tmp_path / "home/.cache/casemate/runtime"

    @pytest.mark.skipif(os.geteuid() != 0, reason="the system's folder is root's")
    def test_is_the_systems_for_root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SYSTEM_ROOT", tmp_path / "var")
        assert cache_root() == tmp_path / "var"

    def test_refuses_folder_that_others_write(self) -> None:
        cache_root().chmod(0o777)
        with pytest.raises(RuntimeCopyError, match="mode 0777"):
            cache_root()


class TestRealRuntime:
    """Of the interpreter that runs the tests."""

    @pytest.fixture(scope="class")
    @classmethod
    def copy(cls, tmp_path_factory: pytest.TempPathFactory) -> RuntimeCopy:
        return prepare_runtime(runtime_sources(), tmp_path_factory.mktemp("runtime"))

    def run(self, copy: RuntimeCopy, code: str) -> str:
        command = [str(copy.directory / PYTHON), "-I", "-S", "-B", "-c", code]
        environment = loader_environment(copy.directory)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    def test_starts_and_stays_inside_itself(self, copy: RuntimeCopy) -> None:
        check_confined(copy.directory)
        modules = self.run(
            copy,
            "import sys, hashlib, json, asyncio, tomllib, ctypes\n"
            "import casemate.enclave.main, casemate.enclave.appraisal, casemate.spawner.start\n"
            "print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}, *sys.path, sep='\\n')",
        ).splitlines()
        assert len(modules) > 100
        assert [path for path in modules if not path.startswith(str(copy.directory))] == []

    @pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
    def test_loads_nothing_of_the_hosts_but_the_c_library_and_what_python_links(self, copy: RuntimeCopy) -> None:
        mapped = self.run(
            copy,
            "import hashlib, hmac, casemate.enclave.main, casemate.enclave.appraisal, casemate.spawner.start\n"
            "assert hashlib.sha256(b'').hexdigest().startswith('e3b0c442')\n"
            "print(*{line.split()[5] for line in open('/proc/self/maps') if len(line.split()) > 5}, sep='\\n')",
        ).splitlines()
        foreign = {Path(path).name for path in mapped if path.startswith("/") and str(copy.directory) not in path}
        assert not [name for name in foreign if name.startswith(("libpython", "libcrypto", "libssl"))]

    def test_leaves_no_trace_of_having_run(self, copy: RuntimeCopy) -> None:
        self.run(copy, "import json, casemate.wire.encodings.message")
        assert verify_copy(copy.directory) == copy.parts

    def test_has_no_rooms_but_the_enclaves(self, copy: RuntimeCopy) -> None:
        rooms = self.run(copy, "import casemate, os; print(*sorted(os.listdir(casemate.__path__[0])))").split()
        assert rooms == ["__init__.py", *ROOMS]

    def test_has_no_compiled_files_tests_or_build_settings(self, copy: RuntimeCopy) -> None:
        names = [path.relative_to(copy.directory).as_posix() for path in copy.directory.rglob("*")]
        unwanted = ("__pycache__", ".pyc", "/test/", "/tests/", "idlelib", "tkinter", "_sysconfigdata", "site-packages")
        assert [name for name in names if any(word in name for word in unwanted)] == []

    def test_interpreter_that_reaches_outside_is_refused(self, copy: RuntimeCopy, tmp_path: Path) -> None:
        bare = tmp_path / "bare"
        (bare / "bin").mkdir(parents=True)
        shutil.copy(copy.directory / PYTHON, bare / PYTHON)
        for library in (copy.directory / "lib").glob("libpython*"):
            (bare / "lib").mkdir(exist_ok=True)
            shutil.copy(library, bare / "lib")
        with pytest.raises(RuntimeCopyError, match=r"reaches outside|does not start"):
            check_confined(bare)


def test_interpreter_without_its_packages_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casemate.chip.runtime_sources.PACKAGES", {"no_such_package": "no-such-package"})
    with pytest.raises(MissingExtraError, match=r"no_such_package is not installed: pip install 'casemate\[machine\]'"):
        runtime_sources()


def test_a_file_that_another_package_left_in_a_folder_of_the_runtime_is_not_of_it(tmp_path: Path) -> None:
    package, record = tmp_path / "own", tmp_path / "own_dist-1.0.dist-info"
    package.mkdir()
    record.mkdir()
    for name in ("__init__.py", "stray.py"):
        (package / name).write_text("")
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: own-dist\nVersion: 1.0\n")
    (record / "RECORD").write_text("own/__init__.py,,\n")
    assert [file.path for file in installed_files("own-dist", package, "lib")] == ["lib/own/__init__.py"]
    (record / "RECORD").unlink()  # as system packages are
    assert len(list(installed_files("own-dist", package, "lib"))) == 2


def test_framework_build_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: "Python")
    with pytest.raises(RuntimeCopyError, match="another build of Python"):
        runtime_sources()


def test_names_of_the_copy_are_sorted_and_unique() -> None:
    paths = [file.path for file in runtime_sources()]
    assert paths == sorted(set(paths), key=str.encode)
    assert {"bin/python3", "bin/deno", f"{sys.platlibdir}/{Path(os.__file__).parent.name}/os.py"} <= set(paths)
