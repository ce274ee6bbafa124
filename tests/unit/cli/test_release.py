import json
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate

from casemate.client.release_lists import check_signature
from casemate.wire.protocol.caller_key import parse_caller_key
from casemate.wire.protocol.release_list import ReleaseList


@pytest.fixture
def built(casemate: Casemate, hello: Path, tmp_path: Path) -> Path:
    """An image, in the current place of a user with an owner's key."""
    assert casemate("build", hello).code == 0
    assert casemate("keygen", tmp_path / "owner.pem").code == 0
    return hello / "hello.sgxs"


def test_a_list_grows_and_takes_back_and_its_version_rises(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    place = tmp_path / "hello.json"
    signing = ["release", "--list", place, "--key", tmp_path / "owner.pem", "--json"]
    first = casemate(*signing, built).json
    assert (first["name"], first["version"], len(first["releases"])) == ("hello", 1, 1)
    main = built.parent / "guest" / "main.js"
    main.write_text(f"{main.read_text()}// another\n")
    second = casemate(*signing, built.parent).json
    assert (second["version"], len(second["releases"])) == (2, 2)
    found = ReleaseList.parse(place.read_bytes())
    check_signature(found, parse_caller_key("owner", first["owner"]))
    assert [each.mr_enclave.hex() for each in found.releases] == [each["mr_enclave"] for each in second["releases"]]
    assert casemate(*signing, built, "--only").json["releases"] == first["releases"]
    assert casemate(*signing, "--only").json["releases"] == []
    assert ReleaseList.parse(place.read_bytes()).version == 4


def test_a_list_is_explained(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    place = tmp_path / "hello.json"
    made = casemate("release", built, "--list", place, "--key", tmp_path / "owner.pem", "--json").json
    said = casemate("inspect", place, "--json").json
    assert said["kind"] == "releases"
    assert said["facts"] == {"function": "hello", "version": "1", "releases": "1"}
    named = {field["name"]: field["meaning"] for field in said["fields"]}
    assert named["releases[0].mr_enclave"] == made["releases"][0]["mr_enclave"]


def test_the_line_that_it_prints_stands_in_a_policy(casemate: Casemate, built: Path, tmp_path: Path) -> None:
    said = casemate("release", built, "--list", tmp_path / "hello.json", "--key", tmp_path / "owner.pem")
    (line,) = [each for each in said.out.splitlines() if each.startswith("policy")]
    assert 'mr_enclave = { releases = "hello.json", owner = "ed25519:' in line


def test_what_would_spoil_a_list_is_refused_and_changes_nothing(
    casemate: Casemate, built: Path, tmp_path: Path
) -> None:
    place = tmp_path / "hello.json"
    mine = ["--list", place, "--key", tmp_path / "owner.pem", "--json"]
    assert casemate("release", *mine[:-1]).code == 2  # neither images nor --only
    casemate("release", built, *mine)
    before = place.read_bytes()
    casemate("keygen", tmp_path / "thief.pem")
    refused = casemate("release", built, "--list", place, "--key", tmp_path / "thief.pem", "--json")
    assert (refused.code, refused.error["rule"]) == (3, "releases.signature")
    assert casemate("release", built, "--name", "other", *mine[:-1]).code == 2
    assert place.read_bytes() == before
    place.write_text(json.dumps({"format": "casemate-releases-1"}))
    assert casemate("release", built, *mine).code == 5
