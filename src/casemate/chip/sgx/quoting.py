"""The quoting enclave (QE): turns a REPORT of this chip into a quote that strangers can check.

Its attestation key follows from its sealing key at the present TCB, as in Intel's, so it survives restarts and changes
with the TCB. SIMULATED: it is a function of the chip, not an enclave with pages; it makes and checks REPORTs as one.
"""

import hashlib

from casemate.chip.crypto import SigningKey, derive
from casemate.chip.sgx.egetkey import KeyDerivation
from casemate.chip.sgx.ereport import check_report, ereport
from casemate.chip.sgx.provisioning import ProvisioningEnclave
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import Tcb
from casemate.wire.sgx.attributes import ALL_ATTRIBUTES, CetAttributes
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.quote import (
    INTEL_QE_VENDOR_ID,
    TEE_SGX,
    VERSION_3,
    AttestationKeyType,
    CertificationData,
    CertificationDataType,
    Quote,
    QuoteHeader,
    QuoteSignatureData,
)
from casemate.wire.sgx.report import Report, TargetInfo
from casemate.wire.sgx.simulated_platform import (
    QE_ATTRIBUTES,
    QE_ISV_PROD_ID,
    QE_ISV_SVN,
    QE_MISC_SELECT,
    QE_MR_ENCLAVE,
    QE_MR_SIGNER,
)

QE_ID_SIZE = 16
AUTHENTICATION_DATA = bytes(range(32))
"""Bound into the QE report beside the attestation key; Intel's quoting enclave has these very bytes."""

_ATTESTATION_LABEL = b"casemate attestation key v1"
_QE_ID_LABEL = b"casemate quoting enclave id v1"

QE_SECS = Secs(
    attributes=QE_ATTRIBUTES,
    misc_select=QE_MISC_SELECT,
    cet_attributes=CetAttributes(0),
    mr_enclave=QE_MR_ENCLAVE,
    mr_signer=QE_MR_SIGNER,
    isv_prod_id=QE_ISV_PROD_ID,
    isv_svn=QE_ISV_SVN,
    isv_ext_prod_id=bytes(16),
    isv_family_id=bytes(16),
    config_id=bytes(64),
    config_svn=0,
)


class QuotingEnclave:
    """The QE at one TCB. What is the same in each of its quotes is made once, here."""

    def __init__(self, keys: KeyDerivation, tcb: Tcb, pce: ProvisioningEnclave, chain: bytes, *, key_id: bytes) -> None:
        """Has its attestation key certified by the PCE.

        Args:
            keys: the processor's.
            tcb: what runs.
            pce: at the same TCB.
            chain: PEM: the PCK's certificate, its CA, the root.
            key_id: CR_REPORT_KEYID.
        """
        self._keys = keys
        self._key = SigningKey.derived(keys.egetkey(QE_SECS, _seal_key(tcb.cpu_svn, QE_ISV_SVN)), _ATTESTATION_LABEL)
        bound = hashlib.sha256(self._key.public_key + AUTHENTICATION_DATA).digest() + bytes(32)
        qe_report = ereport(keys, QE_SECS, pce.secs.target_info(), bound, key_id=key_id)
        ever = keys.egetkey(QE_SECS, _seal_key(bytes(len(tcb.cpu_svn)), 0))
        qe_id = derive(ever.reveal(), _QE_ID_LABEL, QE_ID_SIZE)
        self._header = QuoteHeader(
            version=VERSION_3,
            attestation_key_type=AttestationKeyType.ECDSA_P256,
            tee_type=TEE_SGX,
            qe_svn=QE_ISV_SVN,
            pce_svn=tcb.pce_svn,
            qe_vendor_id=INTEL_QE_VENDOR_ID,
            user_data=qe_id.ljust(20, b"\x00"),
        )
        self._qe_report = qe_report.body
        self._qe_report_signature = pce.certify(qe_report)
        self._certification_data = CertificationData(CertificationDataType.PCK_CHAIN, chain)

    @property
    def target_info(self) -> TargetInfo:
        """TARGETINFO for EREPORT: makes a REPORT that this QE can check."""
        return QE_SECS.target_info()

    def quote(self, report: Report) -> bytes:
        """A quote of version 3 over the body of ``report``.

        Raises:
            ReportRefusedError: the REPORT was not made for the QE, on this chip, at this TCB.
        """
        check_report(self._keys, QE_SECS, report)
        signature = self._key.sign(self._header.encode() + report.body.encode())
        return Quote(
            self._header,
            report.body,
            QuoteSignatureData(
                signature=signature,
                attestation_key=self._key.public_key,
                qe_report=self._qe_report,
                qe_report_signature=self._qe_report_signature,
                qe_authentication_data=AUTHENTICATION_DATA,
                certification_data=self._certification_data,
            ),
        ).encode()


def _seal_key(cpu_svn: bytes, isv_svn: int) -> KeyRequest:
    return KeyRequest(
        key_name=KeyName.SEAL_KEY,
        key_policy=KeyPolicy.MRSIGNER,
        isv_svn=isv_svn,
        cet_attributes_mask=0,
        cpu_svn=cpu_svn,
        attribute_mask=ALL_ATTRIBUTES,
        key_id=bytes(32),
        misc_mask=0,
        config_svn=0,
    )
