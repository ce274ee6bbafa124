import os
import shlex
from pathlib import Path

import pytest
from tests.rigs.command_line import FAKE_DIGEST, FAKE_RUNTIME, Casemate

from casemate.cli.images import developer_key, lock
from casemate.cli.output import Screen
from casemate.images.image import read_image
from casemate.images.lock import read_lock, this_platform, write_lock
from casemate.wire.protocol.runtime_lock import RuntimePart


def test_init_writes_a_starter_that_builds(casemate: Casemate, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert casemate("init", folder, "--name", "other").code == 0
    said = casemate("build", folder, "--json")
    assert said.code == 0
    assert said.json["name"] == "other"


def test_init_overwrites_nothing(casemate: Casemate, hello: Path) -> None:
    said = casemate("init", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "FolderError"


def test_init_refuses_a_name_that_no_manifest_takes(casemate: Casemate, tmp_path: Path) -> None:
    said = casemate("init", tmp_path / "new", "--name", "No Name")
    assert said.code == 5
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("source", ["export const rate = <b/>;", "let a;\nlet a;\nexport function rate() {}"])
def test_build_refuses_code_that_the_engine_could_not_load(casemate: Casemate, hello: Path, source: str) -> None:
    (hello / "guest/main.js").write_text(source)
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "SourceError"
    assert said.error["path"] == "guest/main.js"
    assert not list(hello.glob("*.sgxs"))


def test_build_says_of_an_ocall_that_no_casemate_host_answers_it(casemate: Casemate, hello: Path) -> None:
    manifest = hello / "casemate.toml"
    manifest.write_text(manifest.read_text() + '\n[ocall.now]\ninput = { type = "null" }\noutput = {}\n')
    said = casemate("build", hello)
    assert said.code == 0
    assert (
        "OCALL now: Casemate's own hosts answer echo, log, time, and what `casemate up --ocalls FILE` adds"
        in said.out + said.err
    )


def test_build_writes_both_files_and_a_lock(casemate: Casemate, hello: Path) -> None:
    said = casemate("build", hello, "--json")
    assert said.code == 0
    image = read_image(hello)
    assert said.json["mr_enclave"] == image.mr_enclave.hex()
    assert said.json["mr_signer"] == image.mr_signer.hex()
    assert read_lock(hello).digests("core", this_platform()) == (FAKE_DIGEST,)


def test_build_says_what_it_does_for_the_first_time(casemate: Casemate, hello: Path, tmp_path: Path) -> None:
    key = tmp_path / "config" / "casemate" / "developer.pem"
    key.unlink()
    said = casemate("build", hello)
    assert str(key) in said.err
    assert "today, UTC" in said.out
    assert key.stat().st_mode & 0o777 == 0o600
    assert str(key) not in casemate("build", hello).err


def test_build_is_reproducible(
    casemate: Casemate, hello: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    for name in ("one", "two"):
        assert casemate("build", hello, "-o", tmp_path / name, "--json").json["build_date"] == "1970-01-02"
    one, two = (read_image(tmp_path / name / "hello") for name in ("one", "two"))
    assert (one.sgxs, one.sigstruct) == (two.sgxs, two.sigstruct)


@pytest.mark.parametrize("epoch", ["", "yesterday", "-1", "1e9", "٣", "9" * 40])
def test_build_refuses_a_time_that_is_none(
    casemate: Casemate, hello: Path, monkeypatch: pytest.MonkeyPatch, epoch: str
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "BuildTimeError"


def test_a_stale_lock_says_relock_and_stays(casemate: Casemate, hello: Path) -> None:
    stale = read_lock(hello).with_runtime(this_platform(), [RuntimePart("core", bytes(32))])
    write_lock(hello, stale)
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "StaleLockError"
    assert "casemate build --relock" in said.error["next"]
    assert read_lock(hello) == stale
    assert casemate("build", hello, "--relock").code == 0
    assert read_lock(hello).digests("core", this_platform()) == (FAKE_DIGEST,)


def test_a_lock_of_other_platforms_is_not_added_to_unasked(casemate: Casemate, hello: Path) -> None:
    write_lock(hello, read_lock(hello).with_runtime("plan9-mips-cp399", [RuntimePart("core", bytes(32))]))
    assert casemate("build", hello).code == 5
    assert casemate("build", hello, "--relock").code == 0
    assert read_lock(hello).digests("core", "plan9-mips-cp399") == (bytes(32),)


def test_the_lock_names_the_core_and_the_images_own_engine_alone(casemate: Casemate, hello: Path) -> None:
    assert casemate("build", hello).code == 0
    assert {record.component for record in read_lock(hello).records} == {"core", "javascript"}


@pytest.mark.parametrize("more", [(), FAKE_RUNTIME[:2]])
def test_relock_replaces_what_this_platform_accepts(
    casemate: Casemate, hello: Path, more: tuple[RuntimePart, ...]
) -> None:
    several = [*(RuntimePart("core", bytes([number]) * 32) for number in range(3)), *more]
    write_lock(hello, read_lock(hello).with_runtime(this_platform(), several))
    assert casemate("build", hello, "--relock").code == 0
    assert read_lock(hello).digests("core", this_platform()) == (FAKE_DIGEST,)


def test_a_lock_of_several_digests_is_good_where_this_runtime_is_among_them(casemate: Casemate, hello: Path) -> None:
    several = [RuntimePart("core", bytes(32)), *FAKE_RUNTIME[:2]]
    write_lock(hello, read_lock(hello).with_runtime(this_platform(), several))
    before = (hello / "casemate.lock").read_bytes()
    assert casemate("build", hello).code == 0
    assert (hello / "casemate.lock").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f'[runtime]\nlinux-x86_64-cp311 = "{"ab" * 32}"\n', "the TOML that earlier versions of Casemate wrote"),
        ("<<<<<<< HEAD\n", "not a runtime lock"),
        ("", "not a runtime lock"),
    ],
)
def test_a_lock_of_another_format_says_relock_and_relock_works(
    casemate: Casemate, hello: Path, text: str, what: str
) -> None:
    (hello / "casemate.lock").write_text(text)
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "RuntimeLockError"
    assert said.error["got"] == what
    assert "`casemate build --relock DIR`" in said.error["message"]
    assert "`casemate build --relock DIR`" in said.error["next"]
    assert (hello / "casemate.lock").read_text() == text
    again = casemate("build", hello, "--relock")
    assert again.code == 0
    assert what in again.err
    assert casemate("build", hello).code == 0


def test_a_broken_manifest_names_its_key(casemate: Casemate, hello: Path) -> None:
    manifest = hello / "casemate.toml"
    manifest.write_text(manifest.read_text().replace("time_ms", "time_s"))
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["kind"] == "UnknownKeyError"
    assert said.error["key"] == "limits.'time_s'"
    assert said.error["want"] == "one of memory_mib, time_ms, output_kib, concurrent, guests"
    assert said.error["next"] == "did you mean 'time_ms'? Correct that key in casemate.toml"


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("Time-MS", "did you mean 'time_ms'? Correct that key in casemate.toml"),
        ("duration", "correct that key in casemate.toml"),
    ],
)
def test_a_key_is_suggested_where_it_resembles_the_written_one(
    casemate: Casemate, hello: Path, written: str, advice: str
) -> None:
    manifest = hello / "casemate.toml"
    manifest.write_text(manifest.read_text().replace("time_ms", written))
    said = casemate("build", hello, "--json")
    assert said.error["key"] == f"limits.'{written}'"
    assert said.error["next"] == advice


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ('engine = "javascript"', "add engine = ... to [enclave] of casemate.toml"),
        ("[limits] # of one call\nmemory_mib = 64\ntime_ms = 2000\noutput_kib = 64\n", "add [limits] to casemate.toml"),
    ],
)
def test_what_a_manifest_lacks_is_to_be_added(casemate: Casemate, hello: Path, line: str, advice: str) -> None:
    manifest = hello / "casemate.toml"
    whole = manifest.read_text()
    assert line in whole
    manifest.write_text(whole.replace(line, ""))
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["next"] == advice


