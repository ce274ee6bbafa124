"""An SGX enclave as the chip serves it: EREPORT, EGETKEY, quotes."""

from dataclasses import dataclass
from typing import Self

from casemate.chip.errors import LeafError, Status
from casemate.chip.secret import Secret
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import GetReportKey, GetSealingKey, MakeReport
from casemate.wire.protocol.deployment import DEPLOYMENT_SIZE, NO_DEPLOYMENT
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.sgx.attributes import AttributeMask
from casemate.wire.sgx.keyrequest import KeyName, KeyPolicy, KeyRequest
from casemate.wire.sgx.report import Report, TargetInfo

ATTRIBUTE_MASK = AttributeMask(0xFF00_0000_0000_000B, 0)
"""Attributes that enter a sealing key, as in the SGX SDK (TSEAL_DEFAULT_FLAGSMASK, sgx_tseal.h)."""
MISC_MASK = 0xF000_0000
"""TSEAL_DEFAULT_MISCMASK, the same."""


@dataclass(frozen=True, slots=True)
class SgxAttester:
    """An :class:`casemate.chip.attester.Attester`, of an enclave that EINIT has let in."""

    platform: SgxPlatform
    secs: Secs

    @property
    def identity(self) -> Identity:
        """From SECS."""
        secs = self.secs
        return Identity(
            tee=Tee.SGX,
            measurement=secs.mr_enclave,
            mr_signer=secs.mr_signer,
            isv_prod_id=secs.isv_prod_id,
            isv_svn=secs.isv_svn,
            debug=secs.attributes.debug,
            deployment=secs.config_id[:DEPLOYMENT_SIZE],
        )

    @property
    def launch_digest(self) -> None:
        """MRENCLAVE is all that is measured."""

    @property
    def tcb(self) -> bytes:
        """CPUSVN."""
        return self.platform.tcb.cpu_svn

    def started(self) -> Self:
        """Itself: SGX has no launch to repeat."""
        return self

    def report(self, question: MakeReport) -> bytes:
        """EREPORT; :class:`LeafError` where the target is malformed."""
        try:
            target = TargetInfo.parse(question.target_info)
        except WireError as error:
            raise LeafError(Status.GENERAL_PROTECTION, str(error)) from None
        return self.platform.ereport(self.secs, target, question.report_data).encode()

    def report_key(self, question: GetReportKey) -> Secret:
        """EGETKEY of a REPORT_KEY, for which all fields of a KEYREQUEST but KEYID are ignored."""
        return self.platform.keys.report_key(self.secs.target_info(), question.key_id)

    def sealing_key(self, question: GetSealingKey) -> Secret:
        """EGETKEY of a SEAL_KEY; :class:`LeafError` as the SDM says.

        One deployment's keys are no other's: where CONFIGID names one, it enters the key.
        """
        is_owned = self.identity.deployment != NO_DEPLOYMENT
        request = KeyRequest(
            key_name=KeyName.SEAL_KEY,
            key_policy=question.binding.key_policy | (KeyPolicy.CONFIGID if is_owned else KeyPolicy(0)),
            isv_svn=question.isv_svn,
            cet_attributes_mask=0,
            cpu_svn=question.tcb,
            attribute_mask=ATTRIBUTE_MASK,
            key_id=question.key_id,
            misc_mask=MISC_MASK,
            config_svn=0,
        )
        return self.platform.keys.egetkey(self.secs, request)

    def evidence(self, report: bytes) -> bytes:
        """The quote over a REPORT.

        Raises:
            WireError: it is no REPORT.
            ReportRefusedError: it was not made for the quoting enclave, on this chip, at this TCB.
            CertificationError: the PCK is not certified for the present TCB.
        """
        return self.platform.quoting.quote(Report.parse(report))
