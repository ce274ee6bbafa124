import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from tests.rigs.sandbox_children import Run, run_child

from casemate.sandbox.errors import UnavailableError
from casemate.sandbox.landlock import CHANGE, READ, Access, PathRule, landlock_abi, restrict_paths
from casemate.sandbox.privileges import refuse_new_privileges


def _abi() -> int:
    try:
        return landlock_abi()
    except UnavailableError:
        return 0


pytestmark = pytest.mark.skipif(_abi() == 0, reason="this kernel has no Landlock")


def attempt(*rules: PathRule, network: bool = False) -> None:
    refuse_new_privileges()
    restrict_paths(rules, network=network)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in (tmp_path, *tmp_path.parents[:3]):
        if place.stat().st_uid == os.getuid() and place != Path("/tmp"):
            place.chmod(0o755)
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "file").write_text("content")
    (tmp_path / "open" / "file").chmod(0o666)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o666)
    return tmp_path


def test_nothing_is_left_without_rules(child: Run, folder: Path) -> None:
    def body() -> str:
        attempt()
        return (folder / "secret").read_text()

    assert child(body).said.startswith("PermissionError")


def test_a_folder_that_is_left_can_be_read_and_not_changed(child: Run, folder: Path) -> None:
    def body() -> str:
        attempt(PathRule(str(folder / "open"), READ))
        read = (folder / "open" / "file").read_text()
        try:
            (folder / "open" / "file").write_text("x")
        except PermissionError:
            return read + ", unchanged"
        return read

    assert child(body).said == "content, unchanged"


def test_a_folder_that_may_change_can(child: Run, folder: Path) -> None:
    def body() -> str:
        attempt(PathRule(str(folder / "open"), CHANGE))
        (folder / "open" / "new").write_text("new")
        (folder / "open" / "new").rename(folder / "open" / "newer")
        (folder / "open" / "newer").unlink()
        os.truncate(folder / "open" / "file", 0)
        return "changed"

    assert child(body).said == "changed"


def test_a_rule_for_a_file_leaves_its_neighbours_closed(child: Run, folder: Path) -> None:
    def body() -> str:
        attempt(PathRule(str(folder / "open" / "file"), Access.READ_FILE | Access.READ_DIR))
        read = (folder / "open" / "file").read_text()
        (folder / "secret").read_text()
        return read

    assert child(body).said.startswith("PermissionError")


def test_a_rule_for_nothing_is_passed_over(child: Run, folder: Path) -> None:
    assert child(lambda: attempt(PathRule(str(folder / "none"), READ))).said == "None"


def test_programs_cannot_be_started(child: Run) -> None:
    def body() -> None:
        attempt(PathRule("/", READ))
        os.execv("/bin/true", ["true"])  # noqa: S606 - it is refused

    assert child(body).said.startswith("PermissionError")


@pytest.mark.skipif(_abi() < 4, reason="this kernel's Landlock knows no network")
def test_tcp_is_denied(child: Run) -> None:
    def body() -> None:
        attempt()
        with socket.socket() as sock:
            sock.connect(("127.0.0.1", 9))

    assert child(body).said.startswith("PermissionError")


@pytest.mark.skipif(_abi() < 6, reason="this kernel's Landlock knows no signals")
def test_a_parent_of_the_same_user_cannot_be_signalled() -> None:
    def body() -> None:
        attempt()
        os.kill(os.getppid(), signal.SIGCONT)

    assert run_child(body).said.startswith("PermissionError")


@pytest.mark.skipif(_abi() < 6, reason="this kernel's Landlock knows no abstract sockets")
def test_abstract_sockets_outside_are_out_of_reach() -> None:
    name = f"\0casemate-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()

        def body() -> None:
            attempt()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(name)

        assert run_child(body).said.startswith("PermissionError")


def test_says_that_it_is_unavailable_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from casemate.sandbox import linux

    linux._libc.cache_clear()
    monkeypatch.setattr(linux, "IS_LINUX", False)
    with pytest.raises(UnavailableError, match=sys.platform):
        landlock_abi()
    linux._libc.cache_clear()
