"""`casemate lock`: what a lock accepts is shown, widened, narrowed and checked."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.command_line import FAKE_DIGEST, FAKE_RUNTIME, Casemate

from casemate.cli import images
from casemate.cli.images import PlatformRuntime
from casemate.cli.locks import parse_told
from casemate.images.functions.starter import write_starter
from casemate.images.lock import read_lock, this_platform, write_lock
from casemate.wire.errors import WireError
from casemate.wire.protocol.manifest import Engine
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart

OTHER = bytes(range(32, 64))
HERE = this_platform()
ELSEWHERE = "darwin-aarch64-cp313"
COMMON = {"Plan 9's": b"\x09" * 32, "Debian's": b"\x0d" * 32}


@pytest.fixture
def colleague(casemate: Casemate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `casemate lock show --json` printed on a colleague's computer, whose core is another one."""
    with monkeypatch.context() as there:
        parts = (RuntimePart("core", OTHER), *FAKE_RUNTIME[1:])
        there.setattr(images, "runtime", lambda: PlatformRuntime(ELSEWHERE, parts, "/nowhere", {"packages": OTHER}))
        file = tmp_path / "colleague.json"
        file.write_text(casemate("lock", "show", "--json").out)
    return file


@pytest.fixture
def with_common(casemate: Casemate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two common interpreters of this platform are known."""
    del casemate  # it replaces the runtime first
    here = images.runtime()
    monkeypatch.setattr(images, "runtime", lambda: replace(here, common=COMMON))


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A starter for the other engine."""
    folder = tmp_path / "python"
    write_starter(folder, engine=Engine.PYTHON)
    return folder


def lines(folder: Path) -> set[tuple[str, str, bytes]]:
    return {(record.component, record.platform, record.digest) for record in read_lock(folder).records}


def test_add_accepts_this_computers_runtime_beside_the_others(casemate: Casemate, hello: Path) -> None:
    write_lock(hello, RuntimeLock().with_runtime(HERE, [RuntimePart("core", OTHER), RuntimePart("javascript", OTHER)]))
    before = lines(hello)
    assert casemate("build", hello).code == 5
    said = casemate("lock", "add", hello)
    assert said.code == 0
    assert "MRENCLAVE changes" in said.out
    assert lines(hello) == before | {("core", HERE, FAKE_DIGEST), ("javascript", HERE, FAKE_DIGEST)}
    assert casemate("build", hello).code == 0
    again = casemate("lock", "add", hello, "--json")
    assert again.json["changed"] is False
    assert "MRENCLAVE" not in casemate("lock", "add", hello).out


@pytest.mark.usefixtures("with_common")
@pytest.mark.parametrize("engine", ["hello", "python"], ids=["javascript", "python"])
def test_nothing_is_added_but_the_core_and_the_folders_own_engine(
    casemate: Casemate, engine: str, colleague: Path, request: pytest.FixtureRequest
) -> None:
    """So an update of another engine changes nothing here."""
    folder: Path = request.getfixturevalue(engine)
    assert casemate("lock", "add", folder).code == 0
    assert casemate("lock", "add", folder, "--from", colleague, "--common").code == 0
    own = "javascript" if engine == "hello" else "python"
    assert {component for component, _, _ in lines(folder)} == {"core", own}
    assert {platform for component, platform, _ in lines(folder) if component == own} == {HERE, ELSEWHERE}


@pytest.mark.parametrize(("folder", "other"), [("hello", "python"), ("python", "javascript")])
def test_an_update_of_the_other_engine_leaves_a_lock_as_it_is(
    casemate: Casemate, folder: str, other: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Path = request.getfixturevalue(folder)
    assert casemate("lock", "add", source).code == 0
    before = (source / "casemate.lock").read_bytes()
    updated = tuple(replace(part, digest=OTHER) if part.component == other else part for part in FAKE_RUNTIME)
    monkeypatch.setattr(images, "runtime", lambda: PlatformRuntime(HERE, updated, "/nowhere"))
    assert casemate("lock", "check", source).code == 0
    assert casemate("lock", "add", source).code == 0
    assert (source / "casemate.lock").read_bytes() == before


def test_a_colleagues_runtime_is_added_and_mine_is_not(casemate: Casemate, hello: Path, colleague: Path) -> None:
    assert casemate("lock", "add", hello, "--from", colleague).code == 0
    assert lines(hello) == {("core", ELSEWHERE, OTHER), ("javascript", ELSEWHERE, FAKE_DIGEST)}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"casemate": OTHER, "interpreter": FAKE_DIGEST}, "has another interpreter than this computer"),
        ({"casemate": FAKE_DIGEST, "interpreter": OTHER}, "has other code of Casemate's than this computer"),
        ({"casemate": OTHER, "interpreter": OTHER}, ""),
    ],
)
def test_add_says_in_what_a_colleagues_runtime_differs(
    casemate: Casemate,
    hello: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: dict[str, bytes],
    words: str,
) -> None:
    mine = replace(images.runtime(), core_groups={"casemate": OTHER, "interpreter": OTHER})
    with monkeypatch.context() as there:
        there.setattr(images, "runtime", lambda: replace(mine, core_groups=groups))
        (tmp_path / "told.json").write_text(casemate("lock", "show", "--json").out)
    monkeypatch.setattr(images, "runtime", lambda: mine)
    said = casemate("lock", "add", hello, "--from", tmp_path / "told.json")
    assert said.code == 0
    assert words in said.err if words else said.err == ""


