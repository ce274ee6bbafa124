from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.snp.report import REPORT_SIZE, SigningKey, SnpReport
from casemate.wire.snp.tcb import Product, TcbVersion


@pytest.mark.parametrize(
    ("name", "version", "product", "key"),
    [
        ("milan_v2", 2, Product.MILAN, SigningKey.VCEK),
        ("milan_v3", 3, Product.MILAN, SigningKey.VCEK),
        ("genoa_v3", 3, Product.GENOA, SigningKey.VCEK),
        ("milan_v3_vlek", 3, Product.MILAN, SigningKey.VLEK),
    ],
)
def test_real_reports_keep_every_byte(
    vectors: Path, name: str, version: int, product: Product, key: SigningKey
) -> None:
    data = (vectors / "snp" / f"{name}.report.bin").read_bytes()
    report = SnpReport.parse(data)
    assert report.encode() == data
    assert (report.version, report.signing_key) == (version, key)
    for tcb in (report.reported_tcb, report.committed_tcb, report.launch_tcb, report.current_tcb):
        assert TcbVersion.parse(product, tcb).encode() == tcb


@given(
    st.binary(min_size=REPORT_SIZE, max_size=REPORT_SIZE)
    | st.builds(
        lambda version, at, byte: bytes([version]) + bytes(at) + bytes([byte]) + bytes(REPORT_SIZE - 2 - at),
        st.integers(0, 6),
        st.integers(0, REPORT_SIZE - 2),
        st.integers(0, 255),
    )
    | st.binary(max_size=64)
)
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    try:
        report = SnpReport.parse(data)
    except WireError:
        return
    assert report.encode() == data
    assert report.spans()[-1].end == REPORT_SIZE


@pytest.mark.parametrize("version", [0, 1, 6, 0xFFFF_FFFF])
def test_an_unknown_version_is_named(version: int) -> None:
    with pytest.raises(WireError, match=str(version)):
        SnpReport.parse(version.to_bytes(4, "little") + bytes(REPORT_SIZE - 4))


def test_a_signature_that_does_not_fit_the_curve_is_refused() -> None:
    data = bytearray(REPORT_SIZE)
    data[0] = 2
    data[0x2A0 + 48] = 1
    with pytest.raises(WireError, match="signature_r"):
        SnpReport.parse(bytes(data)).signature()


@given(st.sampled_from(Product), st.binary(min_size=8, max_size=8))
def test_a_tcb_keeps_every_byte_or_refuses(product: Product, data: bytes) -> None:
    try:
        tcb = TcbVersion.parse(product, data)
    except WireError:
        return
    assert tcb.encode() == data


def test_a_floor_is_reached_part_by_part() -> None:
    floor = TcbVersion(Product.TURIN, 1, 1, 5, 70, fmc=1)
    assert TcbVersion(Product.TURIN, 2, 1, 5, 70, fmc=1).reaches(floor)
    assert not TcbVersion(Product.TURIN, 9, 9, 4, 99, fmc=9).reaches(floor)
    assert not TcbVersion(Product.GENOA, 9, 9, 9, 99).reaches(floor)
