import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.errors import StateError
from casemate.chip.fuses import FILE_NAME, encode_fuses, load_fuses, parse_fuses, random_fuses, seeded_fuses


def test_burns_once_and_reads_the_same_again(tmp_path: Path) -> None:
    burnt = load_fuses(tmp_path, None)
    assert not burnt.seeded
    assert encode_fuses(load_fuses(tmp_path, None)) == encode_fuses(burnt)


def test_file_is_for_its_owner_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_fuses(tmp_path, None)
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    status = (tmp_path / FILE_NAME).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_nlink == 1


def test_two_chips_differ_in_every_secret() -> None:
    one, other = random_fuses(), random_fuses()
    assert one.root_provisioning_key.reveal() != other.root_provisioning_key.reveal()
    assert one.root_seal_key.reveal() != other.root_seal_key.reveal()
    assert one.owner_epoch != other.owner_epoch


def test_seed_makes_one_chip_and_another_seed_another() -> None:
    assert encode_fuses(seeded_fuses("s")) == encode_fuses(seeded_fuses("s"))
    assert encode_fuses(seeded_fuses("s")) != encode_fuses(seeded_fuses("t"))
    assert seeded_fuses("s").seeded
    parts = seeded_fuses("s")
    assert parts.root_provisioning_key.reveal() != parts.root_seal_key.reveal()


def test_seeded_chip_stays_seeded_without_naming_the_seed(tmp_path: Path) -> None:
    load_fuses(tmp_path, "s")
    assert load_fuses(tmp_path, None).seeded
    assert load_fuses(tmp_path, "s").seeded


@pytest.mark.parametrize("first", [None, "other"])
def test_refuses_a_seed_that_made_another_chip(tmp_path: Path, first: str | None) -> None:
    load_fuses(tmp_path, first)
    with pytest.raises(StateError, match="leave the seed out"):
        load_fuses(tmp_path, "s")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_refuses_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    load_fuses(tmp_path, None)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(StateError, match=f"has mode {mode:04o}"):
        load_fuses(tmp_path, None)


def test_refuses_link_and_special_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(encode_fuses(random_fuses()))
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="plain file"):
        load_fuses(tmp_path, None)
    (tmp_path / FILE_NAME).unlink()
    os.mkfifo(tmp_path / FILE_NAME, 0o600)
    with pytest.raises(StateError, match="it is no plain file"):
        load_fuses(tmp_path, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_refuses_file_of_another_user(tmp_path: Path) -> None:
    load_fuses(tmp_path, None)
    os.chown(tmp_path / FILE_NAME, 65534, -1)
    with pytest.raises(StateError, match="belongs to user 65534"):
        load_fuses(tmp_path, None)


def test_every_damaged_byte_and_every_cut_is_found() -> None:
    good = encode_fuses(seeded_fuses("s"))
    for at in range(len(good)):
        for bad in (good[:at] + bytes((good[at] ^ 0x40,)) + good[at + 1 :], good[:at]):
            with pytest.raises(StateError, match="damaged: restore"):
                parse_fuses(bad, Path("fuses.bin"))


@given(st.binary(max_size=300))
def test_arbitrary_file_is_refused_with_words(content: bytes) -> None:
    with pytest.raises(StateError, match="damaged"):
        parse_fuses(content, Path("fuses.bin"))


def test_damaged_file_on_disk_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"nonsense")
    (tmp_path / FILE_NAME).chmod(0o600)
    with pytest.raises(StateError, match="damaged"):
        load_fuses(tmp_path, "s")
    assert (tmp_path / FILE_NAME).read_bytes() == b"nonsense"


def test_fuses_do_not_show_their_secrets() -> None:
    fuses = seeded_fuses("s")
    for secret in (fuses.root_provisioning_key, fuses.root_seal_key):
        assert secret.reveal().hex() not in repr(fuses)
        assert repr(secret.reveal())[2:-1] not in repr(fuses)
