from pathlib import Path

import pytest

from casemate.chip.fuses import seeded_fuses
from casemate.chip.secret import Secret
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import FIRST_TCB
from casemate.chip.snp.platform import SnpPlatform
from casemate.chip.snp.platform_state import ChipKind
from casemate.chip.svn_chains import SvnChains
from casemate.wire.snp.tcb import Product

CHAINS = SvnChains("sha256", b"chain ", b"step ", b"root ")
ROOT = Secret(bytes(range(32)))
OLD, NEW = bytes((3, 0, 7)), bytes((5, 0, 7))


def test_newer_firmware_derives_the_older_ones_secret() -> None:
    newer, older = CHAINS.links(ROOT, NEW), CHAINS.links(ROOT, OLD)
    assert CHAINS.secret(newer, NEW, OLD).reveal() == CHAINS.secret(older, OLD, OLD).reveal()
    assert CHAINS.secret(newer, NEW, NEW).reveal() != CHAINS.secret(older, OLD, OLD).reveal()


def test_older_firmware_reaches_nothing_newer() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        CHAINS.secret(CHAINS.links(ROOT, OLD), OLD, NEW)


@pytest.mark.parametrize(
    ("product", "vcek"),
    [
        (Product.MILAN, "0439f3731157b277c1a3d9564252caa3a2c27ec7"),
        (Product.GENOA, "04294880b10648cf307b2bcf717b325994d6697c"),
        (Product.TURIN, "04e0daddce7e4ecca04896f52d7c500da89060c9"),
    ],
)
def test_the_keys_of_a_seeded_snp_chip_are_those_of_earlier_versions(
    tmp_path: Path, product: Product, vcek: str
) -> None:
    """What was sealed, and what policies name, has to stay what it is."""
    platform = SnpPlatform(tmp_path, seeded_fuses("x"), ChipKind(product))
    assert platform.vcek().public_key.hex().startswith(vcek)


def test_the_keys_of_a_seeded_sgx_chip_are_those_of_earlier_versions(tmp_path: Path) -> None:
    platform = SgxPlatform(tmp_path, seeded_fuses("x"), FIRST_TCB)
    assert platform.ppid.hex() == "e898608a8ad5210d4cfdf85476ff0a92"
    assert platform.renewal_request.public_key.hex().startswith("04af71c8640660ea2fc2085958d645f96a1b3f35")
