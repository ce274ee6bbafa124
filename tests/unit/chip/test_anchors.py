import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casemate.chip import anchors as module
from casemate.chip.anchors import (
    FILE_NAME,
    GENERATION_SHIFT,
    MAX_PER_LAUNCHER,
    OWNER,
    Anchor,
    Anchors,
    Asker,
    asker,
    launcher_id,
)
from casemate.chip.crypto import cmac, derive
from casemate.chip.errors import AnchorConflictError, AnchorLimitError, AnchorRefusedError, StateError
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.sgx.secs import Secs
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.tee import Identity, Tee

ALICE = Asker(b"\xa1" * 32, b"\xa0" * 32, 3)
BOB = Asker(b"\xb1" * 32, b"\xb0" * 32, 3)
HEADER_SIZE = len(b"casemate anchors v2\x00") + 4 + 16
RECORD_SIZE = 135


@pytest.fixture
def anchors(tmp_path: Path, fuses: Fuses) -> Anchors:
    return Anchors(tmp_path, fuses)


def again(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> Anchors:
    anchors.close()
    return Anchors(tmp_path, fuses)


def written(folder: Path) -> bytes:
    """The log without the room behind its last record, which its MAC ends: that ends in a zero once in 256 times."""
    content = (folder / FILE_NAME).read_bytes()
    used = max(0, len(content.rstrip(b"\x00")) - HEADER_SIZE)
    return content[: HEADER_SIZE + -(-used // RECORD_SIZE) * RECORD_SIZE]


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
    assert written(tmp_path) == (tmp_path / FILE_NAME).read_bytes()[:HEADER_SIZE]


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
    assert seen == [(HEADER_SIZE + 2 * RECORD_SIZE, 1)]


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


def test_a_launcher_has_a_share_and_the_owner_has_what_is_kept_for_it(
    anchors: Anchors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "sync_content", lambda _: None)
    greedy, other, owner = (replace(ALICE, owner=launcher_id(name)) for name in ("greedy", "other", ""))
    made = 0

    def fill(who: Asker, times: int) -> None:
        nonlocal made
        for _ in range(times):
            made += 1
            step(anchors, replace(who, namespace=made.to_bytes(32, "big")))

    fill(greedy, MAX_PER_LAUNCHER)
    with pytest.raises(AnchorLimitError, match=r"512 of this launcher's .*`casemate state give-up NAMESPACE"):
        fill(greedy, 1)
    step(anchors, replace(greedy, namespace=(1).to_bytes(32, "big")))  # what is there goes on
    fill(other, 1)
    monkeypatch.setattr(module, "MAX_ANCHORS", len(anchors.all()) + 3)
    monkeypatch.setattr(module, "RESERVED", 2)
    fill(other, 1)
    with pytest.raises(AnchorLimitError, match="2 of them for the owner"):
        fill(other, 1)
    fill(owner, 2)
    with pytest.raises(AnchorLimitError, match="no further state"):
        fill(owner, 1)


def test_one_launcher_may_have_any_number_of_signers_and_builds() -> None:
    builds = [Identity(Tee.SGX, bytes([n]) * 32, bytes(32), 0, 0, debug=False) for n in (1, 2)]
    askers = [asker(who, SealBinding.MRENCLAVE, "ci") for who in builds]
    assert askers[0].namespace != askers[1].namespace
    assert {who.owner for who in askers} == {launcher_id("ci")} != {asker(builds[0], SealBinding.MRENCLAVE).owner}
    assert asker(builds[0], SealBinding.MRENCLAVE).owner == OWNER


# What its owner gives up


def test_given_up_anchor_frees_its_place_and_its_epochs_are_never_used_again(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANCHORS", 1)
    owner = replace(ALICE, owner=OWNER)
    old = step(anchors, owner, times=4)
    with pytest.raises(AnchorLimitError):
        step(anchors, replace(BOB, owner=OWNER))
    left = anchors.give_up(ALICE.namespace)
    assert (left.epoch, left.floor, left.head, left.recoveries) == (5, 5, bytes(32), 1)
    for _ in range(2):  # and after a restart
        assert anchors.all() == ()
        now = anchors.read(replace(owner, isv_svn=0))
        assert (now.epoch, now.floor, now.head, now.recoveries, now.is_forgiven) == (5, 5, bytes(32), 1, False)
        anchors = again(anchors, tmp_path, fuses)
    with pytest.raises(AnchorConflictError):
        anchors.advance(owner, epoch=old.epoch, head=old.head)
    assert step(anchors, replace(BOB, owner=OWNER)).epoch == 1
    anchors.give_up(BOB.namespace)
    made = step(anchors, owner)
    assert (made.epoch, made.floor, made.recoveries) == (6, 5, 1)
    assert [each.namespace for each in again(anchors, tmp_path, fuses).all()] == [ALICE.namespace]


def test_what_is_not_there_cannot_be_given_up(anchors: Anchors) -> None:
    with pytest.raises(AnchorRefusedError, match="no anchor"):
        anchors.give_up(ALICE.namespace)
    step(anchors)
    anchors.give_up(ALICE.namespace)
    for act in (anchors.give_up, anchors.forgive):
        with pytest.raises(AnchorRefusedError, match="no anchor"):
            act(ALICE.namespace)


def test_number_of_given_up_anchors_is_limited(anchors: Anchors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_GIVEN_UP", 1)
    step(anchors)
    step(anchors, BOB)
    anchors.give_up(ALICE.namespace)
    with pytest.raises(AnchorLimitError, match="given up already"):
        anchors.give_up(BOB.namespace)


def test_given_up_anchors_survive_compaction(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_AFTER", 5)
    step(anchors, BOB, times=3)
    anchors.give_up(BOB.namespace)
    step(anchors, times=12)
    assert len(written(tmp_path)) < HEADER_SIZE + 10 * RECORD_SIZE
    assert again(anchors, tmp_path, fuses).read(BOB).floor == 4


def test_log_begun_anew_starts_above_every_epoch_of_the_lost_one(tmp_path: Path, fuses: Fuses) -> None:
    anchors = Anchors(tmp_path, fuses, generation=3)
    first = anchors.read(ALICE)
    assert (first.epoch, first.floor, first.recoveries) == (3 << GENERATION_SHIFT, 3 << GENERATION_SHIFT, 3)
    step(anchors)
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.generation == 3
    assert step(anchors).epoch == (3 << GENERATION_SHIFT) + 2


@pytest.mark.parametrize("torn", range(1, RECORD_SIZE))
def test_torn_last_record_is_cut_off(anchors: Anchors, tmp_path: Path, fuses: Fuses, torn: int) -> None:
    step(anchors, times=2)
    log = tmp_path / FILE_NAME
    room = bytes(log.stat().st_size - len(written(tmp_path)))
    log.write_bytes(written(tmp_path)[:-torn] + bytes(torn) + room)
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 1
    assert step(anchors).epoch == 2
    assert len(written(tmp_path)) == HEADER_SIZE + 2 * RECORD_SIZE


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("cut", [0, 1, 20, HEADER_SIZE, HEADER_SIZE + 1, -1, -RECORD_SIZE, -RECORD_SIZE - 1])
def test_log_that_was_cut_short_is_refused(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch, cut: int, units: int
) -> None:
    monkeypatch.setattr(module, "ROOM", 400)  # no multiple of a record
    anchors = again(anchors, tmp_path, fuses)
    step(anchors, times=2 * units)
    anchors.close()
    log = tmp_path / FILE_NAME
    content = written(tmp_path)
    log.write_bytes(content[:cut])
    with pytest.raises(StateError, match=r"damaged at its (start|end).*casemate up --accept-loss REASON"):
        Anchors(tmp_path, fuses)


def test_log_cut_at_a_unit_of_room_in_the_middle_of_a_record_is_refused(
    tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 400)
    anchors = Anchors(tmp_path, fuses)
    step(anchors, times=5)
    anchors.close()
    log = tmp_path / FILE_NAME
    assert log.stat().st_size == HEADER_SIZE + 800
    log.write_bytes(log.read_bytes()[: HEADER_SIZE + 400])
    with pytest.raises(StateError, match="record 2 has been cut off"):
        Anchors(tmp_path, fuses)


def test_room_that_a_power_cut_kept_from_being_made_means_nothing(
    anchors: Anchors, tmp_path: Path, fuses: Fuses
) -> None:
    step(anchors, times=2)
    anchors.close()
    log = tmp_path / FILE_NAME
    log.write_bytes(log.read_bytes() + bytes(4096))
    anchors = Anchors(tmp_path, fuses)
    assert step(anchors).epoch == 3


def test_log_of_version_1_is_read_and_becomes_one_of_version_2(tmp_path: Path, fuses: Fuses) -> None:
    key = derive(fuses.root_seal_key.reveal(), b"casemate anchor log v1", 16)
    content, mac = bytearray(b"casemate anchors v1\x00"), bytes(16)
    for epoch in (1, 2, 3):
        fields = ALICE.namespace + bytes(32) + epoch.to_bytes(8, "little") + bytes([epoch]) * 32
        fields += (3).to_bytes(2, "little") + (7).to_bytes(4, "little") + b"\x01"
        mac = cmac(key, mac + fields)
        content += fields + mac
    (tmp_path / FILE_NAME).write_bytes(content + bytes(1000))
    anchors = Anchors(tmp_path, fuses)
    for _ in range(2):
        now = anchors.read(ALICE)
        assert (now.epoch, now.floor, now.head, now.recoveries, now.is_forgiven) == (3, 0, bytes([3]) * 32, 7, True)
        anchors = again(anchors, tmp_path, fuses)
    (tmp_path / FILE_NAME).write_bytes(bytes(content).replace(b"\x07", b"\x08", 1))
    with pytest.raises(StateError, match="of version 1"):
        Anchors(tmp_path, fuses)


def test_first_half_of_a_record_may_be_the_one_that_is_missing(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=2)
    log = tmp_path / FILE_NAME
    size, content = log.stat().st_size, written(tmp_path)
    log.write_bytes((content[:-RECORD_SIZE] + bytes(60) + content[-RECORD_SIZE + 60 :]).ljust(size, b"\x00"))
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 1


def test_room_is_made_ahead_and_left_over_room_means_nothing(
    anchors: Anchors, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 3 * RECORD_SIZE)
    anchors.close()
    (tmp_path / FILE_NAME).unlink()
    anchors = Anchors(tmp_path, fuses)
    log = tmp_path / FILE_NAME
    sizes = []
    for _ in range(5):
        step(anchors)
        sizes.append((log.stat().st_size - HEADER_SIZE) // RECORD_SIZE)
    assert sizes == [3, 3, 3, 6, 6]
    anchors = again(anchors, tmp_path, fuses)
    assert anchors.read(ALICE).epoch == 5
    assert step(anchors).epoch == 6


def test_every_changed_byte_inside_the_log_is_found(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=3)
    anchors.close()
    log = tmp_path / FILE_NAME
    good = log.read_bytes()
    for at in range(HEADER_SIZE + 2 * RECORD_SIZE):
        log.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        with pytest.raises(StateError, match="damaged at"):
            Anchors(tmp_path, fuses)


def test_dropped_and_swapped_records_are_found(anchors: Anchors, tmp_path: Path, fuses: Fuses) -> None:
    step(anchors, times=4)
    anchors.close()
    log = tmp_path / FILE_NAME
    size, content = log.stat().st_size, written(tmp_path)
    head, body = content[:HEADER_SIZE], content[HEADER_SIZE:]
    records = [body[at : at + RECORD_SIZE] for at in range(0, len(body), RECORD_SIZE)]
    for forged in (records[1:], [records[0], *records[2:]], [records[0], records[2], records[1], records[3]]):
        log.write_bytes((head + b"".join(forged)).ljust(size, b"\x00"))
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
    assert len(written(tmp_path)) <= HEADER_SIZE + 11 * RECORD_SIZE
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
    by_signer, by_code = (asker(who, binding) for binding in (SealBinding.MRSIGNER, SealBinding.MRENCLAVE))
    assert by_signer.namespace != by_code.namespace
    rebuilt = replace(who, measurement=bytes(32), isv_svn=who.isv_svn + 1)
    assert asker(rebuilt, SealBinding.MRSIGNER).namespace == by_signer.namespace
    assert asker(rebuilt, SealBinding.MRENCLAVE).namespace != by_code.namespace
    others = {"mr_signer": bytes(32)}, {"isv_prod_id": who.isv_prod_id + 1}, {"tee": Tee.SNP}
    for other in (debug, *(replace(who, **change) for change in others)):
        assert asker(other, SealBinding.MRSIGNER).namespace != by_signer.namespace


def test_log_is_for_its_owner_alone(anchors: Anchors, tmp_path: Path) -> None:
    step(anchors)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FILE_NAME).stat().st_uid == os.geteuid()
