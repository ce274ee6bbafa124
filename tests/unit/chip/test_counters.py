import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casemate.chip import counters as module
from casemate.chip.counters import FILE_NAME, MAX_PER_OWNER, MAX_VALUE, Counters, owner_of
from casemate.chip.errors import CounterError, StateError
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.secs import Secs
from casemate.wire.sgx.attributes import AttributeFlag, Attributes

ALICE, BOB = b"\xa1" * 32, b"\xb0" * 32
MAGIC_SIZE = len(b"casemate counters v1\x00")
RECORD_SIZE = 68


@pytest.fixture
def counters(tmp_path: Path, fuses: Fuses) -> Counters:
    return Counters(tmp_path, fuses)


def again(counters: Counters, tmp_path: Path, fuses: Fuses) -> Counters:
    counters.close()
    return Counters(tmp_path, fuses)


def test_starts_at_zero_and_rises_by_one(counters: Counters) -> None:
    counter = counters.create(ALICE)
    assert counters.read(ALICE, counter) == 0
    assert [counters.increment(ALICE, counter) for _ in range(3)] == [1, 2, 3]
    assert counters.read(ALICE, counter) == 3


def test_survives_a_restart(counters: Counters, tmp_path: Path, fuses: Fuses) -> None:
    mine, other = counters.create(ALICE), counters.create(BOB)
    counters.increment(ALICE, mine)
    counters = again(counters, tmp_path, fuses)
    assert (counters.read(ALICE, mine), counters.read(BOB, other)) == (1, 0)
    assert counters.increment(ALICE, mine) == 2


