"""What a supervisor looks at before it makes or starts anything."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.two_users import ATTACKER, shared_folder, two_users, user


def refused(state: Path | str, *arguments: str) -> dict[str, str | None]:
    """What a supervisor says that does not start."""
    command = [sys.executable, "-I", "-m", "casemate.supervisor", "--state", os.fspath(state), *arguments]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    said: dict[str, str | None] = json.loads(done.stdout)
    return said


def test_a_folder_to_which_others_write_is_refused_and_left_empty(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    said = refused(tmp_path)
    assert (said["kind"], said["log"]) == ("PlaceError", None)
    assert "has mode 0777, others can write to it: chmod go-w" in str(said["error"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "words"), [("link", "link to nowhere, which is not there"), ("file", "is no folder")])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "file").write_bytes(b"")
    said = refused(tmp_path / name)
    assert words in str(said["error"])
    assert not (tmp_path / "nowhere").exists()


def test_a_path_that_is_not_utf_8_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    said = refused(f"{tmp_path}/bad\udcff")
    assert "is not UTF-8" in str(said["error"])
    assert not list(tmp_path.iterdir())


def test_a_port_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path / "state", "--token-digest", "00" * 32, "--port", port)
    assert (said["kind"], said["log"]) == ("PortError", None)
    assert not list(tmp_path.iterdir())


def test_a_link_in_the_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "somebodys").write_bytes(b"dear")
    for name in ("machine.lock", "machine.log"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(tmp_path / "somebodys")
        assert f"{name} is a link" in str(refused(tmp_path)["error"])
        (tmp_path / name).unlink()
    assert (tmp_path / "somebodys").read_bytes() == b"dear"


@two_users
class TestTwoUsers:
    @pytest.fixture
    def shared(self) -> Iterator[Path]:
        with shared_folder() as folder:
            yield folder

    def test_a_directory_that_another_user_has_made_is_refused_untouched(self, shared: Path) -> None:
        """Root's machine would else have the root certificate that was planted there."""
        for name in ("short", "long" * 30):
            with user(ATTACKER):
                (shared / name / "vendor").mkdir(parents=True, mode=0o700)
                (shared / name / "machine.log").symlink_to(shared / "roots")
            said = refused(shared / name)
            assert f"is there, and user {ATTACKER}'s" in str(said["error"])
            assert {path.name for path in (shared / name).iterdir()} == {"vendor", "machine.log"}
            assert not list((shared / name / "vendor").iterdir())
        assert not (shared / "roots").exists()

    def test_the_maker_looks_for_itself(self, shared: Path) -> None:
        with user(ATTACKER):
            (shared / "state" / "vendor").mkdir(parents=True)
        command = [sys.executable, "-I", "-m", "casemate.makers", "--state", str(shared / "state"), "init"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 1
        assert f"user {ATTACKER}'s".encode() in done.stderr
        assert not list((shared / "state" / "vendor").iterdir())
