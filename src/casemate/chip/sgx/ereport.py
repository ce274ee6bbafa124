"""EREPORT, and the target's check of what it made (SDM vol. 3D, 40.4, EREPORT)."""

import hmac

from casemate.chip.crypto import cmac
from casemate.chip.errors import ReportRefusedError
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.secs import Secs
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo


def ereport(keys: KeyDerivation, secs: Secs, target: TargetInfo, report_data: bytes, *, key_id: bytes) -> Report:
    """A REPORT of the enclave ``secs`` that ``target`` alone can check.

    Args:
        keys: the processor's.
        secs: who asks.
        target: whom it is for; need not exist.
        report_data: the caller's 64 bytes.
        key_id: CR_REPORT_KEYID, the processor's choice at each power-on.
    """
    body = ReportBody(
        cpu_svn=keys.cpu_svn,
        misc_select=secs.misc_select,
        cet_attributes=secs.cet_attributes,
        isv_ext_prod_id=secs.isv_ext_prod_id,
        attributes=secs.attributes,
        mr_enclave=secs.mr_enclave,
        mr_signer=secs.mr_signer,
        config_id=secs.config_id,
        isv_prod_id=secs.isv_prod_id,
        isv_svn=secs.isv_svn,
        config_svn=secs.config_svn,
        isv_family_id=secs.isv_family_id,
        report_data=report_data,
    )
    mac = cmac(keys.report_key(target, key_id).reveal(), body.encode())
    return Report(body, key_id, mac)


def check_report(keys: KeyDerivation, target: Secs, report: Report) -> None:
    """Refuses a REPORT that was not made on this processor, at its present CPUSVN, for the enclave ``target``."""
    key = keys.report_key(target.target_info(), report.key_id)
    if not hmac.compare_digest(cmac(key.reveal(), report.body.encode()), report.mac):
        raise ReportRefusedError(
            "REPORT.MAC does not verify: made for another enclave, on another chip, before its last microcode update, "
            "or changed since"
        )
