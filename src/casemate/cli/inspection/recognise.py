"""Which of the things it can read a file is, by its first bytes and its size."""

from collections.abc import Callable
from enum import StrEnum

from casemate.cli.inspection.certificate import inspect_certificate
from casemate.cli.inspection.documents import inspect_binding, inspect_collateral, inspect_receipt
from casemate.cli.inspection.field import Inspection
from casemate.cli.inspection.snp import inspect_snp_report
from casemate.cli.inspection.structures import (
    inspect_key_request,
    inspect_quote,
    inspect_report,
    inspect_report_body,
    inspect_sgxs,
    inspect_sigstruct,
    inspect_target_info,
)
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.pem import parse_chain
from casemate.wire.sgx.quote import HEADER_SIZE, SIGNED_SIZE, VERSION_3, QuoteHeader
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo
from casemate.wire.sgx.sigstruct import SIGSTRUCT_SIZE
from casemate.wire.snp.report import REPORT_SIZE

MAX_FILE = MAX_SGXS
"""Longest file that is read (bytes): the longest SGXS stream; receipts that open 16 MiB of input are as long."""

_OTHER_VERSIONS = (4, 5)
"""Versions of quotes that exist and are of other kinds of machine or formats."""

_SGXS_START = b"ECREATE\x00"
_PEM_START = b"-----BEGIN CERTIFICATE-----"
_DER_START = b"\x30\x82"


class Kind(StrEnum):
    """What `casemate inspect` can read."""

    QUOTE = "quote"
    REPORT = "report"
    REPORT_BODY = "report-body"
    TARGETINFO = "targetinfo"
    KEYREQUEST = "keyrequest"
    SNP_REPORT = "snp-report"
    SIGSTRUCT = "sigstruct"
    SGXS = "sgxs"
    CERTIFICATE = "certificate"
    RECEIPT = "receipt"
    COLLATERAL = "collateral"
    BINDING = "binding"


class UnknownFileError(CasemateError):
    """This file is nothing that `casemate inspect` can read."""


def inspect(data: bytes, kind: Kind | None, *, every_record: bool = False) -> tuple[Inspection, ...]:
    """What ``data`` is, field by field; several where a PEM file holds several certificates.

    Args:
        data: the whole file.
        kind: what it is, where the caller knows; None to have it recognised.
        every_record: all records of an SGXS stream instead of a line a page.

    Raises:
        UnknownFileError: it is nothing known.
        WireError: it looks like something known, and is malformed.
    """
    found = recognise(data) if kind is None else kind
    if found is Kind.CERTIFICATE:
        return _certificates(data)
    if found is Kind.SGXS:
        return (inspect_sgxs(data, every_record=every_record),)
    return (_READERS[found](data),)


def recognise(data: bytes) -> Kind:
    """What ``data`` seems to be. A TARGETINFO and a KEYREQUEST are of one size: the first is taken to be meant."""
    start = data.lstrip()[: len(_PEM_START)]
    if start.startswith(b"{"):
        return _document(data[:4096])
    if start == _PEM_START or data.startswith(_DER_START):
        return Kind.CERTIFICATE
    if data.startswith(_SGXS_START):
        return Kind.SGXS
    if (by_size := _SIZES.get(len(data))) is not None:
        return by_size
    if _is_quote(data):
        return Kind.QUOTE
    raise UnknownFileError(f"file: got {_seen(data)}, want one of: {', '.join(Kind)}")


def _document(start: bytes) -> Kind:
    """Which JSON document begins so."""
    if b'"casemate-receipt"' in start:
        return Kind.RECEIPT
    return Kind.BINDING if b'"hpke_key"' in start else Kind.COLLATERAL


def _is_quote(data: bytes) -> bool:
    """Whether the first 48 bytes can be a quote's header."""
    if len(data) < SIGNED_SIZE:
        return False
    try:
        header = QuoteHeader.parse(data[:HEADER_SIZE])
    except WireError:
        return False
    if header.version in _OTHER_VERSIONS:
        raise UnknownFileError(f"quote: got version {header.version}, want version {VERSION_3} of an SGX enclave")
    return header.version == VERSION_3


def _certificates(data: bytes) -> tuple[Inspection, ...]:
    if data.startswith(_DER_START):
        return (inspect_certificate(data),)
    return tuple(inspect_certificate(certificate.der) for certificate in parse_chain("certificate", data))


def _seen(data: bytes) -> str:
    return "an empty file" if not data else f"{len(data)} bytes that begin with {data[:16].hex()}"


_READERS: dict[Kind, Callable[[bytes], Inspection]] = {
    Kind.QUOTE: inspect_quote,
    Kind.REPORT: inspect_report,
    Kind.REPORT_BODY: inspect_report_body,
    Kind.TARGETINFO: inspect_target_info,
    Kind.KEYREQUEST: inspect_key_request,
    Kind.SNP_REPORT: inspect_snp_report,
    Kind.SIGSTRUCT: inspect_sigstruct,
    Kind.RECEIPT: inspect_receipt,
    Kind.COLLATERAL: inspect_collateral,
    Kind.BINDING: inspect_binding,
}

_SIZES = {
    SIGSTRUCT_SIZE: Kind.SIGSTRUCT,
    Report.LAYOUT.size: Kind.REPORT,
    ReportBody.LAYOUT.size: Kind.REPORT_BODY,
    REPORT_SIZE: Kind.SNP_REPORT,
    TargetInfo.LAYOUT.size: Kind.TARGETINFO,
}
