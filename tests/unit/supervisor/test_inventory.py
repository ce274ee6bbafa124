"""A state directory in which something is missing is not taken for a new one."""

from pathlib import Path

import pytest

from casemate.supervisor.errors import MachineError
from casemate.supervisor.inventory import Inventory, accept_losses, check_complete, read_inventory, take_inventory

CHIP, OTHER = bytes(range(16)), bytes(16)
FILES = ("chip/fuses.bin", "vendor/ledger.json", "host/catalogue.db", "audit.jsonl")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A machine that has run."""
    for name in (*FILES, "host/records.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"content")
    take_inventory(tmp_path, CHIP)
    return tmp_path


def test_new_and_whole_directories_pass(state: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    check_complete(state)
    check_complete(tmp_path_factory.mktemp("new"))
    assert read_inventory(state) == Inventory(CHIP.hex(), frozenset(FILES))


@pytest.mark.parametrize("name", FILES)
def test_what_is_missing_is_named_until_its_loss_is_accepted_and_noted(state: Path, name: str) -> None:
    (state / name).unlink()
    with pytest.raises(MachineError, match=rf"has lost .*{name}.*casemate up --accept-loss REASON"):
        check_complete(state)
    accept_losses(state, "the disk died")
    check_complete(state)
    last = (state / "audit.jsonl").read_text().splitlines()[-1]
    assert name in last
    assert "the disk died" in last


def test_records_of_a_lost_chip_are_put_aside(state: Path) -> None:
    (state / "chip" / "fuses.bin").unlink()
    accept_losses(state, "the disk died")
    assert not (state / "host" / "records.db").exists()
    (aside,) = (state / "host").glob(f"records-of-{CHIP.hex()}-*.db")
    assert aside.read_bytes() == b"content"
    take_inventory(state, OTHER)
    check_complete(state)


def test_another_chip_among_this_ones_records_is_refused(state: Path) -> None:
    with pytest.raises(MachineError, match=rf"holds the chip {OTHER.hex()}.*belongs to the chip {CHIP.hex()}"):
        take_inventory(state, OTHER)


def test_machine_older_than_inventories_had_a_chip_if_it_has_sealed_states(state: Path) -> None:
    (state / "inventory.json").unlink()
    check_complete(state)
    (state / "chip" / "fuses.bin").unlink()
    with pytest.raises(MachineError, match=r"chip/fuses\.bin"):
        check_complete(state)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": 2, "chip": "", "files": []}', b"[" * 9000])
def test_damaged_inventory_is_refused_with_words(state: Path, content: bytes) -> None:
    (state / "inventory.json").write_bytes(content)
    with pytest.raises(MachineError, match="is damaged"):
        check_complete(state)
