from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from casemate.chip.errors import ReportRefusedError
from casemate.chip.fuses import Fuses, seeded_fuses
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.ereport import check_report, ereport
from casemate.chip.sgx.secs import Secs
from casemate.wire.sgx.attributes import CetAttributes, MiscSelect
from casemate.wire.sgx.keyrequest import KeyName, KeyRequest
from casemate.wire.sgx.report import Report
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS

KEY_ID = b"\x1d" * 32
DATA = bytes(range(64))


@pytest.fixture
def target(secs: Secs) -> Secs:
    return replace(secs, mr_enclave=b"\x7a" * 32)


@pytest.fixture
def report(keys: KeyDerivation, secs: Secs, target: Secs) -> Report:
    return ereport(keys, secs, target.target_info(), DATA, key_id=KEY_ID)


def test_body_is_the_askers_identity(report: Report, secs: Secs) -> None:
    body = report.body
    assert (body.mr_enclave, body.mr_signer, body.report_data) == (secs.mr_enclave, secs.mr_signer, DATA)
    assert (body.attributes, body.misc_select, body.cet_attributes) == (
        secs.attributes, secs.misc_select, secs.cet_attributes,
    )  # fmt: skip
    assert (body.isv_prod_id, body.isv_svn, body.config_svn) == (7, 5, 3)
    assert (body.isv_ext_prod_id, body.isv_family_id, body.config_id) == (
        secs.isv_ext_prod_id, secs.isv_family_id, secs.config_id,
    )  # fmt: skip
    assert body.cpu_svn == FIRST_COMPONENTS
    assert report.key_id == KEY_ID


def test_target_checks_it_with_the_key_egetkey_gives_it(
    keys: KeyDerivation, target: Secs, report: Report, seal_request: KeyRequest
) -> None:
    """As an enclave does it: EGETKEY for REPORT_KEY with the REPORT's KEYID, CMAC over the first 384 bytes."""
    key = keys.egetkey(target, replace(seal_request, key_name=KeyName.REPORT_KEY, key_id=report.key_id))
    mac = CMAC(AES(key.reveal()))
    mac.update(report.encode()[:384])
    assert mac.finalize() == report.mac
    check_report(keys, target, report)


@pytest.mark.parametrize(
    "change",
    [
        {"mr_enclave": bytes(32)},
        {"misc_select": MiscSelect(0)},
        {"cet_attributes": CetAttributes(0)},
        {"config_id": bytes(64)},
        {"config_svn": 0},
    ],
)
def test_refuses_report_for_another_target(
    keys: KeyDerivation, target: Secs, report: Report, change: dict[str, object]
) -> None:
    with pytest.raises(ReportRefusedError, match="MAC does not verify"):
        check_report(keys, replace(target, **change), report)  # type: ignore[arg-type] # one field each


def test_refuses_changed_body_key_id_and_mac(keys: KeyDerivation, target: Secs, report: Report) -> None:
    for forged in (
        replace(report, body=replace(report.body, report_data=bytes(64))),
        replace(report, body=replace(report.body, isv_svn=6)),
        replace(report, key_id=bytes(32)),
        replace(report, mac=report.mac[:-1] + bytes((report.mac[-1] ^ 1,))),
    ):
        with pytest.raises(ReportRefusedError, match="MAC"):
            check_report(keys, target, forged)


def test_refuses_report_from_another_chip(target: Secs, report: Report) -> None:
    with pytest.raises(ReportRefusedError, match="MAC"):
        check_report(KeyDerivation(seeded_fuses("another"), FIRST_COMPONENTS), target, report)


def test_refuses_report_from_before_a_microcode_update(fuses: Fuses, target: Secs, report: Report) -> None:
    with pytest.raises(ReportRefusedError, match="microcode"):
        check_report(KeyDerivation(fuses, bytes((9, *FIRST_COMPONENTS[1:]))), target, report)
