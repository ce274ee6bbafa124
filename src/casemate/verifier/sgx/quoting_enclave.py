"""The quoting enclave: the PCK vouches for it, it vouches for the attestation key, and Intel publishes its identity."""

import hashlib

from casemate.verifier.chains import Chain
from casemate.verifier.checks import Trail
from casemate.verifier.crypto import signed_by
from casemate.verifier.rules import Rule
from casemate.wire.sgx.qe_identity import QeIdentity, QeTcbLevel
from casemate.wire.sgx.quote import (
    BODY_SIZE,
    PUBLIC_KEY_SIZE,
    SIGNATURE_LENGTH_SIZE,
    SIGNATURE_SIZE,
    SIGNED_SIZE,
    Quote,
)

QE_REPORT_RULES = (Rule.QE_REPORT_SIGNATURE, Rule.QE_ATTESTATION_KEY, Rule.QE_DEBUG)
QE_MATCH_RULES = (
    Rule.QE_MR_SIGNER,
    Rule.QE_PRODUCT_ID,
    Rule.QE_MISC_SELECT,
    Rule.QE_ATTRIBUTES,
    Rule.QE_LEVEL,
)

_QE_REPORT_AT = SIGNED_SIZE + SIGNATURE_LENGTH_SIZE + SIGNATURE_SIZE + PUBLIC_KEY_SIZE
_QE_REPORT = slice(_QE_REPORT_AT, _QE_REPORT_AT + BODY_SIZE)
_UNCOMPRESSED = b"\x04"
_IN_REPORT = "signature_data.qe_report."


def check_qe_report(trail: Trail, data: bytes, quote: Quote, pck_chain: Chain) -> bytes:
    """The attestation key (an uncompressed point), for which the platform's quoting enclave vouches.

    Args:
        trail: where the checks are made.
        data: the quote as it came.
        quote: the same, parsed.
        pck_chain: the platform's key.
    """
    signature_data = quote.signature_data
    report = signature_data.qe_report
    good = signed_by(pck_chain.point, signature_data.qe_report_signature, data[_QE_REPORT])
    trail.require(
        Rule.QE_REPORT_SIGNATURE,
        good,
        got="a good signature" if good else "a bad signature",
        want="one by the PCK",
        at=("signature_data.qe_report_signature",),
    )
    vouched_for = signature_data.attestation_key + signature_data.qe_authentication_data
    binding = hashlib.sha256(vouched_for).digest() + bytes(32)
    trail.expect(
        Rule.QE_ATTESTATION_KEY,
        report.report_data == binding,
        got=report.report_data,
        want=binding,
        at=(f"{_IN_REPORT}report_data", "signature_data.attestation_key", "signature_data.qe_authentication_data"),
    )
    trail.expect(
        Rule.QE_DEBUG,
        not report.attributes.debug,
        got=report.attributes.flags,
        want="no DEBUG",
        at=(f"{_IN_REPORT}attributes.flags",),
    )
    return _UNCOMPRESSED + signature_data.attestation_key


def check_quote_signature(trail: Trail, data: bytes, quote: Quote, attestation_point: bytes) -> None:
    """Checks that the attestation key signed header and body."""
    good = signed_by(attestation_point, quote.signature_data.signature, data[:SIGNED_SIZE])
    trail.require(
        Rule.QUOTE_SIGNATURE,
        good,
        got="a good signature" if good else "a bad signature",
        want="one by the attestation key",
        at=("signature_data.signature",),
    )


def check_qe_match(trail: Trail, quote: Quote, identity: QeIdentity) -> QeTcbLevel:
    """The level that the quoting enclave reaches, if it is the enclave that the identity describes."""
    report = quote.signature_data.qe_report
    trail.expect(
        Rule.QE_MR_SIGNER,
        report.mr_signer == identity.mr_signer,
        got=report.mr_signer,
        want=identity.mr_signer,
        at=(f"{_IN_REPORT}mr_signer",),
    )
    trail.expect(
        Rule.QE_PRODUCT_ID,
        report.isv_prod_id == identity.isv_prod_id,
        got=report.isv_prod_id,
        want=identity.isv_prod_id,
        at=(f"{_IN_REPORT}isv_prod_id",),
    )
    misc_select = int(report.misc_select) & identity.misc_select_mask
    trail.expect(
        Rule.QE_MISC_SELECT,
        misc_select == identity.misc_select,
        got=lambda: f"{misc_select:#010x}",
        want=lambda: f"{identity.misc_select:#010x}",
        at=(f"{_IN_REPORT}misc_select",),
    )
    attributes = identity.attributes_mask.over(report.attributes)
    trail.expect(
        Rule.QE_ATTRIBUTES,
        attributes == identity.attributes,
        got=attributes,
        want=identity.attributes,
        at=(f"{_IN_REPORT}attributes.flags", f"{_IN_REPORT}attributes.xfrm"),
    )
    level = reached_qe_level(identity, report.isv_svn)
    if level is None:
        lowest = min(candidate.isv_svn for candidate in identity.tcb_levels)
        trail.refuse(Rule.QE_LEVEL, got=report.isv_svn, want=f"{lowest} or above", at=(f"{_IN_REPORT}isv_svn",))
    trail.found(
        Rule.QE_LEVEL,
        got=report.isv_svn,
        want=lambda: f"{level.isv_svn} or above: {level.status}",
        at=(f"{_IN_REPORT}isv_svn",),
    )
    return level


def reached_qe_level(identity: QeIdentity, isv_svn: int) -> QeTcbLevel | None:
    """The highest level not above ``isv_svn``, if there is one."""
    reached = [level for level in identity.tcb_levels if level.isv_svn <= isv_svn]
    return max(reached, key=lambda level: level.isv_svn, default=None)
