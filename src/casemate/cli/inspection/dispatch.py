"""Which of the things it can read a file is, by its first bytes and its size."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from casemate.cli import file_kinds as kinds
from casemate.cli.inspection.certificate import inspect_certificate
from casemate.cli.inspection.documents import inspect_binding, inspect_collateral, inspect_receipt, inspect_releases
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
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.encodings.pem import read_certificates
from casemate.wire.errors import CasemateError
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.sgx.quote import VERSION_3
from casemate.wire.sgx.sigstruct import SIGSTRUCT_SIZE
from casemate.wire.snp.report import REPORT_SIZE

MAX_FILE = MAX_SGXS
"""Longest file that is read (bytes): the longest SGXS stream; receipts that open 16 MiB of input are as long."""


class Kind(StrEnum):
    """Kinds of files that `casemate inspect` can read."""

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
    RELEASES = "releases"


class UnknownFileError(CasemateError):
    """This file is nothing that `casemate inspect` can read."""


def inspect(data: bytes, kind: Kind | None, *, every_record: bool = False) -> tuple[Inspection, ...]:
    """The fields of ``data``; several inspections if a PEM file holds several certificates.

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
    """The kind of a file. A TARGETINFO and a KEYREQUEST are of one size: TARGETINFO is assumed.

    Raises:
        UnknownFileError: nothing that can be explained, with the name of what it is and what to do where that is known.
    """
    found = kinds.recognise(data)
    if found is None and (by_size := _SIZES.get(len(data))) is not None:
        return by_size  # damaged at its start: its reader's error says how
    if found is None:
        raise UnknownFileError(f"file: got {_seen(data)}, want one of: {', '.join(Kind)}")
    if found.kind is kinds.FileKind.QUOTE and found.content[:2] != VERSION_3.to_bytes(2, "little"):
        version = int.from_bytes(found.content[:2], "little")
        raise UnknownFileError(f"quote: got version {version}, want version 3 of an SGX enclave")
    if found.kind is kinds.FileKind.JSON:
        parse_json("file", found.content, limit=MAX_FILE)  # raises a more precise error if it is not valid JSON
    if found.kind not in _KINDS:
        error = UnknownFileError(f"file: got {found.kind.value}, want one of: {', '.join(Kind)}")
        error.advice = found.advice(Path("FILE"))
        raise error
    return _KINDS[found.kind]


def decoded(data: bytes) -> tuple[bytes, str]:
    """The bytes that hexadecimal or base64 text stands for, and the name of the encoding; other bytes unchanged."""
    found = kinds.recognise(data)
    return (data, "") if found is None else (found.content, found.encoding)


def _certificates(data: bytes) -> tuple[Inspection, ...]:
    return tuple(map(inspect_certificate, read_certificates("certificate", data)))


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
    Kind.RELEASES: inspect_releases,
}

_SIZES = {REPORT_SIZE: Kind.SNP_REPORT, SIGSTRUCT_SIZE: Kind.SIGSTRUCT}

_KINDS = {
    kinds.FileKind.QUOTE: Kind.QUOTE,
    kinds.FileKind.SNP_REPORT: Kind.SNP_REPORT,
    kinds.FileKind.REPORT: Kind.REPORT,
    kinds.FileKind.REPORT_BODY: Kind.REPORT_BODY,
    kinds.FileKind.TARGETINFO: Kind.TARGETINFO,
    kinds.FileKind.SGXS: Kind.SGXS,
    kinds.FileKind.SIGSTRUCT: Kind.SIGSTRUCT,
    kinds.FileKind.CERTIFICATE: Kind.CERTIFICATE,
    kinds.FileKind.RECEIPT: Kind.RECEIPT,
    kinds.FileKind.COLLATERAL: Kind.COLLATERAL,
    kinds.FileKind.BINDING: Kind.BINDING,
    kinds.FileKind.RELEASES: Kind.RELEASES,
}
