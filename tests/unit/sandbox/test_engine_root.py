"""The root of JavaScript guests: what code in it can tell, and how it comes and goes."""

import ctypes
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.sandbox_children import Run, run_child
from tests.rigs.two_users import ATTACKER, VICTIM, shared_folder, two_users, user

from casemate.sandbox import engine_root as module
from casemate.sandbox import linux
from casemate.sandbox.confinement import NoGroup, confine, prepare_guest
from casemate.sandbox.engine_root import PREFIX, EngineRoot, NoRoot, prepare_root
from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.program import Program, open_program
from casemate.wire.protocol.sandbox_layers import Layer, LayerMode, LayerName, LayerRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the root is for Linux's guests")
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ENTERED = "root with its engine alone"
EXECVE, EXECVEAT = (59, 322) if os.uname().machine == "x86_64" else (221, 281)
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place for roots."""
    only_place(tmp_path, monkeypatch)
    return tmp_path


def only_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(module, "_PLACES", ())


@pytest.fixture
def program() -> Iterator[Program]:
    opened = open_program(sys.executable)
    yield opened
    for descriptor in opened.descriptors:
        os.close(descriptor)


@pytest.fixture
def root(place: Path, program: Program) -> Iterator[EngineRoot]:
    made = prepared(program)
    yield made
    made.remove()
    assert not list(place.iterdir())


def prepared(program: Program) -> EngineRoot:
    made = prepare_root(program)
    assert isinstance(made, EngineRoot), made
    return made


def refusal(program: Program) -> str:
    made = prepare_root(program)
    assert isinstance(made, NoRoot)
    return made.reason


def of_libraries(*paths: Path | str) -> Program:
    return Program("/engine", "/engine", tuple(map(str, paths)))


def confined(
    program: Program, root: EngineRoot | NoRoot, body: Callable[[dict[LayerName, Layer]], object], *off: LayerName
) -> Callable[[], object]:
    """Code that has escaped from its engine: it has the engine's process, and does what it likes."""
    prepared_guest = prepare_guest(program, root)
    requests = tuple(LayerRequest(name, LayerMode.OFF) for name in off)

    def child() -> object:
        layers = confine(prepared_guest, requests, parent=os.getppid(), group=NoGroup("none"))
        return body({layer.name: layer for layer in layers})

    return child


def detail(layers: dict[LayerName, Layer]) -> str:
    return layers[LayerName.NAMESPACES].detail


def what_is_told(path: str) -> str:
    """The answers to all questions that need no rights to a file itself."""
    answers = set()
    for ask in (os.stat, os.lstat, os.readlink, lambda path: os.access(path, os.F_OK)):
        try:
            answers.add(str(ask(path)))
        except OSError as error:
            answers.add(type(error).__name__)
    return " ".join(sorted(answers - {"False"}))


def test_escaped_code_learns_of_no_process_and_no_file(child: Run, program: Program, root: EngineRoot) -> None:
    paths = [
        "/proc/1",
        f"/proc/{os.getpid()}",
        "/proc/self/maps",
        "/etc/passwd",
        "/tmp",
        "/dev/null",
        "/sys",
        "/usr",
        sys.executable,
    ]
    paths += [__file__, str(root.folder), "../etc/passwd", "../../../../../../etc/passwd", "/lib/../../etc/passwd"]
    assert all(os.path.lexists(path) for path in paths if path.startswith("/"))

    def body(layers: dict[LayerName, Layer]) -> object:
        if ENTERED not in detail(layers):
            return f"unavailable: {detail(layers)}"
        return sorted({what_is_told(path) for path in paths})

    said = child(confined(program, root, body)).said
    if said.startswith("unavailable"):
        pytest.skip(said)
    assert said == "['FileNotFoundError']"


def test_the_root_has_no_parent_and_is_where_the_process_is(child: Run, program: Program, root: EngineRoot) -> None:
    def body(layers: dict[LayerName, Layer]) -> object:
        if ENTERED not in detail(layers):
            return f"unavailable: {detail(layers)}"
        return len({os.stat(path).st_ino for path in ("/", "/..", ".", "..", "../..")})  # noqa: PTH116 - of strings

    said = child(confined(program, root, body)).said
    if said.startswith("unavailable"):
        pytest.skip(said)
    assert said == "1"


def test_without_namespaces_root_has_it_all_the_same(
    child: Run, program: Program, root: EngineRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_flags: int) -> None:
        raise UnavailableError("unshare: EPERM")

    monkeypatch.setattr(linux, "unshare", refuse)

    def body(layers: dict[LayerName, Layer]) -> object:
        found = layers[LayerName.NAMESPACES]
        return f"{os.getuid() >= 65536} {found.state} {what_is_told('/proc/1')} {found.detail}"

    said = child(confined(program, root, body)).said
    if said.startswith("True"):  # it was root, and has a user id of its own
        assert said == f"True unavailable FileNotFoundError unshare: EPERM; {ENTERED}"
    else:
        assert "unavailable" in said
        assert said.endswith("; its starter's root (chroot: Operation not permitted)")