def test_a_colleagues_locks_are_not_taken_over(casemate: Casemate, hello: Path, tmp_path: Path) -> None:
    write_lock(hello, RuntimeLock().with_runtime(ELSEWHERE, [RuntimePart("core", OTHER)]))
    told = tmp_path / "told.json"
    told.write_text(casemate("lock", "show", "--json", hello).out)
    (hello / "casemate.lock").unlink()
    assert casemate("lock", "add", hello, "--from", told).code == 0
    assert {platform for _, platform, _ in lines(hello)} == {HERE}


@pytest.mark.usefixtures("with_common")
def test_common_interpreters_are_added_with_the_engine_that_is_here(casemate: Casemate, hello: Path) -> None:
    assert casemate("lock", "add", hello, "--common").code == 0
    cores = {("core", HERE, core) for core in COMMON.values()}
    assert lines(hello) == cores | {("javascript", HERE, FAKE_DIGEST)}
    shown = casemate("lock", "show", hello, "--json").json["locks"][0]["records"]
    assert {record["known_as"] for record in shown} == {*COMMON, "this computer"}


def test_where_no_common_interpreter_is_known_that_is_said(casemate: Casemate, hello: Path) -> None:
    said = casemate("lock", "add", hello, "--common")
    assert said.code == 0
    assert f"no common interpreters of {HERE} are known" in said.err
    assert not (hello / "casemate.lock").exists()


def test_drop_takes_out_a_platform_or_a_digest(casemate: Casemate, hello: Path, colleague: Path) -> None:
    assert casemate("lock", "add", hello).code == 0
    assert casemate("lock", "add", hello, "--from", colleague).code == 0
    said = casemate("lock", "drop", hello, OTHER.hex()[:8], "--json")
    assert [line["component"] for line in said.json["locks"][0]["dropped"]] == ["core"]
    assert casemate("lock", "drop", hello, ELSEWHERE).code == 0
    assert {platform for _, platform, _ in lines(hello)} == {HERE}
    everything = casemate("lock", "drop", hello, FAKE_DIGEST.hex().upper())
    assert everything.code == 0
    assert "MRENCLAVE changes" in everything.out
    assert lines(hello) == set()


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("linux", "is in no line of casemate.lock"),
        ("plan9-mips-cp399", "is in no line of casemate.lock"),
        (FAKE_DIGEST.hex()[:7], "at least 8 digits"),
        ("0" * 64, "begins no digest of casemate.lock"),
        ("abababab", "begins 2 digests of casemate.lock: give more digits"),
        ("", "is in no line of casemate.lock"),
    ],
)
def test_what_is_not_in_a_lock_cannot_be_dropped(casemate: Casemate, hello: Path, word: str, reason: str) -> None:
    twins = [RuntimePart("core", b"\xab" * 4 + bytes([number]) * 28) for number in range(2)]
    write_lock(hello, RuntimeLock().with_runtime(HERE, [*twins, *FAKE_RUNTIME[:2]]))
    before = (hello / "casemate.lock").read_bytes()
    said = casemate("lock", "drop", hello, HERE, word, "--json")
    assert said.code == 5
    assert said.error["kind"] == "LockWordError"
    assert reason in said.error["message"]
    assert (hello / "casemate.lock").read_bytes() == before


def test_check_passes_where_this_computer_would_run_all_of_them(casemate: Casemate, hello: Path) -> None:
    assert casemate("build", hello).code == 0
    said = casemate("lock", "check", hello, hello / "hello.sgxs")
    assert said.code == 0
    assert said.out.count("runs on this computer") == 2


