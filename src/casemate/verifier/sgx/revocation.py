"""SGX revocation lists: from the right issuer, signed, current; and none of them names a certificate that was used.

Every CA of the path has its list: the root's covers PCK CA and TCB signing certificates, the PCK CA's covers PCKs.
"""

from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.chains import Chain
from casemate.verifier.checks import Trail, moment, window
from casemate.verifier.crypto import Certificate, RevocationList, list_issued_by, parse_revocation_list
from casemate.verifier.rules import Rule
from casemate.wire.sgx.collateral import Collateral

REVOCATION_RULES = (
    Rule.CRL_FORMAT,
    Rule.CRL_ISSUER,
    Rule.CRL_SIGNATURE,
    Rule.CRL_WINDOW,
    Rule.REVOKED_PCK,
    Rule.REVOKED_PCK_CA,
)


@dataclass(frozen=True, slots=True)
class RevocationLists:
    """Both lists, verified and current."""

    root: RevocationList
    pck: RevocationList


def check_revocation(trail: Trail, collateral: Collateral, pck_chain: Chain, now: datetime) -> RevocationLists:
    """The verified lists, if neither the PCK certificate nor its CA's is on them."""
    root = _check_list(trail, collateral.root_ca_crl, pck_chain.root, now)
    pck = _check_list(trail, collateral.pck_crl, pck_chain.issuer, now)
    _check_not_revoked(trail, Rule.REVOKED_PCK, pck_chain.leaf, pck)
    _check_not_revoked(trail, Rule.REVOKED_PCK_CA, pck_chain.issuer, root)
    return RevocationLists(root, pck)


def check_signer_not_revoked(trail: Trail, chain: Chain, lists: RevocationLists) -> None:
    """Checks that a TCB signing certificate is not on the root's list."""
    _check_not_revoked(trail, Rule.REVOKED_TCB_SIGNING, chain.leaf, lists.root)


def check_issuer_chain(trail: Trail, chain: Chain, pck_chain: Chain) -> None:
    """Checks that the chain for the PCK CRL is of the key of this PCK's CA, whose certificate may be a newer one."""
    trail.require(
        Rule.CRL_ISSUER,
        (chain.leaf.subject, chain.point) == (pck_chain.issuer.subject, pck_chain.issuer.point),
        got=f"a chain for {chain.leaf.common_name}",
        want=f"one for {pck_chain.issuer.common_name}, with the key that issued the PCK certificate",
    )


def _check_list(trail: Trail, der: bytes, issuer: Certificate, now: datetime) -> RevocationList:
    crl = trail.parse(Rule.CRL_FORMAT, parse_revocation_list, der, "an X.509 revocation list")
    trail.require(
        Rule.CRL_ISSUER,
        crl.issuer == issuer.subject,
        got="a list by another issuer" if crl.issuer != issuer.subject else issuer.common_name,
        want=lambda: f"a list by {issuer.common_name}",
    )
    good = crl.ecdsa_sha256 and issuer.point is not None and list_issued_by(issuer.point, crl.signature, crl.signed)
    trail.require(
        Rule.CRL_SIGNATURE,
        good,
        got="a good signature" if good else "a bad signature",
        want=lambda: f"a good signature by {issuer.common_name}",
    )
    trail.expect(
        Rule.CRL_WINDOW,
        crl.this_update <= now <= crl.next_update,
        got=moment(now, crl.this_update, crl.next_update),
        want=window(crl.this_update, crl.next_update, issuer.common_name),
    )
    return crl


def _check_not_revoked(trail: Trail, rule: Rule, certificate: Certificate, crl: RevocationList) -> None:
    revoked = certificate.serial in crl.serials
    trail.expect(
        rule,
        not revoked,
        got=lambda: f"serial {certificate.serial:x} {'revoked' if revoked else 'not on the list'}",
        want="not on the list",
    )
