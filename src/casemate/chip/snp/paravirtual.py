"""A paravirtual guest of SEV-SNP, as the chip serves it: reports, and keys derived for it.

SIMULATED: hardware has no such guests, see :mod:`casemate.wire.snp.paravirtual`. What is asked comes over the socket
that is the guest's identity, so there are no sealed messages and no secrets page.
"""

import secrets
from dataclasses import dataclass, replace
from typing import Annotated, Self

from casemate.chip.errors import ReportRefusedError
from casemate.chip.secret import Secret
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.platform import ReportedGuest, SnpPlatform
from casemate.wire.encodings.message import U16, Bytes16, Bytes32, Limit, encode_fields
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import GetReportKey, GetSealingKey, MakeReport
from casemate.wire.protocol.deployment import NO_DEPLOYMENT
from casemate.wire.protocol.seal_binding import SealBinding
from casemate.wire.protocol.tee import Identity, Tee
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.page_info import DIGEST_SIZE
from casemate.wire.snp.paravirtual import FAMILY_ID, guest_pages, guest_policy, id_key_digest, image_id
from casemate.wire.snp.report import NO_MIGRATION_AGENT, REPORT_SIZE
from casemate.wire.snp.tcb import TcbVersion

_LABEL = b"casemate paravirtual sealing key v1\x00"
_KEY_SIZE = 16
_TCB_SIZE = 8
_REPORT_ID_SIZE = 32


@dataclass(frozen=True, slots=True)
class _Dependencies:
    """The inputs of a sealing key; those that its binding leaves out are empty."""

    binding: Annotated[str, Limit(16)]
    measurement: Annotated[bytes, Limit(DIGEST_SIZE)]
    mr_signer: Annotated[bytes, Limit(32)]
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
    tcb: Bytes16
    key_id: Bytes32


@dataclass(frozen=True, slots=True)
class ParavirtualGuest:
    """An :class:`casemate.chip.attester.Attester`; :meth:`launch` makes it."""

    platform: SnpPlatform
    identity: Identity
    report_id: bytes
    launch_tcb: TcbVersion

    @classmethod
    def launch(cls, platform: SnpPlatform, pages: bytes, signed: Identity) -> Self:
        """The guest of these pages.

        Args:
            platform: this chip's.
            pages: an image's, in address order.
            signed: what the chip has found of the same image as an enclave.
        """
        digest = digest_of(guest_pages(pages))
        return cls(
            platform=platform,
            identity=replace(signed, tee=Tee.SNP, measurement=digest),
            report_id=secrets.token_bytes(_REPORT_ID_SIZE),
            launch_tcb=platform.state.current.tcb,
        )

    def started(self) -> Self:
        """This guest for a new process, with a new REPORT_ID and launch TCB."""
        return replace(self, report_id=secrets.token_bytes(_REPORT_ID_SIZE), launch_tcb=self.platform.state.current.tcb)

    @property
    def launch_digest(self) -> bytes:
        """The digest of its pages as SNP_LAUNCH_UPDATE extends it."""
        return self.identity.measurement

    @property
    def tcb(self) -> bytes:
        """The committed TCB_VERSION: what the platform will always reach again."""
        return self.platform.state.committed.tcb.encode().ljust(16, b"\x00")

    def report(self, question: MakeReport) -> bytes:
        """ATTESTATION_REPORT, by VMPL 0; :class:`FirmwareError` where a VLEK is loaded, for another TCB."""
        who = self.identity
        guest = ReportedGuest(
            guest_svn=who.isv_svn,
            policy=guest_policy(debug=who.debug),
            family_id=FAMILY_ID,
            image_id=image_id(who.isv_prod_id),
            vmpl=0,
            report_data=question.report_data,
            measurement=who.measurement,
            host_data=who.deployment,
            id_key_digest=id_key_digest(who.mr_signer),
            author_key_digest=bytes(DIGEST_SIZE),
            author_key=False,
            report_id=self.report_id,
            report_id_ma=NO_MIGRATION_AGENT,
            launch_tcb=self.launch_tcb,
        )
        return self.platform.report(guest, self.platform.choose(KeySelect.EITHER)).encode()

    def report_key(self, question: GetReportKey) -> Secret:  # noqa: ARG002 - others' depends on it
        """Refused: everybody can check the report of a guest; none is made for one reader."""
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, "a guest of SEV-SNP has no report keys, an SGX enclave has")

    def sealing_key(self, question: GetSealingKey) -> Secret:
        """Follows from the VCEK's secret at the TCB that is asked for, and from who this guest is.

        Raises:
            FirmwareError: INVALID_PARAM: a security version or a TCB above the guest's and the platform's.
        """
        who = self.identity
        if question.isv_svn > who.isv_svn:
            raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"SVN {question.isv_svn}, the guest's is {who.isv_svn}")
        tcb = self._reached(question.tcb)
        by_code = question.binding is SealBinding.MRENCLAVE
        label = _LABEL + encode_fields(
            _Dependencies(
                binding=str(question.binding),
                measurement=who.measurement if by_code else b"",
                mr_signer=b"" if by_code else who.mr_signer,
                isv_prod_id=who.isv_prod_id,
                isv_svn=question.isv_svn,
                debug=who.debug,
                tcb=question.tcb,
                key_id=question.key_id,
            )
        )
        if who.deployment != NO_DEPLOYMENT:  # without an owner, the keys are those of versions that knew none
            label += who.deployment
        return self.platform.secret_at(tcb, label, _KEY_SIZE)

    def evidence(self, report: bytes) -> bytes:
        """The report: everybody can check it.

        Raises:
            ReportRefusedError: it is none.
        """
        if len(report) != REPORT_SIZE:
            raise ReportRefusedError(f"{len(report)} bytes, an attestation report has {REPORT_SIZE}")
        return report

    def _reached(self, data: bytes) -> TcbVersion:
        committed = self.platform.state.committed.tcb
        try:
            tcb = TcbVersion.parse(self.platform.product, data[:_TCB_SIZE])
        except WireError as error:
            raise FirmwareError(FirmwareStatus.INVALID_PARAM, str(error)) from None
        if any(data[_TCB_SIZE:]) or not committed.reaches(tcb):
            raise FirmwareError(
                FirmwareStatus.INVALID_PARAM, f"TCB {data.hex()} is above the committed one, {committed.encode().hex()}"
            )
        return tcb