def one_of_another_core(folder: Path, _: Casemate) -> str:
    parts = [RuntimePart("core", OTHER), RuntimePart("javascript", FAKE_DIGEST)]
    write_lock(folder, RuntimeLock().with_runtime(HERE, parts))
    return f"core of this computer ({HERE}) is {FAKE_DIGEST.hex()[:16]}..., the lock accepts {OTHER.hex()[:16]}..."


def none_at_all(_: Path, __: Casemate) -> str:
    return "the lock accepts none: `casemate lock add DIR` accepts it, too"


def a_platform_without_an_engine(folder: Path, casemate: Casemate) -> str:
    assert casemate("build", folder).code == 0
    write_lock(folder, read_lock(folder).accepting(ELSEWHERE, [RuntimePart("core", OTHER)]))
    assert casemate("build", folder).code == 0
    return f"{ELSEWHERE} has no line for javascript"


def an_image_of_another_lock(folder: Path, casemate: Casemate) -> str:
    assert casemate("build", folder).code == 0
    write_lock(folder, read_lock(folder).accepting(HERE, [RuntimePart("core", OTHER)]))
    return "hello.sgxs beside it was built with another lock"


@pytest.mark.parametrize(
    "spoil", [one_of_another_core, none_at_all, a_platform_without_an_engine, an_image_of_another_lock]
)
def test_check_fails_and_says_why(casemate: Casemate, hello: Path, spoil: Callable[[Path, Casemate], str]) -> None:
    reason = spoil(hello, casemate)
    said = casemate("lock", "check", hello, "--json")
    assert said.code == 1
    assert said.json["accepted"] is False
    assert any(reason in problem for problem in said.json["locks"][0]["problems"])
    assert reason.partition(" ")[0] in casemate("lock", "check", hello).out


def test_one_folder_of_several_that_is_not_accepted_fails_them_all(
    casemate: Casemate, hello: Path, python: Path
) -> None:
    assert casemate("lock", "add", hello).code == 0
    assert casemate("lock", "check", hello).code == 0
    said = casemate("lock", "check", hello, python, "--json")
    assert said.code == 1
    assert [bool(of["problems"]) for of in said.json["locks"]] == [False, True]


def test_show_names_this_computers_runtime_and_what_a_lock_holds(casemate: Casemate, hello: Path) -> None:
    parts = [*FAKE_RUNTIME[:2], RuntimePart("python", OTHER)]
    write_lock(hello, RuntimeLock().with_runtime(HERE, parts))
    said = casemate("lock", "show", hello)
    assert said.code == 0
    assert FAKE_DIGEST.hex() in said.out
    assert "unused: not javascript" in said.out
    records = casemate("lock", "show", hello, "--json").json["locks"][0]["records"]
    assert [(record["component"], record["used"], record["known_as"]) for record in records] == [
        ("core", True, "this computer"),
        ("javascript", True, "this computer"),
        ("python", False, ""),
    ]


@pytest.mark.parametrize("words", [("show",), ("check",), ("add",), ("drop",)])
@pytest.mark.parametrize("what", ["no folder", "empty folder", "broken lock"])
def test_what_has_no_lock_is_refused(
    casemate: Casemate, hello: Path, tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    target = tmp_path / "there"
    if what == "empty folder":
        target.mkdir()
    elif what == "broken lock":
        target = hello
        (hello / "casemate.lock").write_text("<<<<<<< HEAD\n")
    said = casemate("lock", *words, target, *([HERE] if words == ("drop",) else []), "--json")
    assert said.code == 5
    assert said.error["message"]


def changed(document: dict[str, Any], *path: str, to: object = None) -> str:
    """The document with one member replaced, or taken out."""
    inner: Any = document
    for name in path[:-1]:
        inner = inner[name]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("runtime",), None),
        (("runtime",), []),
        (("more",), 1),
        (("runtime", "more"), 1),
        (("runtime", "platform"), None),
        (("runtime", "platform"), "linux"),
        (("runtime", "platform"), 5),
        (("runtime", "parts"), None),
        (("runtime", "parts"), ["core"]),
        (("runtime", "parts", "core"), "00"),
        (("runtime", "parts", "core"), "zz" * 32),
        (("runtime", "parts", "core"), None),
        (("runtime", "parts", "javascript"), None),
        (("runtime", "parts", "Evil\n"), "00" * 32),
        (("runtime", "core_groups"), "x"),
        (("locks",), None),
        (("locks",), "x"),
    ],
)
def test_a_file_that_is_not_what_show_prints_is_refused(
    casemate: Casemate, hello: Path, colleague: Path, path: tuple[str, ...], to: object
) -> None:
    colleague.write_text(changed(json.loads(colleague.read_text()), *path, to=to))
    said = casemate("lock", "add", hello, "--from", colleague, "--json")
    assert said.code == 5
    assert not (hello / "casemate.lock").exists()


