"""Two enclaves of a real chip; only the sockets between them and it are left out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.store_lab import SECS, Lab, LabLeaf, finish, lab

from casemate.chip.fuses import seeded_fuses
from casemate.chip.sgx.tcb import FIRST_TCB, Tcb
from casemate.chip.snp.paravirtual import ParavirtualGuest
from casemate.chip.snp.platform import SnpPlatform
from casemate.enclave.chip.local_reports import LocalReportError, LocalReports, rehearse_local_reports
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.report import Report

CALLER = replace(SECS, mr_enclave=b"a" * 32)
CALLED = replace(SECS, mr_enclave=b"b" * 32)
DATA = bytes(range(64))
SIZE = 432


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("machine")) as ready:
        yield ready


@pytest.fixture(scope="module")
def called(machine: Lab) -> LocalReports:
    return LocalReports(machine.leaf(CALLED), Tee.SGX)


@pytest.fixture(scope="module")
def report(machine: Lab, called: LocalReports) -> bytes:
    """What the caller says to the called one."""
    return finish(machine.leaf(CALLER).report(finish(called.own_target_info()), DATA))


def refused(reports: LocalReports, data: bytes) -> str:
    with pytest.raises(LocalReportError) as caught:
        finish(reports.check(data))
    return caught.value.rule


def test_the_one_that_it_is_for_learns_who_has_made_it(called: LocalReports, report: bytes) -> None:
    body = finish(called.check(report))
    assert (body.mr_enclave, body.mr_signer, body.isv_prod_id, body.isv_svn) == (b"a" * 32, b"s" * 32, 7, 2)
    assert body.report_data == DATA


def test_target_info_is_what_the_chip_knows_of_it(called: LocalReports) -> None:
    assert finish(called.own_target_info()) == CALLED.target_info().encode()


@pytest.mark.parametrize(
    "another",
    [
        CALLER,
        replace(CALLED, config_id=b"c" * 64),
        replace(CALLED, attributes=replace(CALLED.attributes, xfrm=7)),
    ],
    ids=["code", "deployment", "attributes"],
)
def test_no_other_enclave_takes_it(machine: Lab, report: bytes, another: object) -> None:
    assert refused(LocalReports(machine.leaf(another), Tee.SGX), report) == "report.mac"  # type: ignore[arg-type]


@given(byte=st.integers(0, SIZE - 1), bit=st.integers(0, 7))
def test_each_changed_bit_is_refused_by_name(called: LocalReports, report: bytes, byte: int, bit: int) -> None:
    changed = bytearray(report)
    changed[byte] ^= 1 << bit
    rules = {"report.format", "report.mac"}
    if byte < 16:
        rules = {"report.cpu-svn"}
    elif 384 <= byte < 416:
        rules = {"report.key-id"}
    assert refused(called, bytes(changed)) in rules


@given(data=st.binary(max_size=2 * SIZE))
def test_arbitrary_bytes_are_no_report(called: LocalReports, data: bytes) -> None:
    assert refused(called, data) == "report.format"


def test_one_of_another_chip_is_refused(called: LocalReports, tmp_path: Path, machine: Lab) -> None:
    other = Lab(tmp_path, machine.loop, seed="another chip")
    try:
        made = finish(other.leaf(CALLER).report(CALLED.target_info().encode(), DATA))
        assert refused(called, made) == "report.key-id"
        own = Report.parse(finish(machine.leaf().report(bytes(512), DATA)))
        assert refused(called, replace(Report.parse(made), key_id=own.key_id).encode()) == "report.mac"
    finally:
        other.anchors.close()


def test_one_from_before_a_microcode_update_is_refused(tmp_path: Path) -> None:
    with lab(tmp_path) as own:
        target = CALLED.target_info().encode()
        before = finish(own.leaf(CALLER).report(target, DATA))
        own.reboot(Tcb(bytes([FIRST_TCB.cpu_svn[0] + 1]) + FIRST_TCB.cpu_svn[1:], FIRST_TCB.pce_svn))
        reports = LocalReports(own.leaf(CALLED), Tee.SGX)
        assert refused(reports, before) == "report.cpu-svn"
        assert finish(reports.check(finish(own.leaf(CALLER).report(target, DATA)))).report_data == DATA


def test_a_guest_of_snp_is_refused_by_itself_and_by_the_chip(machine: Lab, report: bytes, tmp_path: Path) -> None:
    platform = SnpPlatform(tmp_path, seeded_fuses("a chip"))
    guest = ParavirtualGuest.launch(platform, bytes(8192), Identity(Tee.SGX, b"e" * 32, b"s" * 32, 7, 3, debug=False))
    leaf = LabLeaf(machine.leaves, guest, machine.loop)
    reports = LocalReports(leaf, Tee.SNP)
    assert refused(reports, report) == "report.tee"
    with pytest.raises(LocalReportError, match=r"report\.tee: got a guest of snp"):
        finish(reports.own_target_info())
    with pytest.raises(FaultError, match="no report keys") as caught:
        finish(leaf.report_key(bytes(32)))
    assert caught.value.fault.code is Code.REPORT_REFUSED


def test_rehearsal_finds_nothing_wrong() -> None:
    assert rehearse_local_reports() is None
