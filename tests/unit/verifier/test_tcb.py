from datetime import UTC, datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.verifier.tcb import converged, reached_level
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
    assert reached_level(levels[::-1], tcb(components, pce_svn)) == expected


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 65535)), min_size=1, max_size=8),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 65535),
)
def test_the_first_reached_level_in_intels_order_is_the_best(
    svns: list[tuple[bytes, int]], components: bytes, pce_svn: int
) -> None:
    levels = tuple(level(*entry) for entry in svns)
    in_order = sorted(levels, key=lambda entry: (entry.components, entry.pce_svn), reverse=True)
    first = next(
        (
            entry
            for entry in in_order
            if entry.pce_svn <= pce_svn and all(components[at] >= entry.components[at] for at in range(16))
        ),
        None,
    )
    assert reached_level(levels, tcb(components, pce_svn)) == first


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