Wrong = Callable[[Casemate, Path, Path], bytes]
"""Makes the content of a file that tells of no runtime, of a folder to build and what a colleague's computer told."""


def of_a_failed_command(casemate: Casemate, folder: Path, _: Path) -> bytes:
    return casemate("lock", "show", folder / "nowhere", "--json").out.encode()


def without_json(casemate: Casemate, _: Path, __: Path) -> bytes:
    return casemate("lock", "show").out.encode()


def of_another_command(casemate: Casemate, _: Path, __: Path) -> bytes:
    return casemate("version", "--json").out.encode()


def the_lock_itself(casemate: Casemate, folder: Path, _: Path) -> bytes:
    assert casemate("build", folder).code == 0
    return (folder / "casemate.lock").read_bytes()


def told_twice_over(_: Casemate, __: Path, colleague: Path) -> bytes:
    return colleague.read_bytes() * 2


def one_digest_twice(_: Casemate, __: Path, colleague: Path) -> bytes:
    again = f'"parts": {{"core": "{OTHER.hex()}", '
    return colleague.read_text().replace('"parts": {', again, 1).encode()


def of_another_version(_: Casemate, __: Path, colleague: Path) -> bytes:
    told = json.loads(colleague.read_text())
    return json.dumps({"locks": [], "runtime": {"casemate": "9.9.9", "engines": told["runtime"]["parts"]}}).encode()


SHOW = "have `casemate lock show --json > FILE` run on the other computer, and give its FILE with --from"


@pytest.mark.parametrize(
    ("wrong", "got", "following"),
    [
        (
            lambda *_: b"",
            "got an empty file, want a runtime, as `casemate lock show",
            "run that again",
        ),
        (lambda *_: b"\xff\x00", "text that is no Unicode, the format wants JSON", SHOW),
        (lambda *_: b"[" * 100_000, "deeper nesting", SHOW),
        (lambda *_: b"{}", "got JSON of another kind, want a runtime", SHOW),
        (of_a_failed_command, "got the error that a command printed", SHOW),
        (without_json, "no JSON from character 0, the format wants JSON", SHOW),
        (of_another_command, "got JSON of another kind, want a runtime", SHOW),
        (the_lock_itself, "got a runtime lock (casemate.lock), want a runtime", SHOW),
        (told_twice_over, "the format wants JSON", SHOW),
        (one_digest_twice, "the same name twice", SHOW),
        (of_another_version, "'engines', the format wants only", f"9.9.9 there and {version('casemate')} here"),
    ],
)
def test_what_tells_of_no_runtime_is_called_what_it_is_and_what_to_ask_for_works(
    casemate: Casemate, hello: Path, tmp_path: Path, colleague: Path, wrong: Wrong, got: str, following: str
) -> None:
    given = tmp_path / "given.json"
    given.write_bytes(wrong(casemate, hello, colleague))
    before = sorted(hello.iterdir())
    said = casemate("lock", "add", hello, "--from", given, "--json")
    assert said.code == 5
    assert got in said.error["message"]
    assert str(given) in said.error["message"]
    assert following in said.error["next"]
    assert said.error["next"].endswith(SHOW)
    assert sorted(hello.iterdir()) == before
    given.write_bytes(colleague.read_bytes())
    assert casemate("lock", "add", hello, "--from", given, "--from", given).code == 0
    assert ("core", ELSEWHERE, OTHER) in lines(hello)


@pytest.mark.parametrize("there", ["no such file", "a folder"])
def test_a_colleagues_file_that_cannot_be_read_is_named(
    casemate: Casemate, hello: Path, tmp_path: Path, there: str
) -> None:
    given = tmp_path / "given"
    if there == "a folder":
        given.mkdir()
    said = casemate("lock", "add", hello, "--from", given, "--json")
    assert said.code == 5
    assert str(given) in said.error["message"]


def test_a_runtime_without_the_folders_engine_says_what_to_do_there(
    casemate: Casemate, python: Path, colleague: Path
) -> None:
    told = json.loads(colleague.read_text())
    del told["runtime"]["parts"]["python"]
    colleague.write_text(json.dumps(told))
    said = casemate("lock", "add", python, "--from", colleague, "--json")
    assert said.code == 5
    assert "the folder wants core and python" in said.error["message"]
    assert "`casemate doctor` there" in said.error["next"]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_runtime_or_a_typed_refusal(data: bytes) -> None:
    with pytest.raises(WireError):
        parse_told("runtime", data)
