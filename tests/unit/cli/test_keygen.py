from pathlib import Path

from tests.rigs.command_line import Casemate

from casemate.client.caller_keys import read_caller_key


def test_makes_a_key_that_a_manifest_can_name(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    said = casemate("keygen", path, "--json")
    assert said.code == 0
    assert said.json["manifest_value"] == read_caller_key(path).manifest_value
    assert said.json["manifest_value"].startswith("ed25519:")
    assert path.stat().st_mode & 0o777 == 0o600


def test_shows_the_manifest_line_and_no_secret(casemate: Casemate, tmp_path: Path) -> None:
    said = casemate("keygen", tmp_path / "alice.pem")
    assert 'NAME = "ed25519:' in said.out
    assert "PRIVATE" not in said.out + said.err


def test_never_overwrites(casemate: Casemate, tmp_path: Path) -> None:
    path = tmp_path / "alice.pem"
    path.write_text("precious")
    said = casemate("keygen", path, "--json")
    assert said.code == 5
    assert path.read_text() == "precious"


def test_refuses_a_folder_that_is_not_there(casemate: Casemate, tmp_path: Path) -> None:
    assert casemate("keygen", tmp_path / "missing" / "alice.pem").code == 5
