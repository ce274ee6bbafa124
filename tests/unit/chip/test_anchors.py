import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casemate.chip import anchors as module
from casemate.chip.anchors import FILE_NAME, MAX_PER_OWNER, Anchor, Anchors, Asker, asker
from casemate.chip.errors import AnchorConflictError, AnchorLimitError, AnchorRefusedError, StateError
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.secs import Secs
from casemate.wire.sealing import SealPolicy
from casemate.wire.tee import Identity, Tee

ALICE = Asker(b"\xa1" * 32, b"\xa0" * 32, 3)
BOB = Asker(b"\xb1" * 32, b"\xb0" * 32, 3)
MAGIC_SIZE = len(b"casemate anchors v1\x00")
RECORD_SIZE = 127


@pytest.fixture
def anchors(tmp_path: Path, fuses: Fuses) -> Anchors:
    return Anchors(tmp_path, fuses)


def again(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> Anchors:
    anchors.close()
    return Anchors(tmp_path, fuses)


def written(folder: Path) -> bytes:
    """The log without the room behind its last record, which its MAC ends: that ends in a zero once in 256 times."""
    content = (folder / FILE_NAME).read_bytes()
    used = len(content.rstrip(b"\x00")) - MAGIC_SIZE
    return content[: MAGIC_SIZE + -(-used // RECORD_SIZE) * RECORD_SIZE]


def step(anchors: Anchors, who: Asker = ALICE, times: int = 1) -> Anchor:
    """So many commits, each with a head of its own."""
    now = anchors.read(who)
    for _ in range(times):
        epoch = anchors.read(who).epoch
        now = anchors.advance(who, epoch=epoch, head=(epoch + 1).to_bytes(32, "big"))
    return now


def test_starts_at_epoch_zero_and_rises_by_one(anchors: Anchors) -> None:
    first = anchors.read(ALICE)
    assert (first.epoch, first.head, first.recoveries, first.is_forgiven) == (0, bytes(32), 0, False)
    assert [step(anchors).epoch for _ in range(3)] == [1, 2, 3]
    assert anchors.read(ALICE).head == (3).to_bytes(32, "big")
    assert anchors.read(BOB).epoch == 0


def test_reading_makes_no_anchor(anchors: Anchors, tmp_path: Path) -> None:
    anchors.read(ALICE)
    assert anchors.all() == ()
    assert (tmp_path / FILE_NAME).stat().st_size == MAGIC_SIZE


def test_survives_a_restart(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=2)
    step(anchors, BOB)
    anchors.forgive(BOB.namespace)
    before = anchors.all()
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.all() == before
    assert step(anchors).epoch == 3


def test_step_is_on_disk_before_anybody_learns_it(
    anchors: Anchors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step(anchors)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        module, "sync_content", lambda _: seen.append((len(written(tmp_path)), anchors.read(ALICE).epoch))
    )
    step(anchors)
    assert seen == [(MAGIC_SIZE + 2 * RECORD_SIZE, 1)]


@pytest.mark.parametrize("expected", [0, 1, 3, 2**64 - 1])
def test_step_from_another_epoch_is_a_conflict(anchors: Anchors, expected: int) -> None:
    before = step(anchors, times=2)
    with pytest.raises(AnchorConflictError, match="at epoch 2"):
        anchors.advance(ALICE, epoch=expected, head=bytes(32))
    assert anchors.read(ALICE) == before


def test_lower_version_may_neither_read_nor_write(anchors: Anchors) -> None:
    step(anchors, replace(ALICE, isv_svn=5))
    for who in (ALICE, replace(ALICE, isv_svn=4)):
        with pytest.raises(AnchorRefusedError, match="security version 5 has written"):
            anchors.read(who)
        with pytest.raises(AnchorRefusedError):
            anchors.advance(who, epoch=1, head=bytes(32))
    assert step(anchors, replace(ALICE, isv_svn=6)).isv_svn == 6


def test_forgiveness_is_used_up_and_counted_by_the_next_step(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=3)
    for recoveries in (1, 2):
        anchors.forgive(ALICE.namespace)
        anchors.forgive(ALICE.namespace)  # twice is once
        anchors = again(anchors, tmp_path, fuses)
        assert anchors.read(ALICE).is_forgiven
        now = step(anchors)
        assert (now.recoveries, now.is_forgiven) == (recoveries, False)
        assert step(anchors).recoveries == recoveries


def test_nothing_to_forgive_where_there_is_no_anchor(anchors: Anchors) -> None:
    with pytest.raises(AnchorRefusedError, match="no anchor"):
        anchors.forgive(ALICE.namespace)


def test_number_of_anchors_is_limited_for_each_owner(anchors: Anchors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sync_content", lambda _: None)
    for number in range(MAX_PER_OWNER):
        step(anchors, replace(ALICE, namespace=number.to_bytes(32, "big")))
    with pytest.raises(AnchorLimitError, match="no more can be made"):
        step(anchors)
    step(anchors, BOB)
    step(anchors, replace(ALICE, namespace=bytes(32)))  # what is there goes on


def test_number_of_anchors_is_limited_for_the_chip(anchors: Anchors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANCHORS", 2)
    step(anchors, ALICE)
    step(anchors, BOB)
    with pytest.raises(AnchorLimitError, match="no more can be made"):
        step(anchors, replace(BOB, namespace=bytes(32)))


@pytest.mark.parametrize("torn", range(1, RECORD_SIZE))
def test_torn_last_record_is_cut_off(anchors: Anchors, tmp_path: Path, fuses: Fuses, torn: int) -> None:
    step(anchors, times=2)
    log = tmp_path / FILE_NAME
    room = bytes(log.stat().st_size - len(written(tmp_path)))
    log.write_bytes(written(tmp_path)[:-torn] + bytes(torn) + room)
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 1
    assert step(anchors).epoch == 2
    assert len(written(tmp_path)) == MAGIC_SIZE + 2 * RECORD_SIZE


@pytest.mark.parametrize("cut", [*range(1, RECORD_SIZE), RECORD_SIZE + 1, 2 * RECORD_SIZE])
def test_log_that_ends_in_the_middle_of_a_record_is_cut_there(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, cut: int
) -> None:
    step(anchors, times=3)
    log = tmp_path / FILE_NAME
    log.write_bytes(written(tmp_path)[:-cut])
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == (3 * RECORD_SIZE - cut) // RECORD_SIZE


def test_first_half_of_a_record_may_be_the_one_that_is_missing(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=2)
    log = tmp_path / FILE_NAME
    content = written(tmp_path)
    log.write_bytes(content[:-RECORD_SIZE] + bytes(60) + content[-RECORD_SIZE + 60 :] + bytes(1000))
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 1


def test_room_is_made_ahead_and_left_over_room_means_nothing(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 3 * RECORD_SIZE)
    log = tmp_path / FILE_NAME
    sizes = []
    for _ in range(5):
        step(anchors)
        sizes.append((log.stat().st_size - MAGIC_SIZE) // RECORD_SIZE)
    assert sizes == [3, 3, 3, 6, 6]
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 5
    assert step(anchors).epoch == 6


def test_every_changed_byte_inside_the_log_is_found(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=3)
    anchors.close()
    log = tmp_path / FILE_NAME
    good = log.read_bytes()[:4096]
    for at in range(MAGIC_SIZE + 2 * RECORD_SIZE):
        log.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        with pytest.raises(StateError, match="damaged at"):
            Anchors(tmp_path, fuses)


def test_dropped_and_swapped_records_are_found(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=4)
    anchors.close()
    log = tmp_path / FILE_NAME
    content = written(tmp_path)
    head, body = content[:MAGIC_SIZE], content[MAGIC_SIZE:]
    records = [body[at : at + RECORD_SIZE] for at in range(0, len(body), RECORD_SIZE)]
    for forged in (records[1:], [records[0], *records[2:]], [records[0], records[2], records[1], records[3]]):
        log.write_bytes(head + b"".join(forged))
        with pytest.raises(StateError, match="damaged"):
            Anchors(tmp_path, fuses)


def test_log_of_another_chip_is_refused(anchors: Anchors, tmp_path: Path) -> None:
    step(anchors, times=2)
    anchors.close()
    with pytest.raises(StateError, match="of another chip"):
        Anchors(tmp_path, seeded_fuses("another"))


def test_long_log_is_compacted_without_losing_a_step(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_AFTER", 10)
    step(anchors, times=25)
    step(anchors, BOB)
    anchors.forgive(BOB.namespace)
    before = anchors.all()
    assert len(written(tmp_path)) <= MAGIC_SIZE + 11 * RECORD_SIZE
    anchors = again(anchors, tmp_path, fuses)
    assert set(anchors.all()) == set(before)
    assert (anchors.read(ALICE).epoch, anchors.read(BOB).is_forgiven) == (25, True)


def test_promises_nothing_more_once_a_write_has_failed(anchors: Anchors, monkeypatch: pytest.MonkeyPatch) -> None:
    step(anchors)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync_content", full)
    with pytest.raises(StateError, match="No space left"):
        step(anchors)
    monkeypatch.undo()
    assert anchors.read(ALICE).epoch == 1
    with pytest.raises(StateError, match="start the chip again"):
        step(anchors)


def test_of_steps_in_many_threads_one_is_taken(anchors: Anchors) -> None:
    taken: list[int] = []

    def race(number: int) -> None:
        try:
            anchors.advance(ALICE, epoch=0, head=bytes([number]) * 32)
        except AnchorConflictError:
            return
        taken.append(number)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [anchors.read(ALICE).head] == [bytes([number]) * 32 for number in taken]


def test_whose_state_it_is_comes_from_the_identity(secs: Secs) -> None:
    who = Identity(Tee.SGX, secs.mr_enclave, secs.mr_signer, secs.isv_prod_id, secs.isv_svn, debug=False)
    debug = replace(who, debug=True)
    by_signer, by_code = (asker(who, policy) for policy in (SealPolicy.MRSIGNER, SealPolicy.MRENCLAVE))
    assert by_signer.namespace != by_code.namespace
    assert by_signer.owner == by_code.owner
    rebuilt = replace(who, measurement=bytes(32), isv_svn=who.isv_svn + 1)
    assert asker(rebuilt, SealPolicy.MRSIGNER).namespace == by_signer.namespace
    assert asker(rebuilt, SealPolicy.MRENCLAVE).namespace != by_code.namespace
    others = {"mr_signer": bytes(32)}, {"isv_prod_id": who.isv_prod_id + 1}, {"tee": Tee.SNP}
    for other in (debug, *(replace(who, **change) for change in others)):
        assert asker(other, SealPolicy.MRSIGNER).namespace != by_signer.namespace
    assert asker(debug, SealPolicy.MRENCLAVE).owner != by_code.owner


def test_log_is_for_its_owner_alone(anchors: Anchors, tmp_path: Path) -> None:
    step(anchors)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FILE_NAME).stat().st_uid == os.geteuid()