def test_an_entry_point_that_is_not_there_is_to_be_written(casemate: Casemate, hello: Path) -> None:
    main = hello / "guest" / "main.js"
    whole = main.read_text()
    main.write_text(whole.replace("export function rate", "function rate"))
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["next"].startswith("write `export function rate(input, context)` there, or")
    main.write_text(whole)
    assert casemate("build", hello).code == 0


@pytest.mark.parametrize("content", [b"", b"\x00\xff" * 100, b"[enclave", b"a = " + b"[" * 5000])
def test_junk_for_a_manifest_is_refused(casemate: Casemate, hello: Path, content: bytes) -> None:
    (hello / "casemate.toml").write_bytes(content)
    assert casemate("build", hello).code == 5


def test_source_errors_name_file_and_line(casemate: Casemate, hello: Path) -> None:
    (hello / "guest" / "main.js").write_text('export const rate = 1;\nimport "https://example.com/x.js";\n')
    said = casemate("build", hello, "--json")
    assert said.code == 5
    assert said.error["path"] == "guest/main.js"
    assert said.error["line"] == "2"


def test_a_source_error_shows_the_line_with_a_caret_below_the_place(casemate: Casemate, hello: Path) -> None:
    (hello / "guest" / "main.js").write_text('export const rate = 1;\nimport   "https://example.com/x.js";\n')
    shown = casemate("build", hello).err.splitlines()
    at = next(number for number, line in enumerate(shown) if line.startswith("error: guest/main.js:2:10: "))
    assert shown[at + 1] == '       import   "https://example.com/x.js";'
    assert shown[at + 2] == "                ^"
    said = casemate("build", hello, "--json").error
    assert (said["path"], said["line"], said["column"]) == ("guest/main.js", "2", "10")
    assert said["excerpt"] == 'import   "https://example.com/x.js";\n         ^'


def test_what_the_engine_refuses_is_shown_likewise(casemate: Casemate, hello: Path) -> None:
    (hello / "guest" / "main.js").write_text("export function rate() {}\n\tlet a; let a;\n")
    said = casemate("build", hello, "--json").error
    assert said["excerpt"] == " let a; let a;\n            ^"


