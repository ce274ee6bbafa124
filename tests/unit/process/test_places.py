import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.two_users import ATTACKER, VICTIM, shared_folder, two_users, user

from casemate.client.local import NoMachineError, running_machine
from casemate.process import places
from casemate.process.ownership import PlaceError, connected
from casemate.process.places import (
    control_socket,
    host_socket,
    leads_to_another_user,
    leave_places,
    listen_for_clients,
    listen_for_owner,
)

LONG = "a-path-that-is-too-long-for-a-unix-socket" * 3


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder for temporary files, and no other place for sockets."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as folder:
        monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
        monkeypatch.setattr(places, "_LAST_RESORT", Path(folder))
        yield Path(folder)


def test_sockets_lie_in_the_state_directory(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cm-") as folder, listen_for_owner(Path(folder)):
        assert control_socket(Path(folder)) == Path(folder) / "control.sock"
        assert stat.S_IMODE((Path(folder) / "control.sock").stat().st_mode) == 0o600
    assert control_socket(tmp_path) == tmp_path / "control.sock"


def test_a_long_path_has_its_sockets_in_a_short_folder_that_everybody_finds(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / LONG
    with listen_for_owner(state), listen_for_clients(state, backlog=1):
        assert control_socket(state).parent == temporary / f"casemate-{os.geteuid()}"
        assert control_socket(state) != host_socket(state)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: "/somewhere/else")
        connected(control_socket(state)).close()
        connected(host_socket(state)).close()


def test_a_runtime_directory_of_the_users_is_taken_first(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary))
    with listen_for_owner(tmp_path / LONG):
        assert control_socket(tmp_path / LONG).parent == temporary / "casemate"


def test_a_long_folder_for_temporary_files_is_passed_by(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / LONG))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / LONG))
    with listen_for_owner(tmp_path / LONG / "state"):
        assert control_socket(tmp_path / LONG / "state").parent.parent == temporary


def test_without_any_place_the_error_says_what_was_tried(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / LONG))
    monkeypatch.setattr(places, "_LAST_RESORT", temporary / LONG)
    with pytest.raises(PlaceError, match=r"longer than 100 bytes, and there is no other place: .*is too long, too"):
        listen_for_owner(tmp_path / LONG / "state")


def test_the_folder_of_the_last_time_is_taken_again(tmp_path: Path, temporary: Path) -> None:
    with listen_for_owner(tmp_path / LONG):
        first = control_socket(tmp_path / LONG)
    (temporary / "casemate").mkdir(mode=0o700)
    with listen_for_owner(tmp_path / LONG):
        assert control_socket(tmp_path / LONG) == first


def test_folders_that_nobody_can_guess_go_with_the_machine(tmp_path: Path, temporary: Path) -> None:
    usual = temporary / f"casemate-{os.geteuid()}"
    usual.mkdir()
    usual.chmod(0o777)  # as good as another user's
    with listen_for_owner(tmp_path / LONG), listen_for_clients(tmp_path / LONG, backlog=1):
        assert not leads_to_another_user(tmp_path / LONG)
        assert len(list(temporary.iterdir())) == 3
    leave_places(tmp_path / LONG)
    assert list(temporary.iterdir()) == [usual]
    assert not os.path.lexists(tmp_path / LONG / "control.sock")
    leave_places(tmp_path / LONG)


def test_folders_that_other_machines_use_too_and_their_files_stay(tmp_path: Path, temporary: Path) -> None:
    with listen_for_owner(tmp_path / LONG):
        place = control_socket(tmp_path / LONG)
    leave_places(tmp_path / LONG)
    assert control_socket(tmp_path / LONG) == place
    other = temporary / f"casemate-{os.geteuid()}-0"
    other.mkdir(mode=0o700)
    (other / "precious").touch()
    (tmp_path / LONG / "control.sock").unlink()
    (tmp_path / LONG / "control.sock").symlink_to(other / "precious")
    leave_places(tmp_path / LONG)
    assert (other / "precious").exists()


@two_users
class TestTwoUsers:
    @pytest.fixture
    def shared(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        with shared_folder() as folder:
            monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
            monkeypatch.setattr(places, "_LAST_RESORT", folder)
            yield folder

    def test_who_takes_the_short_folder_first_keeps_nobody_from_starting(self, shared: Path) -> None:
        with user(ATTACKER):
            (shared / f"casemate-{VICTIM}").mkdir(mode=0o777)
        with user(VICTIM):
            state = shared / "state"
            with listen_for_owner(state / LONG):
                place = control_socket(state / LONG)
                assert place.parent.name.startswith(f"casemate-{VICTIM}-")
                connected(place).close()

    def test_a_socket_in_the_place_of_ones_own_is_not_connected_to(self, shared: Path) -> None:
        with user(VICTIM), listen_for_owner(shared / "state" / LONG):
            place = control_socket(shared / "state" / LONG)
        place.unlink()
        os.chown(place.parent, ATTACKER, ATTACKER)  # as after a restart, where the attacker was faster
        with socket.socket(socket.AF_UNIX) as listener:
            with user(ATTACKER):
                listener.bind(str(place))
                listener.listen()
                place.chmod(0o666)
                place.parent.chmod(0o755)
            with user(VICTIM), pytest.raises(PlaceError, match=f"user {ATTACKER}'s"):
                connected(control_socket(shared / "state" / LONG))

    def test_after_a_restart_a_folder_that_is_another_users_is_no_machine(self, shared: Path) -> None:
        state = shared / "state" / LONG
        with user(VICTIM), listen_for_owner(state):
            place = control_socket(state)
        place.unlink()
        place.parent.rmdir()
        with user(VICTIM), pytest.raises(NoMachineError, match="no machine runs on"):
            running_machine(state)
        with user(ATTACKER):
            place.parent.mkdir(mode=0o755)
        with socket.socket(socket.AF_UNIX) as listener:
            with user(ATTACKER):
                listener.bind(str(place))
                listener.listen()
                place.chmod(0o666)
            listener.settimeout(0)
            with user(VICTIM):
                assert leads_to_another_user(state)
                with pytest.raises(NoMachineError, match="no machine runs on"):
                    running_machine(state)
                with listen_for_owner(state):
                    assert not leads_to_another_user(state)
                    assert control_socket(state).parent != place.parent
            with pytest.raises(BlockingIOError):  # nobody has connected
                listener.accept()
