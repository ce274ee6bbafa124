"""A chip notices what it has lost, and begins anew without it by its owner's word alone."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from casemate.chip import inventory
from casemate.chip.anchors import GENERATION_SHIFT, Anchors, Asker
from casemate.chip.audit import log_act
from casemate.chip.errors import StateError
from casemate.chip.fuses import Fuses, load_fuses
from casemate.chip.losses import accept_losses, check_complete
from casemate.chip.sgx.tcb import FIRST_TCB, load_tcb, store_tcb
from casemate.chip.snp.platform_state import ChipKind, load_platform_state

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
ALICE = Asker(b"a" * 32, bytes(32), 0)
FILES = ("anchors.log", "audit.log", "tcb.bin", "snp.bin")


def power_on(folder: Path) -> tuple[Fuses, Anchors]:
    """What a chip does at its start."""
    check_complete(folder)
    fuses = load_fuses(folder, "a chip")
    anchors = Anchors(folder, fuses)
    inventory.expect(folder, "fuses.bin", "anchors.log")
    return fuses, anchors


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    """The folder of a chip that has written every file it may have."""
    _, anchors = power_on(tmp_path)
    anchors.advance(ALICE, epoch=0, head=b"h" * 32)
    anchors.close()
    log_act(tmp_path, "something", "", NOW)
    store_tcb(tmp_path, FIRST_TCB)
    load_platform_state(tmp_path, ChipKind())
    return tmp_path


def events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]


def test_chip_that_has_all_starts_again(chip: Path) -> None:
    for _ in range(2):
        _, anchors = power_on(chip)
        assert anchors.read(ALICE).epoch == 1
        anchors.close()


@pytest.mark.parametrize("name", FILES)
def test_each_file_that_is_lost_is_missed(chip: Path, name: str) -> None:
    (chip / name).unlink()
    with pytest.raises(StateError, match=rf"has lost .*{name}.*casemate up --accept-loss REASON"):
        check_complete(chip)


def test_file_is_expected_from_its_first_writing_on(tmp_path: Path) -> None:
    power_on(tmp_path)[1].close()
    store_tcb(tmp_path, FIRST_TCB)
    (tmp_path / "tcb.bin").unlink()
    with pytest.raises(StateError, match=r"tcb\.bin"):
        check_complete(tmp_path)


def test_what_was_never_written_is_not_missed(tmp_path: Path) -> None:
    power_on(tmp_path)[1].close()
    power_on(tmp_path)[1].close()
    assert {path.name for path in tmp_path.iterdir()} == {"fuses.bin", "anchors.log", "inventory"}


def test_power_cut_in_the_middle_of_manufacture_is_no_loss(tmp_path: Path) -> None:
    check_complete(tmp_path)
    power_on(tmp_path)[1].close()  # before the fuses
    (tmp_path / "anchors.log").unlink()
    inventory.adopt_inventory(tmp_path)  # after the fuses, before the anchors
    power_on(tmp_path)[1].close()


def test_lost_fuses_are_another_chip(chip: Path) -> None:
    (chip / "fuses.bin").unlink()
    accept_losses(chip, "why not", NOW)
    with pytest.raises(StateError, match=r"fuses\.bin is missing.*begin anew with another chip"):
        check_complete(chip)
    (chip / "inventory").unlink()
    with pytest.raises(StateError, match=r"fuses\.bin is missing|inventory is missing"):
        check_complete(chip)


def test_lost_inventory_is_missed_too(chip: Path) -> None:
    (chip / "inventory").unlink()
    with pytest.raises(StateError, match=r"inventory is missing.*--accept-loss"):
        check_complete(chip)
    accept_losses(chip, "disk", NOW)
    assert events(chip)[-1]["file"] == "inventory"
    check_complete(chip)
    assert power_on(chip)[1].read(ALICE).epoch == 1


def test_damaged_inventory_is_refused(chip: Path) -> None:
    (chip / "inventory").write_bytes(b"\xff\x00")
    with pytest.raises(StateError, match=r"inventory is damaged.*--accept-loss"):
        check_complete(chip)
    accept_losses(chip, "disk", NOW)
    check_complete(chip)


def test_accepted_loss_of_the_anchors_is_logged_and_starts_a_new_generation(chip: Path) -> None:
    for generation in (1, 2):
        (chip / "anchors.log").unlink()
        accept_losses(chip, "the disk died", NOW)
        assert events(chip)[-1] == {
            "at": "2026-12-01T12:00:00Z", "uid": os.getuid(), "what": "anchors begun anew",
            "details": "the log was missing; accepted: the disk died", "generation": generation,
        }  # fmt: skip
        _, anchors = power_on(chip)
        assert anchors.read(ALICE).epoch == generation << GENERATION_SHIFT
        anchors.close()


@pytest.mark.parametrize("content", [b"", b"garbage", b"casemate anchors v2\x00"])
def test_damaged_anchors_are_put_aside(chip: Path, content: bytes) -> None:
    (chip / "anchors.log").write_bytes(content)
    accept_losses(chip, "the disk died", NOW)
    assert (chip / "anchors.log.lost-20261201T120000Z").read_bytes() == content
    assert events(chip)[-1]["what"] == "anchors begun anew"
    assert power_on(chip)[1].generation == 1


def test_lost_audit_log_is_begun_anew_with_what_the_anchors_know(chip: Path) -> None:
    (chip / "anchors.log").unlink()
    accept_losses(chip, "one", NOW)
    (chip / "audit.log").unlink()
    accept_losses(chip, "two", NOW)
    assert [(each["what"], each["generation"]) for each in events(chip)] == [("audit log begun anew", 1)]
    (chip / "anchors.log").unlink()
    accept_losses(chip, "three", NOW)
    assert power_on(chip)[1].generation == 2


def test_anchors_and_audit_log_both_lost_leave_nothing_to_begin_from(chip: Path) -> None:
    (chip / "anchors.log").unlink()
    (chip / "audit.log").unlink()
    with pytest.raises(StateError, match="lost its anchors and its audit log"):
        accept_losses(chip, "the disk died", NOW)


@pytest.mark.parametrize("name", ["tcb.bin", "snp.bin"])
@pytest.mark.parametrize("content", [None, b"garbage"])
def test_lost_or_damaged_versions_are_begun_anew_and_logged(chip: Path, name: str, content: bytes | None) -> None:
    (chip / name).unlink()
    if content is not None:
        (chip / name).write_bytes(content)
    accept_losses(chip, "the disk died", NOW)
    assert {"what": "loss accepted", "file": name}.items() <= events(chip)[-1].items()
    power_on(chip)[1].close()
    assert load_tcb(chip) == FIRST_TCB
    load_platform_state(chip, ChipKind())


def test_accepting_where_nothing_is_lost_changes_nothing(chip: Path) -> None:
    before = {path.name: path.read_bytes() for path in chip.iterdir()}
    accept_losses(chip, "why not", NOW)
    assert {path.name: path.read_bytes() for path in chip.iterdir()} == before


def test_chip_that_is_older_than_inventories_needs_its_anchors_all_the_same(tmp_path: Path) -> None:
    load_fuses(tmp_path, "a chip")
    with pytest.raises(StateError, match=r"has lost .*anchors\.log"):
        check_complete(tmp_path)
    (tmp_path / "anchors.log").write_bytes(b"casemate anchors v1\x00")
    check_complete(tmp_path)
    assert inventory.read_inventory(tmp_path) == frozenset({"fuses.bin", "anchors.log"})
