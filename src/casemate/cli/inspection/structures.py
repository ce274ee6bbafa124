"""The fixed binary structures of SGX, each explained by its own layout table in `wire`."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from casemate.cli.inspection.certificate import inspect_certificate
from casemate.cli.inspection.field import Field, Inspection, fields_of
from casemate.cli.inspection.manifest_facts import manifest_facts, manifest_in
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import CasemateError, WireError
from casemate.wire.protocol.image_index import ImageIndex, parse_index
from casemate.wire.sgx.keyrequest import KeyRequest
from casemate.wire.sgx.quote import CertificationDataType, Quote, cut_padding
from casemate.wire.sgx.report import Report, ReportBody, TargetInfo
from casemate.wire.sgx.sgxs import GROUP_SIZE, PAGE_SIZE, Eadd, Ecreate, Sgxs, measure_sgxs
from casemate.wire.sgx.sigstruct import Sigstruct
from casemate.wire.sgx.sigstruct_signature import verify_sigstruct


def inspect_quote(data: bytes) -> Inspection:
    """A quote of version 3; zero padding after it is allowed, as real ones come in buffers."""
    raw = cut_padding(data)
    quote = Quote.parse(raw)
    signature = quote.signature_data
    facts = [
        ("signed bytes", f"0..{len(quote.signed_bytes()) - 1}, by the attestation key"),
        ("MRENCLAVE", quote.body.mr_enclave.hex()),
        ("MRSIGNER", quote.body.mr_signer.hex()),
        ("debug", "yes" if quote.body.attributes.debug else "no"),
    ]
    if signature.certification_data.kind is CertificationDataType.PCK_CHAIN:
        facts += _chain(signature.certification_data.data)
    if len(data) > len(raw):
        facts.append(("padding", f"{len(data) - len(raw)} zero bytes after the quote"))
    return Inspection("quote", "SGX ECDSA quote, version 3", len(data), tuple(facts), fields_of(quote.spans(), raw))


def inspect_report(data: bytes) -> Inspection:
    """A REPORT, 432 bytes."""
    report = Report.parse(data)
    return _fixed("report", "SGX REPORT", Report, data, _identity(report.body))


def inspect_report_body(data: bytes) -> Inspection:
    """The first 384 bytes of a REPORT, as quotes carry them."""
    return _fixed(
        "report-body", "SGX REPORT body, without its MAC", ReportBody, data, _identity(ReportBody.parse(data))
    )


def inspect_target_info(data: bytes) -> Inspection:
    """A TARGETINFO, 512 bytes."""
    TargetInfo.parse(data)
    return _fixed("targetinfo", "SGX TARGETINFO", TargetInfo, data, ())


def inspect_key_request(data: bytes) -> Inspection:
    """A KEYREQUEST, 512 bytes."""
    KeyRequest.parse(data)
    return _fixed("keyrequest", "SGX KEYREQUEST", KeyRequest, data, ())


def inspect_sigstruct(data: bytes) -> Inspection:
    """A SIGSTRUCT, 1808 bytes."""
    sigstruct = Sigstruct.parse(data)
    try:
        verify_sigstruct(sigstruct)
        signature = "verifies under the key it carries; Q1 and Q2 belong to it"
    except CasemateError as error:
        signature = f"DOES NOT VERIFY: {error}"
    facts = (
        ("MRENCLAVE", sigstruct.enclave_hash.hex()),
        ("MRSIGNER", f"{sigstruct.mr_signer().hex()} (SHA-256 of modulus)"),
        ("signed bytes", "0..127 and 900..1027"),
        ("signature", signature),
    )
    return _fixed("sigstruct", "SGX SIGSTRUCT", Sigstruct, data, facts)


def inspect_sgxs(data: bytes, *, every_record: bool = False) -> Inspection:
    """An SGXS stream: its ECREATE and a line for each page, or with ``every_record`` every byte."""
    sgxs = Sgxs.parse(data)
    index = _index(sgxs)
    manifest = None if index is None else manifest_in(sgxs.linear_contents())
    facts = (
        ("MRENCLAVE", f"{measure_sgxs(data).hex()} (SHA-256 of this file)"),
        ("pages", f"{len(sgxs.contents) // PAGE_SIZE}, {len(sgxs.contents)} bytes"),
        ("enclave size", f"{sgxs.ecreate.size} bytes"),
        ("files", "no Casemate image" if index is None else f"{len(index.entries)} measured files"),
        *(() if manifest is None else manifest_facts(manifest)),
    )
    fields = fields_of(sgxs.spans(), data) if every_record else _pages(data, sgxs, index)
    return Inspection("sgxs", "SGXS stream", len(data), facts, fields)


def _pages(data: bytes, sgxs: Sgxs, index: ImageIndex | None) -> Iterator[Field]:
    """ECREATE's fields, then each page's EADD with what the page holds."""
    yield from fields_of(Ecreate.LAYOUT.spans, data)
    at = Ecreate.LAYOUT.size
    for segment in sgxs.segments:
        for offset in range(segment.offset, segment.end, PAGE_SIZE):
            raw = data[at : at + Eadd.LAYOUT.size]
            meaning = f"{segment.flags.name}, {_holds(offset, index)}"
            yield Field(f"page[{offset:#x}]", at, raw, meaning, Eadd.LAYOUT.source)
            at += GROUP_SIZE


def _holds(offset: int, index: ImageIndex | None) -> str:
    """The file of a Casemate image that a page belongs to."""
    if index is None:
        return "contents not known"
    # Of several entries with this offset the last one holds the page: those before it are empty files.
    at = bisect_right(index.entries, offset, key=lambda entry: entry.offset) - 1
    if at >= 0:
        return f"{index.entries[at].path}, from byte {offset - index.entries[at].offset}"
    return "index of files"


def _index(sgxs: Sgxs) -> ImageIndex | None:
    """The index of a Casemate image; None where the pages are something else."""
    try:
        return parse_index(sgxs.linear_contents())
    except WireError:
        return None


def _fixed(kind: str, title: str, structure: Any, data: bytes, facts: tuple[tuple[str, str], ...]) -> Inspection:
    return Inspection(kind, title, len(data), facts, fields_of(structure.LAYOUT.spans, data))


def _identity(body: ReportBody) -> tuple[tuple[str, str], ...]:
    return (("debug", "yes" if body.attributes.debug else "no"),)


def _chain(pem: bytes) -> list[tuple[str, str]]:
    """A line for each certificate of the quote's chain."""
    try:
        certificates = parse_chain("certification data", pem)
        found = []
        for number, certificate in enumerate(certificates):
            facts = dict(inspect_certificate(certificate.der).facts)
            simulated = f" ({facts['simulated']})" if "simulated" in facts else ""
            found.append((f"certificate {number}", f"{facts['subject']}, until {facts['valid until']}{simulated}"))
    except WireError as error:
        return [("certificates", f"malformed: {error}")]
    return found
