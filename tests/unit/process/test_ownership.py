import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.two_users import ATTACKER, VICTIM, shared_folder, two_users, user

from casemate.process.ownership import (
    MAX_LINKS,
    PlaceError,
    check_own,
    check_own_folder,
    check_own_socket,
    check_peer,
    check_secret,
    check_way,
    make_own_folder,
    open_own_file,
    read_own_secret,
)

USER_ID = 1000


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


class TestOneUser:
    def test_makes_a_folder_and_those_above_it(self, tmp_path: Path) -> None:
        make_own_folder(tmp_path / "a" / "b")
        check_own_folder(tmp_path / "a" / "b", private=True)
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700

    def test_a_folder_to_which_others_write_is_refused_before_anything_is_made(self, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir(mode=0o700)
        (tmp_path / "open").chmod(0o777)
        with pytest.raises(PlaceError, match="open has mode 0777, others can write to it: chmod go-w "):
            make_own_folder(tmp_path / "open")
        with pytest.raises(PlaceError, match="open has mode 0777, others can put anything there: chmod go-w "):
            make_own_folder(tmp_path / "open" / "in" / "it")
        assert not list((tmp_path / "open").iterdir())

    def test_a_folder_that_others_read_is_refused_where_it_is_to_be_private(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        check_own_folder(tmp_path)
        with pytest.raises(PlaceError, match="mode 0755, others can look into it: chmod 700 "):
            check_own_folder(tmp_path, private=True)

    def test_everybodys_folder_is_good_on_the_way_alone(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        make_own_folder(tmp_path / "mine")
        with pytest.raises(PlaceError, match="it is everybody's; want a folder of its own"):
            check_own_folder(tmp_path)

    def test_own_links_are_followed_and_their_targets_looked_at(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        (tmp_path / "absolute").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "relative").symlink_to(Path("..") / tmp_path.name / "elsewhere")
        make_own_folder(tmp_path / "absolute" / "a")
        make_own_folder(tmp_path / "relative" / "b")
        assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"a", "b"}
        (tmp_path / "elsewhere").chmod(0o733)
        with pytest.raises(PlaceError, match="elsewhere has mode 0733"):
            check_way(tmp_path / "absolute" / "a")

    def test_a_link_to_nowhere_is_refused_and_its_target_not_made(self, tmp_path: Path) -> None:
        (tmp_path / "disk").symlink_to(tmp_path / "unmounted")
        for path in (tmp_path / "disk", tmp_path / "disk" / "state"):
            with pytest.raises(PlaceError, match=r"disk is a link to .*unmounted, which is not there"):
                make_own_folder(path)
        assert not (tmp_path / "unmounted").exists()

    def test_links_in_a_circle_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a").symlink_to(tmp_path / "b")
        (tmp_path / "b").symlink_to(tmp_path / "a")
        with pytest.raises(PlaceError, match=f"more than {MAX_LINKS} links"):
            check_way(tmp_path / "a" / "state")

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(PlaceError, match="file is no folder"):
            make_own_folder(tmp_path / "file")
        with pytest.raises(PlaceError, match="file is no folder"):
            make_own_folder(tmp_path / "file" / "state")

    @pytest.mark.parametrize(
        ("name", "words"), [("bad\udcff", "is not UTF-8"), ("bad\0", "no file can have this name")]
    )
    def test_a_name_that_messages_cannot_carry_is_refused(self, tmp_path: Path, name: str, words: str) -> None:
        with pytest.raises(PlaceError, match=words):
            make_own_folder(tmp_path / name)

    def test_a_file_is_made_for_its_owner_alone_and_cut_once_it_is_known(self, tmp_path: Path) -> None:
        path = tmp_path / "log"
        os.close(open_own_file(path, os.O_WRONLY | os.O_CREAT, private=True))
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_bytes(b"before")
        path.chmod(0o622)
        with pytest.raises(PlaceError, match="mode 0622, others can write to it: chmod go-w "):
            open_own_file(path, os.O_WRONLY | os.O_TRUNC)
        assert path.read_bytes() == b"before"

    def test_neither_links_nor_pipes_nor_folders_are_opened(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_bytes(b"")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        os.mkfifo(tmp_path / "pipe", 0o600)
        (tmp_path / "folder").mkdir()
        for name, words in (("link", "is a link"), ("pipe", "is no plain file"), ("folder", "is no plain file")):
            with pytest.raises(PlaceError, match=words):
                open_own_file(tmp_path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def test_a_secret_that_others_can_read_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        path.write_bytes(b"secret")
        path.chmod(0o640)
        with pytest.raises(PlaceError, match="mode 0640, others could read it: chmod 600 "):
            read_own_secret(path, 100)
        path.chmod(0o400)
        assert read_own_secret(path, 3) == b"sec"

    def test_a_secret_may_come_by_a_pipe_and_not_by_a_folder(self, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"secret")
        os.close(writing)
        assert read_own_secret(Path(f"/dev/fd/{reading}"), 100) == b"secret"
        os.close(reading)
        with pytest.raises((PlaceError, IsADirectoryError)):
            read_own_secret(tmp_path, 100)

    def test_only_a_socket_is_connected_to(self, tmp_path: Path) -> None:
        (tmp_path / "file.sock").write_bytes(b"")
        with pytest.raises(PlaceError, match="is no socket"):
            check_own_socket(tmp_path / "file.sock")
        with pytest.raises(FileNotFoundError):
            check_own_socket(tmp_path / "none.sock")


@two_users
class TestTwoUsers:
    def test_a_folder_of_another_user_is_refused(self, shared: Path) -> None:
        with user(ATTACKER):
            (shared / "state").mkdir(mode=0o700)
        for uid in (VICTIM, 0):  # root, too: what it finds there could be anything
            with user(uid), pytest.raises(PlaceError, match=f"state is there, and user {ATTACKER}'s"):
                make_own_folder(shared / "state")
            with user(uid), pytest.raises(PlaceError):
                make_own_folder(shared / "state" / "deeper")
        assert not list((shared / "state").iterdir())

    def test_a_folder_below_one_of_another_user_is_refused(self, shared: Path) -> None:
        shared.chmod(0o755)
        (shared / "theirs").mkdir()
        (shared / "theirs" / "mine").mkdir(mode=0o700)
        os.chown(shared / "theirs" / "mine", VICTIM, VICTIM)
        os.chown(shared / "theirs", ATTACKER, ATTACKER)
        with user(VICTIM), pytest.raises(PlaceError, match=f"theirs is of user {ATTACKER}, who can put anything there"):
            check_own_folder(shared / "theirs" / "mine")

    def test_a_folder_given_away_below_roots_is_not_this_users(self, shared: Path) -> None:
        shared.chmod(0o755)
        (shared / "state").mkdir(mode=0o700)
        os.chown(shared / "state", ATTACKER, ATTACKER)
        with (
            user(VICTIM),
            pytest.raises(PlaceError, match=rf"state is of user {ATTACKER}, want this user's \({VICTIM}\)"),
        ):
            check_own_folder(shared / "state")

    def test_a_link_of_another_user_is_not_followed(self, shared: Path) -> None:
        with user(VICTIM):
            (shared / "mine").mkdir(mode=0o700)
        with user(ATTACKER):
            (shared / "link").symlink_to(shared / "mine")
        with user(VICTIM), pytest.raises(PlaceError, match=f"link is a link, and user {ATTACKER}'s"):
            check_own_folder(shared / "link")

    def test_a_link_of_roots_is_followed(self, shared: Path) -> None:
        shared.chmod(0o755)
        (shared / "home").symlink_to("usr")
        (shared / "usr").mkdir()
        (shared / "usr" / "victim").mkdir(mode=0o700)
        os.chown(shared / "usr" / "victim", VICTIM, VICTIM)
        with user(VICTIM):
            make_own_folder(shared / "home" / "victim" / "state", private=True)

    def test_a_group_of_several_could_exchange_what_is_below(self, shared: Path) -> None:
        shared.chmod(0o775)
        os.chown(shared, 0, 50)
        with user(VICTIM), pytest.raises(PlaceError, match="has mode 0775, others can put anything there"):
            check_way(shared / "state")

    def test_a_file_of_another_user_is_not_opened(self, shared: Path) -> None:
        with user(VICTIM):
            (shared / "state").mkdir(mode=0o700)
        (shared / "state" / "machine.log").write_bytes(b"")
        os.chown(shared / "state" / "machine.log", ATTACKER, ATTACKER)
        (shared / "state" / "machine.log").chmod(0o666)
        with user(VICTIM), pytest.raises(PlaceError, match=f"machine.log is of user {ATTACKER}"):
            open_own_file(shared / "state" / "machine.log", os.O_WRONLY | os.O_APPEND)

    def test_a_secret_of_another_user_is_not_taken_for_ones_own(self, shared: Path) -> None:
        (shared / "key.pem").write_bytes(b"secret")
        (shared / "key.pem").chmod(0o600)
        os.chown(shared / "key.pem", ATTACKER, ATTACKER)
        with pytest.raises(PlaceError, match=f"key.pem is of user {ATTACKER}"):
            read_own_secret(shared / "key.pem", 100)

    def test_a_socket_of_another_user_is_not_connected_to(self, shared: Path) -> None:
        with user(ATTACKER):
            (shared / f"casemate-{VICTIM}").mkdir(mode=0o755)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(shared / f"casemate-{VICTIM}" / "control.sock"))
        with user(VICTIM), pytest.raises(PlaceError, match=f"and user {ATTACKER}'s"):
            check_own_socket(shared / f"casemate-{VICTIM}" / "control.sock")

    def test_a_peer_of_another_user_is_refused(self, shared: Path) -> None:
        path = shared / "sock"
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            with user(ATTACKER):
                listener.bind(str(path))
                listener.listen()
            path.chmod(0o777)
            with user(VICTIM):
                client.connect(str(path))
                with pytest.raises(PlaceError, match=f"who listens at .* is of user {ATTACKER}"):
                    check_peer(client, path)
            server, _ = listener.accept()
            with server, user(ATTACKER), pytest.raises(PlaceError, match=f"is of user {VICTIM}"):
                check_peer(server, path)


@pytest.mark.parametrize(
    ("uid", "mode", "private", "words"),
    [
        (1001, 0o700, False, r"x is of user 1001, want this user's \(1000\)"),
        (0, 0o700, False, "x is of user 0"),
        (USER_ID, 0o720, False, "x has mode 0720, others can write to it: chmod 700 x"),
        (USER_ID, 0o702, True, "x has mode 0702, others can write to it: chmod 700 x"),
        (USER_ID, 0o710, True, "x has mode 0710, others can look into it: chmod 700 x"),
        (USER_ID, 0o1777, False, "x has mode 1777, others can write to it: it is everybody's"),
    ],
)
def test_refuses_what_is_not_ones_own_alone(uid: int, mode: int, private: bool, words: str) -> None:
    with pytest.raises(PlaceError, match=words):
        check_own("x", uid=uid, mode=0o40000 | mode, user=USER_ID, private=private, mend="chmod 700")


@pytest.mark.parametrize(("mode", "private"), [(0o755, False), (0o700, True), (0o600, True)])
def test_takes_what_is_ones_own(mode: int, private: bool) -> None:
    check_own("x", uid=USER_ID, mode=mode, user=USER_ID, private=private, mend="chmod 700")


@pytest.mark.parametrize(("uid", "mode", "words"), [(USER_ID, 0o640, "chmod 600 x"), (1001, 0o600, "of user 1001")])
def test_refuses_a_secret_of_others(uid: int, mode: int, words: str) -> None:
    with pytest.raises(PlaceError, match=words):
        check_secret("x", uid=uid, mode=mode, user=USER_ID)


@pytest.mark.parametrize("uid", [USER_ID, 0])
def test_takes_a_secret_of_ones_own_or_of_roots(uid: int) -> None:
    check_secret("x", uid=uid, mode=0o400, user=USER_ID)
