from pathlib import Path

import pytest

from casemate.chip.errors import StateError
from casemate.chip.snp.platform_state import USUAL, ChipKind, load_platform_state
from casemate.wire.snp.simulated_platform import REPORT_VERSIONS
from casemate.wire.snp.tcb import Product

KINDS = [ChipKind(product, version) for product, versions in REPORT_VERSIONS.items() for version in versions]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chip_stays_what_it_was_made(tmp_path: Path, kind: ChipKind) -> None:
    made = load_platform_state(tmp_path, kind)
    assert (made.product, made.report_version) == (kind.product, kind.report_version)
    for wanted in (USUAL, kind, ChipKind(kind.product), ChipKind(None, kind.report_version)):
        assert load_platform_state(tmp_path, wanted) == made


def test_a_new_chip_is_a_milan_and_writes_what_is_usual(tmp_path: Path) -> None:
    made = load_platform_state(tmp_path, USUAL)
    assert (made.product, made.report_version) == (Product.MILAN, 3)


@pytest.mark.parametrize(
    "wanted", [ChipKind(Product.TURIN), ChipKind(None, 2), ChipKind(Product.MILAN, 5), ChipKind(Product.GENOA, 3)]
)
def test_another_kind_of_chip_is_not_taken(tmp_path: Path, wanted: ChipKind) -> None:
    load_platform_state(tmp_path, ChipKind(Product.MILAN, 3))
    with pytest.raises(StateError, match="holds a Milan with reports of version 3, and"):
        load_platform_state(tmp_path, wanted)


@pytest.mark.parametrize("kind", [ChipKind(Product.TURIN, 2), ChipKind(Product.MILAN, 4), ChipKind(None, 6)])
def test_no_chip_writes_reports_that_its_firmware_has_not(tmp_path: Path, kind: ChipKind) -> None:
    with pytest.raises(StateError, match="writes"):
        load_platform_state(tmp_path, kind)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    load_platform_state(tmp_path, USUAL)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(StateError, match="is damaged"):
        load_platform_state(tmp_path, USUAL)
