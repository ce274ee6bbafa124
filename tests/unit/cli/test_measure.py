from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from tests.rigs.command_line import Casemate

from casemate.images.functions.folder import measured_files
from casemate.images.functions.javascript.links import link_modules
from casemate.images.image import read_image
from casemate.images.layout import lay_out
from casemate.wire.protocol.image_index import MAGIC


@pytest.fixture
def built(casemate: Casemate, hello: Path) -> Path:
    assert casemate("build", hello).code == 0
    return hello


def test_measures_a_folder_as_the_image_that_it_becomes(casemate: Casemate, built: Path) -> None:
    image = casemate("measure", built / "hello.sgxs", "--json").json
    folder = casemate("measure", built, "--json").json
    assert folder == image
    assert image["mr_enclave"] == read_image(built).mr_enclave.hex()


def test_says_that_no_processor_would_launch_what_it_measures(casemate: Casemate, built: Path) -> None:
    image = read_image(built)
    assert "no processor" not in casemate("measure", built / "hello.sgxs").err
    signed = image.parse_sigstruct()
    amx = replace(signed, attributes=replace(signed.attributes, xfrm=0x6_02E7))
    (built / "hello.sigstruct").write_bytes(amx.encode())
    said = casemate("measure", built / "hello.sgxs")
    assert said.code == 0
    assert "no processor would launch it" in said.err
    assert "SSAFRAMESIZE 1" in said.err


def test_explains_which_page_came_from_which_file(casemate: Casemate, built: Path) -> None:
    ranges = casemate("measure", built, "--explain", "--json").json["page_ranges"]
    paths = [found["path"] for found in ranges]
    assert paths[0] == "(index)"
    assert {"casemate.toml", "casemate.lock", "guest/main.js", "schemas/rate.input.json"} <= set(paths)
    flags = {found["path"]: found["flags"] for found in ranges}
    assert "EXECUTE" in flags["guest/main.js"]
    assert "EXECUTE" not in flags["casemate.toml"]


def test_explains_to_a_person(casemate: Casemate, built: Path) -> None:
    said = casemate("measure", built, "--explain").out
    assert "guest/main.js" in said
    assert "READ|EXECUTE|REG" in said


GRANTS = """
[state]
policy = "mrsigner"
recovery = "never"
max_kib = 64

[errors]
budget-spent = "No more."
later = { reason = "Not yet.", details = { type = "object", properties = { until = { type = "string" } } } }

[receipt]
metrics = true

[monitor.ocalls]
most = 600
then = "slow"
"""
GRANTED = {
    "engine": "javascript, isolation caller",
    "permissions": "log, seal",
    "state": "64 KiB, mrsigner, recovery never",
    "OCALLs": "none",
    "entry points": "rate",
    "own errors": "too-short (with details), budget-spent, later (with details)",
    "receipts": "with what each call used",
    "monitor": "ocalls above 600: slow",
}


def test_what_a_manifest_grants_is_shown_with_the_image(casemate: Casemate, hello: Path) -> None:
    manifest = hello / "casemate.toml"
    text = manifest.read_text().replace("permissions = []", 'permissions = ["seal", "log"]')
    manifest.write_text(text + GRANTS)
    assert casemate("build", hello).code == 0
    assert casemate("measure", hello, "--explain", "--json").json["manifest"] == GRANTED
    shown = casemate("inspect", hello / "hello.sgxs", "--json").json["facts"]
    assert {name: shown.get(name) for name in GRANTED} == GRANTED


def test_a_function_that_is_granted_nothing_says_so(casemate: Casemate, hello: Path) -> None:
    manifest = hello / "casemate.toml"
    text = manifest.read_text()
    manifest.write_text(text[: text.index("[errors.too-short]")])  # behind it are comments alone
    assert casemate("build", hello).code == 0
    shown = casemate("measure", hello, "--explain", "--json").json["manifest"]
    assert [name for name, value in shown.items() if value == "none"] == [
        *("permissions", "state", "OCALLs", "own errors", "monitor"),
    ]


def test_a_folder_without_a_lock_says_what_to_do(casemate: Casemate, hello: Path) -> None:
    said = casemate("measure", hello, "--json")
    assert said.code == 5
    assert "casemate build" in said.error["message"]
    assert not (hello / "casemate.lock").exists()


def test_same_images_do_not_differ(casemate: Casemate, built: Path) -> None:
    said = casemate("diff", built, built / "hello.sgxs", "--json")
    assert said.code == 0
    assert said.json["same"] is True


def test_a_difference_is_named_down_to_the_manifest_key(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    copytree(built, other)
    manifest = other / "casemate.toml"
    manifest.write_text(manifest.read_text().replace("security_version = 1", "security_version = 7"))
    (other / "guest" / "main.js").write_text("// changed\n" + (other / "guest" / "main.js").read_text())
    said = casemate("diff", built, other, "--json")
    assert said.code == 1
    assert said.json["same"] is False
    where = {each["where"]: each for each in said.json["differences"]}
    assert where["casemate.toml: enclave.security_version"]["b"] == "7"
    assert where["casemate.toml: enclave.security_version"]["measured"] is True
    assert where["SIGSTRUCT isv_svn"]["measured"] is False
    assert "guest/main.js:1" in where
    assert "guest/main.js:1" in casemate("diff", built, other).out


@pytest.mark.parametrize("command", [("measure",), ("diff", "."), ("launch",), ("policy",)])
@pytest.mark.parametrize("name", ["missing", "missing.sgxs", "folder", "empty.sgxs", "junk.sgxs", "huge.sgxs"])
def test_what_is_no_image_is_refused(
    casemate: Casemate, built: Path, tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "folder").mkdir()
    for stem, content in (("empty", b""), ("junk", b"\x00junk" * 999), ("huge", b"")):
        (tmp_path / f"{stem}.sgxs").write_bytes(content)
        (tmp_path / f"{stem}.sigstruct").write_bytes((built / "hello.sigstruct").read_bytes())
    with (tmp_path / "huge.sgxs").open("wb") as file:
        file.truncate(1 << 30)
    arguments = [built if argument == "." else argument for argument in command]
    said = casemate(*arguments, tmp_path / name, "--json")
    assert said.code == 5
    assert said.error["exit_code"] == 5


def test_an_image_of_an_earlier_version_says_how_it_is_renewed(casemate: Casemate, built: Path) -> None:
    path = built / "hello.sgxs"
    stream = path.read_bytes()
    at = stream.index(MAGIC) + len(MAGIC)
    path.write_bytes(stream[:at] + b"\x01" + stream[at + 1 :])
    said = casemate("measure", path, "--explain", "--json")
    assert (said.code, said.error["kind"]) == (5, "OtherImageVersionError")
    assert "casemate build --relock DIR" in said.error["next"]


def test_a_lock_that_is_one_dotted_key_is_refused(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    files = measured_files(built) | {"casemate.lock": b"a." * 16_000 + b"a=1"}
    path = tmp_path / "hostile.sgxs"
    path.write_bytes(lay_out(files, link_modules(files).links, engine="javascript").encode())
    (tmp_path / "hostile.sigstruct").write_bytes((built / "hello.sigstruct").read_bytes())
    said = casemate("measure", path, "--explain", "--json")
    assert (said.code, said.error["kind"]) == (5, "RuntimeLockError")
