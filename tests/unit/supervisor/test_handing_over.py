"""What unconfined processes put into the host's folder goes where it should, whatever a hostile host has put there."""

from pathlib import Path

import pytest

from casemate.cli.files import InputFileError
from casemate.cli.token_files import FILE, change_tokens, read_tokens
from casemate.process.places import host_directory
from casemate.supervisor.machine import _hand_over
from casemate.wire.protocol.access_tokens import AccessTokens


@pytest.fixture
def state(tmp_path: Path) -> Path:
    host_directory(tmp_path).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("planted", ["collateral.json", "collateral.new", "collateral.json.new"])
def test_a_link_in_the_way_is_not_followed(state: Path, planted: str) -> None:
    fuses = state / "fuses"
    fuses.write_bytes(b"secret")
    (host_directory(state) / planted).symlink_to(fuses)
    _hand_over(state, "collateral.json", b"{}")
    assert fuses.read_bytes() == b"secret"
    put = host_directory(state) / "collateral.json"
    assert not put.is_symlink()
    assert put.read_bytes() == b"{}"


def test_tokens_are_not_read_elsewhere(state: Path) -> None:
    fuses = state / "fuses"
    fuses.write_bytes(AccessTokens().encode())
    (host_directory(state) / FILE).symlink_to(fuses)
    with pytest.raises(InputFileError, match=r"tokens.json is a link"):
        change_tokens(state, lambda tokens: tokens, what="nothing")
    assert fuses.read_bytes() == AccessTokens().encode()


def test_tokens_are_not_written_elsewhere(state: Path) -> None:
    fuses = state / "fuses"
    fuses.write_bytes(AccessTokens().encode())
    (host_directory(state) / f"{FILE}.new").symlink_to(fuses)
    change_tokens(state, lambda tokens: tokens, what="nothing")
    assert fuses.read_bytes() == AccessTokens().encode()
    assert not (host_directory(state) / FILE).is_symlink()
    assert read_tokens(state) == AccessTokens()
