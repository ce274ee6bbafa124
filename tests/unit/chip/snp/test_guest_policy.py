import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.chip.snp.errors import FirmwareError
from casemate.chip.snp.guest_policy import check_policy
from casemate.wire.snp.tcb import Product


@pytest.mark.parametrize(
    "policy",
    [
        0x30000,
        0x3001F,
        0x30137,
        0xB0000,  # DEBUG
        0x70000,  # MIGRATE_MA
        0x130000,  # SINGLE_SOCKET
        0x230000,  # CXL_ALLOW
        0x430000,  # MEM_AES_256_XTS
        0x2030000,  # PAGE_SWAP_DISABLE
    ],
)
def test_takes_what_the_platform_has(policy: int) -> None:
    check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (0x10000, "INVALID_PARAM: policy 0x10000: bit 17"),
        (0x4030000, "INVALID_PARAM: policy 0x4030000 has bits"),
        (1 << 63 | 0x30000, "INVALID_PARAM"),
        (0x20000, "POLICY_FAILURE: policy 0x20000 forbids SMT"),
        (0x30138, "POLICY_FAILURE: the policy wants firmware of interface 1.56, this is 1.55"),
        (0x30200, "POLICY_FAILURE: the policy wants firmware of interface 2.0"),
        (0x830000, "POLICY_FAILURE: the policy demands RAPL_DIS"),
        (0x1030000, "POLICY_FAILURE: the policy demands CIPHERTEXT_HIDING_DRAM"),
    ],
)
def test_refuses_what_the_platform_has_not(policy: int, words: str) -> None:
    with pytest.raises(FirmwareError, match=re.escape(words)):
        check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)


def test_milan_has_no_aes_256() -> None:
    with pytest.raises(FirmwareError, match="POLICY_FAILURE: the policy demands MEM_AES_256_XTS"):
        check_policy(0x430000, product=Product.MILAN, api_major=1, api_minor=55)


@pytest.mark.parametrize("product", Product)
def test_each_combination_of_bits_is_taken_where_the_platform_has_it(product: Product) -> None:
    """Bits 16 to 26 of POLICY, against AMD 56860, table "Guest Policy", written down by position once more."""
    for bits in range(1 << 11):
        smt, one, _, _, _, _, xts, rapl, hiding, _, reserved = (bool(bits >> at & 1) for at in range(11))
        wanted = one and not reserved and smt and not rapl and not hiding and not (xts and product is Product.MILAN)
        try:
            check_policy(bits << 16, product=product, api_major=1, api_minor=58)
            taken = True
        except FirmwareError:
            taken = False
        assert taken is wanted, f"{bits << 16:#x}"


@given(st.integers(0, 2**64 - 1))
def test_any_policy_is_taken_or_refused(policy: int) -> None:
    try:
        check_policy(policy, product=Product.GENOA, api_major=1, api_minor=55)
    except FirmwareError:
        return
    assert policy >> 16 & 0b11 == 0b11
    assert policy & 0xFFFF <= 0x137
