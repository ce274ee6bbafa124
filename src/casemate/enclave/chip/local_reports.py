"""Local attestation: names this enclave as a target, and checks the REPORTs that others have made for it.

A REPORT says who has made it, on this chip. It says nothing of when: whoever checks one has it bind a fresh nonce in
REPORTDATA, since a REPORT of the same power-on is as good as on its first day.
"""

import hmac
from typing import NewType

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from casemate.enclave.chip.leaf import Leaf
from casemate.wire.encodings.message import prepare
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.leaf import GetReportKey, KeyIs, MakeReport, ReportMade
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo

CheckedReport = NewType("CheckedReport", ReportBody)
"""What an enclave on this chip, at its present CPUSVN, has said to this one; :meth:`LocalReports.check` makes it."""

_NOBODY = bytes(512)
"""A TARGETINFO of zeros: no enclave measures to it, and a REPORT for it is read, never checked."""
_NO_DATA = bytes(64)


class LocalReportError(CasemateError):
    """A REPORT does not prove to this enclave who has made it.

    Args:
        rule: the name of the check.
        got: what the REPORT has.
        want: what it must have.
    """

    def __init__(self, rule: str, *, got: str, want: str) -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.rule = rule
        self.got = got
        self.want = want


class LocalReports:
    """This enclave's end of local attestation."""

    def __init__(self, leaf: Leaf, tee: Tee) -> None:
        self._leaf = leaf
        self._tee = tee

    async def own_target_info(self) -> bytes:
        """TARGETINFO (512 bytes) that makes a REPORT one for this enclave.

        Raises:
            LocalReportError: ``report.tee``: this is a guest of SEV-SNP.
        """
        return TargetInfo.of((await self._own()).body).encode()

    async def check(self, data: bytes) -> CheckedReport:
        """The body of a REPORT (432 bytes, hostile) that an enclave of this chip has made for this one.

        Raises:
            LocalReportError: ``report.tee``: this is a guest of SEV-SNP; ``report.format``: it is no REPORT;
                ``report.cpu-svn``: of other microcode; ``report.key-id``: of another power-on, or another chip;
                ``report.mac``: for another target, or changed since.
        """
        own = await self._own()  # each time: microcode is updated while enclaves run
        try:
            report = Report.parse(data)
        except WireError as error:
            raise LocalReportError("report.format", got=f"{error.field} {error.got}", want=str(error.want)) from None
        _expect("report.cpu-svn", report.body.cpu_svn, own.body.cpu_svn, "this chip's at present")
        _expect("report.key-id", report.key_id, own.key_id, "this chip's since its power-on")
        key = await self._leaf.report_key(report.key_id)
        if not hmac.compare_digest(_cmac(key, report.body.encode()), report.mac):
            raise LocalReportError(
                "report.mac", got="another MAC", want="that of a REPORT for this enclave by this chip, unchanged"
            )
        return CheckedReport(report.body)

    async def _own(self) -> Report:
        if self._tee is not Tee.SGX:
            raise LocalReportError("report.tee", got=f"a guest of {self._tee}", want="an SGX enclave: show evidence")
        return Report.parse(await self._leaf.report(_NOBODY, _NO_DATA))


def rehearse_local_reports() -> str | None:
    """Makes a MAC before the enclave can open no file; says what is wrong with the libraries, or None."""
    prepare(GetReportKey, KeyIs, MakeReport, ReportMade)
    known = bytes.fromhex("bb1d6929e95937287fa37d129b756746")
    if _cmac(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"), b"") != known:  # RFC 4493, section 4, example 1
        return "AES-CMAC gives another value than RFC 4493"
    return None


def _cmac(key: bytes, message: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


def _expect(rule: str, got: bytes, want: bytes, whose: str) -> None:
    if got != want:
        raise LocalReportError(rule, got=got.hex(), want=f"{want.hex()}, {whose}")