def test_where_there_is_none_a_guest_runs_as_before_and_says_why(child: Run, program: Program) -> None:
    def body(layers: dict[LayerName, Layer]) -> object:
        return f"{what_is_told('/etc/passwd') != 'FileNotFoundError'} {detail(layers)}"

    said = child(confined(program, NoRoot("No space left on device"), body)).said
    assert said.startswith("True")
    assert said.endswith("; its starter's root (No space left on device)")


def test_with_namespaces_off_the_starters_root_stays(child: Run, program: Program, root: EngineRoot) -> None:
    def body(layers: dict[LayerName, Layer]) -> object:
        return f"{os.path.exists('/etc/passwd')} {layers[LayerName.NAMESPACES].state}{detail(layers)}"  # noqa: PTH110

    assert child(confined(program, root, body, LayerName.NAMESPACES)).said == "True off"


@root_only
def test_root_that_keeps_its_user_id_cannot_leave_the_root(program: Program, root: EngineRoot) -> None:
    def body(layers: dict[LayerName, Layer]) -> object:
        os.chroot(".")
        return detail(layers)

    off = (LayerName.UID, LayerName.SECCOMP, LayerName.LANDLOCK)
    assert run_child(confined(program, root, body, *off)).said.startswith("PermissionError")


def execute(number: int, *arguments: object) -> str:
    typed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    _LIBC.syscall(ctypes.c_long(number), *typed)
    return os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("flags", [0, AT_EMPTY_PATH | 0x100, 0x100])
def test_only_what_a_descriptor_leads_to_is_executed(
    child: Run, program: Program, root: EngineRoot, flags: int
) -> None:
    (binary,) = program.descriptors

    def body(_: object) -> str:
        return execute(EXECVEAT, binary, b"", None, None, flags)

    assert child(confined(program, root, body)).said == "Permission denied"


def test_no_path_is_executed(child: Run, program: Program, root: EngineRoot) -> None:
    """Neither by a call for paths, which is refused, nor by the one for descriptors, since nothing is there."""
    programs = [path.encode() for path in ("/bin/sh", "/bin/true", sys.executable, "/proc/self/exe")]

    def body(layers: dict[LayerName, Layer]) -> str:
        refusals = {execute(EXECVE, path, None, None) for path in programs}
        refusals |= {execute(EXECVEAT, AT_FDCWD, path, None, None, AT_EMPTY_PATH) for path in programs}
        return f"{ENTERED in detail(layers)} {sorted(refusals)}"

    assert child(confined(program, root, body)).said in (
        "True ['No such file or directory', 'Permission denied']",
        "False ['Permission denied']",
    )


def test_it_holds_the_libraries_and_nothing_else(program: Program, root: EngineRoot) -> None:
    inside = root.folder / "root"
    link = inside / "proc" / "self" / "exe"
    files = [path for path in inside.rglob("*") if not path.is_dir() and path != link]
    assert {f"/{path.relative_to(inside)}" for path in files} == {*program.libraries}
    assert link.readlink() == Path("/", Path(program.path).name)
    assert not (inside / Path(program.path).name).exists()
    for path in files:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o555
        assert path.read_bytes() == Path("/", path.relative_to(inside)).read_bytes()
    folders = [inside, *(path for path in inside.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.lstat().st_mode) for path in folders} == {0o711}
    assert stat.S_IMODE(root.folder.lstat().st_mode) == 0o700
    assert not os.get_inheritable(root.root)
    assert not os.get_inheritable(root.lock)


def test_a_library_that_is_a_link_becomes_a_file_below_the_root(place: Path) -> None:
    library = place / "libone.so.1"
    library.write_bytes(b"code")
    link = place / "libone.so"
    link.symlink_to(library)
    root = prepared(of_libraries(link, f"/../..{place}/../{place.name}/libone.so.1"))
    copies = [root.folder / "root" / path.relative_to("/") for path in (link, library)]
    assert [(copy.is_symlink(), copy.read_bytes()) for copy in copies] == [(False, b"code")] * 2
    root.remove()
    assert sorted(place.iterdir()) == [link, library]


def test_a_library_that_the_loader_cannot_be_told_of_leaves_the_starters_root(place: Path) -> None:
    assert refusal(of_libraries("/opt/a:b/libone.so")) == "a library's path cannot be told to the loader"
    assert not list(place.iterdir())


def test_a_library_that_is_gone_leaves_the_starters_root_and_no_folder(place: Path) -> None:
    assert refusal(of_libraries(place / "none.so")) == f"{place}: No such file or directory"
    assert not list(place.iterdir())