def test_value_is_on_disk_before_anybody_learns_it(
    counters: Counters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = counters.create(ALICE)
    sizes: list[int] = []
    monkeypatch.setattr(module, "sync", lambda _: sizes.append((tmp_path / FILE_NAME).stat().st_size))
    counters.increment(ALICE, counter)
    assert sizes == [MAGIC_SIZE + 2 * RECORD_SIZE]


def test_strangers_counter_looks_like_none_at_all(counters: Counters) -> None:
    counter = counters.create(ALICE)
    with pytest.raises(CounterError) as foreign:
        counters.read(BOB, counter)
    with pytest.raises(CounterError) as missing:
        counters.read(BOB, bytes(16))
    assert str(foreign.value).replace(counter.hex(), "?") == str(missing.value).replace(bytes(16).hex(), "?")
    with pytest.raises(CounterError):
        counters.increment(BOB, counter)
    assert counters.read(ALICE, counter) == 0


def test_ids_cannot_be_guessed(counters: Counters) -> None:
    ids = [counters.create(ALICE) for _ in range(10)]
    assert len(set(ids)) == 10
    assert {len(counter) for counter in ids} == {16}


def test_number_of_counters_is_limited_for_each_owner(counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sync", lambda _: None)
    for _ in range(MAX_PER_OWNER):
        counters.create(ALICE)
    with pytest.raises(CounterError, match="no more can be made"):
        counters.create(ALICE)
    counters.create(BOB)


def test_number_of_counters_is_limited_for_the_chip(counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COUNTERS", 2)
    counters.create(ALICE)
    counters.create(BOB)
    with pytest.raises(CounterError, match="no more can be made"):
        counters.create(BOB)


def test_worn_out_counter_stays_at_its_last_value(counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = counters.create(ALICE)
    monkeypatch.setitem(counters._latest, counter, replace(counters._latest[counter], value=MAX_VALUE - 1))
    assert counters.increment(ALICE, counter) == MAX_VALUE
    with pytest.raises(CounterError, match="its last value"):
        counters.increment(ALICE, counter)
    assert counters.read(ALICE, counter) == MAX_VALUE


@pytest.mark.parametrize("torn", range(1, RECORD_SIZE))
def test_torn_last_record_is_cut_off(counters: Counters, tmp_path: Path, fuses: Fuses, torn: int) -> None:
    counter = counters.create(ALICE)
    counters.increment(ALICE, counter)
    log = tmp_path / FILE_NAME
    log.write_bytes(log.read_bytes()[:-torn])
    counters = again(counters, tmp_path, fuses)
    assert counters.read(ALICE, counter) == 0
    assert counters.increment(ALICE, counter) == 1
    assert log.stat().st_size == MAGIC_SIZE + 2 * RECORD_SIZE


def test_length_without_content_is_taken_for_torn(counters: Counters, tmp_path: Path, fuses: Fuses) -> None:
    counter = counters.create(ALICE)
    with (tmp_path / FILE_NAME).open("ab") as log:
        log.write(bytes(RECORD_SIZE))
    counters = again(counters, tmp_path, fuses)
    assert counters.read(ALICE, counter) == 0


def test_every_changed_byte_inside_the_log_is_found(counters: Counters, tmp_path: Path, fuses: Fuses) -> None:
    counter = counters.create(ALICE)
    for _ in range(2):
        counters.increment(ALICE, counter)
    counters.close()
    log = tmp_path / FILE_NAME
    good = log.read_bytes()
    for at in range(MAGIC_SIZE + 2 * RECORD_SIZE):
        log.write_bytes(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :])
        with pytest.raises(StateError, match="damaged at"):
            Counters(tmp_path, fuses)


def test_dropped_and_swapped_records_are_found(counters: Counters, tmp_path: Path, fuses: Fuses) -> None:
    counter = counters.create(ALICE)
    for _ in range(3):
        counters.increment(ALICE, counter)
    counters.close()
    log = tmp_path / FILE_NAME
    content = log.read_bytes()
    head, body = content[:MAGIC_SIZE], content[MAGIC_SIZE:]
    records = [body[at : at + RECORD_SIZE] for at in range(0, len(body), RECORD_SIZE)]
    for forged in (records[1:], [records[0], *records[2:]], [records[0], records[2], records[1], records[3]]):
        log.write_bytes(head + b"".join(forged))
        with pytest.raises(StateError, match="damaged"):
            Counters(tmp_path, fuses)


def test_log_of_another_chip_is_refused(counters: Counters, tmp_path: Path) -> None:
    counters.create(ALICE)
    counters.create(ALICE)
    counters.close()
    with pytest.raises(StateError, match="of another chip"):
        Counters(tmp_path, seeded_fuses("another"))


def test_long_log_is_compacted_without_losing_a_value(
    counters: Counters, tmp_path: Path, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMPACT_AFTER", 10)
    one, other = counters.create(ALICE), counters.create(BOB)
    for _ in range(25):
        counters.increment(ALICE, one)
    counters.increment(BOB, other)
    assert (tmp_path / FILE_NAME).stat().st_size <= MAGIC_SIZE + 11 * RECORD_SIZE
    counters = again(counters, tmp_path, fuses)
    assert (counters.read(ALICE, one), counters.read(BOB, other)) == (25, 1)


def test_promises_nothing_more_once_a_write_has_failed(counters: Counters, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = counters.create(ALICE)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", full)
    with pytest.raises(StateError, match="No space left"):
        counters.increment(ALICE, counter)
    monkeypatch.undo()
    assert counters.read(ALICE, counter) == 0
    with pytest.raises(StateError, match="start the chip again"):
        counters.increment(ALICE, counter)


def test_debug_enclaves_have_counters_of_their_own(secs: Secs) -> None:
    debug = replace(secs, attributes=Attributes(secs.attributes.flags | AttributeFlag.DEBUG, 3))
    assert owner_of(debug) != owner_of(secs)
    assert owner_of(replace(secs, mr_enclave=bytes(32), isv_svn=1)) == owner_of(secs)
    assert owner_of(replace(secs, mr_signer=bytes(32))) != owner_of(secs)


def test_log_is_for_its_owner_alone(counters: Counters, tmp_path: Path) -> None:
    counters.create(ALICE)
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FILE_NAME).stat().st_uid == os.geteuid()
