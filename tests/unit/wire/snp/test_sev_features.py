"""SEV_FEATURES, every combination of known bits, against the APM's sentences written down independently."""

import pytest

from casemate.wire.errors import WireError
from casemate.wire.snp.sev_features import SIMULATED_FEATURES, SevFeature, check_features

KNOWN = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 21)
CHECKED = (0, 1, 3, 4, 5, 8, 9, 14, 16, 21)
"""All 2^10 combinations of these; of the others, each by itself."""


def taken(value: int, *, snp: bool) -> bool:
    try:
        check_features(value, snp=snp)
    except WireError:
        return False
    return True


def test_every_combination_of_a_guest_of_sev_snp() -> None:
    for number in range(1 << len(CHECKED)):
        value = 0
        for at, bit in enumerate(CHECKED):
            value |= (number >> at & 1) << bit
        restricted, alternate = bool(value & 8), bool(value & 16)
        assert taken(value, snp=True) is (bool(value & 1) and not (restricted and alternate)), f"{value:#x}"
    for bit in KNOWN:
        assert taken(1 | 1 << bit, snp=True)


def test_guest_without_sev_snp_has_none_of_its_features() -> None:
    for bit in KNOWN:
        assert taken(1 << bit, snp=False) is (bit == 5), bit
    assert taken(0, snp=False)


@pytest.mark.parametrize("bit", [bit for bit in range(64) if bit not in KNOWN])
def test_reserved_bits_are_refused(bit: int) -> None:
    with pytest.raises(WireError, match="reserved"):
        check_features(1 | 1 << bit, snp=True)


def test_what_the_processor_lacks_is_refused() -> None:
    check_features(0x1, snp=True, supported=SIMULATED_FEATURES)
    for feature in SevFeature:
        if feature is not SevFeature.SNP_ACTIVE:
            with pytest.raises(WireError):
                check_features(0x1 | feature, snp=True, supported=SIMULATED_FEATURES)
