from datetime import UTC, datetime
from itertools import product

import pytest

from casemate.verifier.sgx.tcb import Shortfall, compare_levels, converged, reached_level
from casemate.wire.sgx.pck import PckTcb
from casemate.wire.sgx.tcb_info import TcbLevel, TcbStatus

DAY = datetime(2026, 1, 1, tzinfo=UTC)


def level(components: bytes, pce_svn: int, status: TcbStatus = TcbStatus.UP_TO_DATE) -> TcbLevel:
    return TcbLevel(components.ljust(16, b"\x00"), pce_svn, DAY, status, ())


def tcb(components: bytes, pce_svn: int) -> PckTcb:
    return PckTcb(components.ljust(16, b"\x00"), pce_svn, bytes(16))


@pytest.mark.parametrize(
    ("components", "pce_svn", "best"),
    [
        (b"\x02\x02", 5, 0),
        (b"\x03\x09", 9, 0),
        (b"\x02\x02", 4, 1),  # PCESVN falls short
        (b"\x02\x01", 5, 2),  # one component falls short
        (b"\xff\x00", 5, 3),
        (b"\x00\x00", 0, None),
    ],
)
def test_finds_the_best_level_of_which_everything_is_reached(components: bytes, pce_svn: int, best: int | None) -> None:
    levels = (level(b"\x02\x02", 5), level(b"\x02\x02", 4), level(b"\x01\x01", 5), level(b"\x01\x00", 0))
    expected = None if best is None else levels[best]
    assert reached_level(levels, tcb(components, pce_svn)) == expected


def test_names_every_component_that_falls_short_of_each_level_before_the_reached_one() -> None:
    levels = (level(b"\x02\x02", 5), level(b"\x02\x01", 4), level(b"\x01\x01", 3), level(b"\x01\x00", 0))
    compared = compare_levels(levels, tcb(b"\x01\x01", 4))
    assert [each.level for each in compared] == list(levels[:3])
    assert compared[0].shortfalls == (Shortfall(1, 1, 2), Shortfall(2, 1, 2), Shortfall(None, 4, 5))
    assert compared[1].shortfalls == (Shortfall(1, 1, 2),)
    assert compared[2].shortfalls == ()
    unreached = compare_levels(levels, tcb(b"\x00\x09", 9))
    assert [each.level for each in unreached] == list(levels)
    assert unreached[-1].shortfalls == (Shortfall(1, 0, 1),)


def test_converges_as_intels_verifier_does() -> None:
    worse = {
        TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
        TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
        TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    }
    for platform, qe in product(TcbStatus, TcbStatus):
        if TcbStatus.REVOKED in (platform, qe):
            expected = TcbStatus.REVOKED
        elif qe is TcbStatus.UP_TO_DATE:
            expected = platform
        else:
            expected = worse.get(platform, platform)
        assert converged(platform, qe) is expected