PYTHON = """
[enclave]
name = "hello"
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


@pytest.fixture
def python(hello: Path) -> Path:
    """A folder of a function in Python."""
    for path in (hello / "guest").iterdir():
        path.unlink()
    (hello / "guest" / "main.py").write_text("def rate(input, context):\n    return None\n")
    (hello / "casemate.toml").write_text(PYTHON)
    return hello


def test_a_python_folder_is_built_and_its_lock_names_its_own_engine_alone(casemate: Casemate, python: Path) -> None:
    said = casemate("build", python, "--json")
    assert said.code == 0, said.error
    assert {record.component for record in read_lock(python).records} == {"core", "python"}
    contents = read_image(python).contents()
    assert contents.index.engine == "python"
    assert [module.path for module in contents.modules()] == ["guest/main.py"]
    assert casemate("build", python, "-o", python / "again", "--json").json["mr_enclave"] == said.json["mr_enclave"]


def test_build_refuses_python_that_can_never_be_loaded(casemate: Casemate, python: Path) -> None:
    (python / "guest" / "main.py").write_text("def rate(input, context):\n    import numpy\n")
    said = casemate("build", python, "--json")
    assert said.code == 5
    assert said.error["kind"] == "SourceError"
    assert (said.error["path"], said.error["line"], said.error["column"]) == ("guest/main.py", "2", "5")
    assert said.error["excerpt"] == "    import numpy\n    ^"
    assert not list(python.glob("*.sgxs"))


def test_build_runs_nothing_of_the_code(casemate: Casemate, python: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with (python / "guest" / "main.py").open("a") as main:
        main.write(f"open({str(trace)!r}, 'w')\nraise SystemExit\n")
    assert casemate("build", python).code == 0
    assert not trace.exists()


def test_build_says_where_the_lock_accepts_other_interpreters(casemate: Casemate, python: Path) -> None:
    assert "alone has compiled" not in casemate("build", python).err
    other = "linux-x86_64-cp399"
    parts = [RuntimePart("core", bytes(32)), RuntimePart("python", bytes(32))]
    write_lock(python, read_lock(python).with_runtime(other, parts))
    assert f"casemate.lock also accepts {other}" in casemate("build", python).err


def test_compiled_files_and_their_folders_are_not_measured(casemate: Casemate, python: Path) -> None:
    before = casemate("build", python, "--json").json["mr_enclave"]
    (python / "guest" / "__pycache__").mkdir()
    (python / "guest" / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"x")
    (python / "guest" / "main.pyc").write_bytes(b"x")
    assert casemate("build", python, "--json").json["mr_enclave"] == before


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_what_is_no_folder_is_refused(casemate: Casemate, tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    assert casemate("build", tmp_path / folder).code == 5


@pytest.mark.parametrize("content", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"])
def test_a_key_file_that_holds_no_key_is_refused(
    casemate: Casemate, hello: Path, tmp_path: Path, content: bytes
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(content)
    key.chmod(0o600)
    said = casemate("build", hello, "--key", key, "--json")
    assert said.code == 5
    assert said.error["kind"] == "KeyFileError"


def test_a_key_that_others_can_read_is_refused(casemate: Casemate, hello: Path, tmp_path: Path) -> None:
    key = tmp_path / "config" / "casemate" / "developer.pem"
    key.chmod(0o644)
    assert "chmod 600" in casemate("build", hello).err


def test_an_output_folder_that_cannot_be_is_refused(casemate: Casemate, hello: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert casemate("build", hello, "-o", tmp_path / "file").code == 5


@pytest.mark.usefixtures("not_root")
def test_a_folder_that_cannot_be_written_to_is_refused(casemate: Casemate, hello: Path) -> None:
    os.chmod(hello, 0o500)  # noqa: PTH101 - the test's own folder
    assert casemate("build", hello).code == 5


@pytest.mark.parametrize("name", ["My App", "my fünc", "it's", "-o", "a;b", "plain"])
def test_what_init_says_to_type_next_works_when_it_is_pasted(
    casemate: Casemate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = casemate("init", "--name", "app", "--", name)
    assert said.code == 0, said.err
    (line,) = (line for line in said.out.splitlines() if line.startswith("next"))
    _, command, *words = shlex.split(line.removeprefix("next"))
    assert command == "run"
    folder, option, given = words
    assert option == "--input"
    assert not folder.startswith("-")
    assert Path(folder).samefile(tmp_path / name)
    assert Path(given).is_file()


@pytest.mark.usefixtures("casemate")
def test_a_quiet_run_does_not_tell_of_the_lock_and_the_key_that_it_makes(hello: Path) -> None:
    for quiet in (True, False):
        screen = Screen(as_json=False, quiet=quiet)
        key = Path(os.environ["XDG_CONFIG_HOME"]) / "casemate" / "developer.pem"
        key.unlink(missing_ok=True)
        (hello / "casemate.lock").unlink(missing_ok=True)
        with screen.stderr.capture() as said:
            lock(hello, screen, relock=False)
            developer_key(None, screen)
        assert (said.get() == "") is quiet