def test_an_abandoned_one_is_removed_at_the_next_start_and_one_in_use_stays(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, other = tmp_path / "usual", tmp_path / "other"
    for place in (other, usual):
        place.mkdir()
        only_place(place, monkeypatch)
        abandoned = prepared(program)
        os.close(abandoned.lock)  # as the end of its process would
        os.close(abandoned.root)
    used = prepared(program)
    assert len(list(other.iterdir())) == 1
    monkeypatch.setattr(module, "_PLACES", (str(other),))
    mine = prepared(program)
    assert sorted(tmp_path.glob("*/*")) == sorted((used.folder, mine.folder))
    assert (used.folder / "root").is_dir()
    used.remove()
    mine.remove()


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, list[str]()

    def make_and_lose(**named: Any) -> str:
        made.append(make(**named))
        if len(made) < 3:
            module._remove_abandoned(place)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_lose)
    root = prepared(program)
    assert [str(root.folder)] == made[2:]
    root.remove()
    assert not list(place.iterdir())


def test_one_that_is_removed_just_before_it_is_locked_is_made_anew(
    place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is open by then, and can be locked without being there."""
    lock, lost = fcntl.flock, list[Path]()

    def lose_and_lock(descriptor: int, how: int) -> None:
        if not lost:
            lost.extend(place.iterdir())
            module._remove_abandoned(place)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", lose_and_lock)
    root = prepared(program)
    assert len(lost) == 1
    assert list(place.iterdir()) == [root.folder]
    root.remove()


def test_what_else_has_such_a_name_stays(place: Path, program: Program) -> None:
    (place / "elsewhere" / "root").mkdir(parents=True)
    (place / f"{PREFIX}link").symlink_to(place / "elsewhere")
    (place / f"{PREFIX}file").write_text("text")
    (place / f"{PREFIX}full" / "mine").mkdir(parents=True)
    root = prepared(program)
    root.remove()
    assert (place / "elsewhere" / "root").is_dir()
    assert (place / f"{PREFIX}file").read_text() == "text"
    assert (place / f"{PREFIX}full" / "mine").is_dir()


@two_users
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_another_users_folder_is_neither_used_nor_removed(mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with shared_folder() as place:
        only_place(place, monkeypatch)
        program = of_libraries("/etc/passwd")  # which all may read
        with user(ATTACKER):
            (place / f"{PREFIX}theirs" / "root" / "lib").mkdir(parents=True)
            (place / f"{PREFIX}theirs").chmod(mode)
        for uid in (0, VICTIM):
            with user(uid):
                root = prepared(program)
                assert root.folder.stat().st_uid == uid
                root.remove()
        assert [path.name for path in place.iterdir()] == [f"{PREFIX}theirs"]
        assert (place / f"{PREFIX}theirs" / "root" / "lib").is_dir()


@two_users
def test_a_place_where_others_can_exchange_it_is_passed_over(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    only_place(tmp_path / "open", monkeypatch)
    assert "open" in refusal(program)
    assert not list((tmp_path / "open").iterdir())
    monkeypatch.setattr(module, "_PLACES", (str(tmp_path),))
    root = prepared(program)
    assert root.folder.parent == tmp_path
    root.remove()


def in_mounted(place: Path, options: str, body: Callable[[], object]) -> str:
    """Runs it in a child for which another file system is at this place."""

    def child() -> object:
        linux.unshare(0x0002_0000)  # CLONE_NEWNS
        for words in ("--make-rprivate /", f"-t tmpfs -o {options} none {place}"):
            subprocess.run(["/bin/mount", *words.split()], check=True, stderr=subprocess.DEVNULL)
        return body()

    said = run_child(child).said
    if said.startswith(("UnavailableError", "CalledProcessError", "FileNotFoundError")):
        pytest.skip(f"no file system can be mounted here: {said}")
    return said


@root_only
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("noexec", "nothing may be executed there (noexec)"),
        ("size=100k", "No space left on device"),
        ("ro", "Read-only file system"),
    ],
)
def test_a_place_that_will_not_do_is_left_empty_for_the_next(
    options: str, reason: str, place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = place / "other"
    other.mkdir()
    (place / "mounted").mkdir()
    only_place(place / "mounted", monkeypatch)

    def body() -> object:
        why = refusal(program)
        left = len(list((place / "mounted").iterdir()))
        module._PLACES = (str(other),)
        return f"{prepared(program).folder.parent} {left} {why}"

    assert in_mounted(place / "mounted", options, body) == f"{other} 0 {place / 'mounted'}: {reason}"


def test_elsewhere_there_is_none(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "IS_LINUX", False)
    assert refusal(program) == "Linux alone has one"


def test_no_place_at_all_leaves_the_starters_root(
    place: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_place(place / "none", monkeypatch)
    assert refusal(program) == f"{place / 'none'}: No such file or directory"
    assert not list(place.iterdir())
