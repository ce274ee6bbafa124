"""The format of a quote, and what its PCK certificate says of the platform. No signature is checked here."""

from functools import lru_cache

from casemate.verifier.chains import Chain
from casemate.verifier.checks import Trail
from casemate.verifier.rules import Rule
from casemate.wire.errors import WireError
from casemate.wire.sgx.pck import PckExtension
from casemate.wire.sgx.quote import (
    HEADER_SIZE,
    INTEL_QE_VENDOR_ID,
    MAX_QUOTE,
    TEE_SGX,
    VERSION_3,
    AttestationKeyType,
    CertificationDataType,
    Quote,
    QuoteHeader,
)

QUOTE_RULES = (
    Rule.QUOTE_FORMAT,
    Rule.QUOTE_VERSION,
    Rule.QUOTE_KEY_TYPE,
    Rule.QUOTE_TEE_TYPE,
    Rule.QUOTE_QE_VENDOR,
    Rule.QUOTE_CERTIFICATION_DATA,
)
PCK_RULES = (Rule.PCK_EXTENSION,)


def check_quote(trail: Trail, data: bytes) -> Quote:
    """The parsed quote, if it is of a kind that is known here."""
    quote = None if trail.thorough else _parse_at_once(data)
    if quote is None:
        _check_header(trail, data)
        quote = trail.parse(Rule.QUOTE_FORMAT, Quote.parse, data, "a quote")
    trail.expect(
        Rule.QUOTE_QE_VENDOR,
        quote.header.qe_vendor_id == INTEL_QE_VENDOR_ID,
        got=quote.header.qe_vendor_id,
        want=INTEL_QE_VENDOR_ID,
        at=("header.qe_vendor_id",),
    )
    kind = quote.signature_data.certification_data.kind
    trail.require(
        Rule.QUOTE_CERTIFICATION_DATA,
        kind is CertificationDataType.PCK_CHAIN,
        got=lambda: f"type {kind} {kind.name}",
        want=lambda: f"type {CertificationDataType.PCK_CHAIN} {CertificationDataType.PCK_CHAIN.name}",
        at=("signature_data.certification_data.type",),
    )
    return quote


def _parse_at_once(data: bytes) -> Quote | None:
    """The quote if all rules about its format hold; else None, and the caller finds out which one does not."""
    if len(data) > MAX_QUOTE:
        return None
    try:
        return Quote.parse(data)
    except WireError:
        return None


def _check_header(trail: Trail, data: bytes) -> None:
    """Checks the header, which says how to read the rest."""
    header = trail.parse(Rule.QUOTE_FORMAT, _parse_header, data, "a quote's header")
    trail.require(
        Rule.QUOTE_VERSION, header.version == VERSION_3, got=header.version, want=VERSION_3, at=("header.version",)
    )
    trail.require(
        Rule.QUOTE_KEY_TYPE,
        header.attestation_key_type is AttestationKeyType.ECDSA_P256,
        got=header.attestation_key_type.name,
        want=AttestationKeyType.ECDSA_P256.name,
        at=("header.attestation_key_type",),
    )
    trail.require(
        Rule.QUOTE_TEE_TYPE, header.tee_type == TEE_SGX, got=header.tee_type, want=TEE_SGX, at=("header.tee_type",)
    )


def pck_extension(trail: Trail, chain: Chain) -> PckExtension:
    """The SGX extension of the PCK certificate, which describes the platform."""
    extension = chain.leaf.pck_extension
    if extension is None:
        trail.refuse(Rule.PCK_EXTENSION, got="none", want="Intel's SGX extension")
    return trail.parse(Rule.PCK_EXTENSION, _parse_extension, extension, "Intel's SGX extension")


@lru_cache(maxsize=256)
def _parse_extension(data: bytes) -> PckExtension:
    return PckExtension.parse(data)


def _parse_header(data: bytes) -> QuoteHeader:
    if len(data) > MAX_QUOTE:
        raise WireError("QUOTE", got=f"{len(data)} bytes", want=f"at most {MAX_QUOTE}")
    return QuoteHeader.parse(data[:HEADER_SIZE])
