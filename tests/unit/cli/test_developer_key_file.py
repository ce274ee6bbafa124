import os
from pathlib import Path

import pytest

from casemate.cli.developer_key_file import default_key_path, load_key, load_or_create_key
from casemate.images.errors import KeyFileError
from casemate.images.keys import DeveloperKey


@pytest.fixture(scope="module")
def developer_key() -> DeveloperKey:
    return DeveloperKey.generate()


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "casemate" / "developer.pem"
    key = load_or_create_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert load_or_create_key(path).mr_signer() == load_key(path).mr_signer() == key.mr_signer()
    assert [entry.name for entry in path.parent.iterdir()] == ["developer.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o700 | 0o007])
def test_refuses_a_file_that_others_could_read_or_write(tmp_path: Path, developer_key: DeveloperKey, mode: int) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(developer_key.pem())
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create_key(path)


def test_refuses_a_path_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        load_key(tmp_path / "none.pem")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="cannot be"):
        load_or_create_key(tmp_path / "file" / "key.pem")


def test_a_key_that_another_process_made_meanwhile_is_taken(
    tmp_path: Path, developer_key: DeveloperKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.pem"
    other = DeveloperKey.generate()

    def slow() -> DeveloperKey:
        path.write_bytes(developer_key.pem())
        path.chmod(0o600)
        return other

    monkeypatch.setattr(DeveloperKey, "generate", slow)
    assert load_or_create_key(path).mr_signer() == developer_key.mr_signer()
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_the_users_key_lies_where_settings_do() -> None:
    assert default_key_path({"XDG_CONFIG_HOME": "/c"}) == Path("/c/casemate/developer.pem")
    assert default_key_path({}) == Path.home() / ".config/casemate/developer.pem"


def test_what_is_no_key_is_refused_with_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"nothing")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=f"{path}: the file holds no unencrypted private key"):
        load_key(path)


def test_a_pipe_into_which_nobody_writes_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyFileError, match=f"{path}: the file holds no"):
        load_or_create_key(path)
