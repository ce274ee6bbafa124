"""AMD's chain: the key that signs reports, its issuer (ASK or ASVK), the root (ARK); and the root's revocation list."""

from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.age import check_age
from casemate.verifier.chains import check_marks, named_root, order
from casemate.verifier.checks import Trail, moment, window
from casemate.verifier.common_demands import EndorsementDemand
from casemate.verifier.issue_marks import IssueMarks, ListNumber
from casemate.verifier.roots import Anchor
from casemate.verifier.rules import Rule
from casemate.verifier.snp.certificates import (
    AmdCertificate,
    issued_by,
    parse_amd_certificate,
    parse_amd_revocation_list,
)
from casemate.verifier.snp.endorsements import SnpEndorsements
from casemate.verifier.snp.policy import SnpPolicy
from casemate.wire.encodings.pem import read_certificates
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import Product

_LENGTH = 3
AMD_REVOCATION_RULES = (
    Rule.CRL_FORMAT,
    Rule.CRL_ISSUER,
    Rule.CRL_SIGNATURE,
    Rule.CRL_WINDOW,
    Rule.COLLATERAL_AGE,
    Rule.REVOKED_SNP_SIGNER,
)


@dataclass(frozen=True, slots=True)
class AmdChain:
    """A verified path: its leaf's key may be trusted at the time for which it was checked."""

    path: tuple[AmdCertificate, ...]
    """Key, issuer, root."""
    product: Product
    """The product that the names of issuer and root state."""
    kind: SigningKey
    """The kind of key that the name of its certificate states."""
    anchor: Anchor
    """The root of the policy in which the path ends."""
    simulated: bool
    seeded: bool
    began_at: datetime
    """When the last of the path became valid."""
    expires_at: datetime

    @property
    def leaf(self) -> AmdCertificate:
        """The key's certificate."""
        return self.path[0]


@dataclass(frozen=True, slots=True)
class AmdLifetime:
    """When chain and list are good, and how new they are."""

    expires_at: datetime
    """When the first of them runs out, or is too old for the policy."""
    marks: IssueMarks


def check_amd_chain(trail: Trail, given: SnpEndorsements, policy: SnpPolicy, now: datetime) -> AmdChain:
    """The path from the key's certificate to the root that the policy names."""
    path = _path(trail, given)
    demand = EndorsementDemand(policy.roots, policy.public_seed, 0)
    simulated, seeded = check_marks(trail, path, demand, (), of_chip=True)
    kind, product = _check_roles(trail, path)
    _check_signatures(trail, path)
    _check_extensions(trail, path)
    youngest = max(path, key=lambda certificate: certificate.not_before)
    soonest = min(path, key=lambda certificate: certificate.not_after)
    trail.expect(
        Rule.CHAIN_VALIDITY,
        youngest.not_before <= now <= soonest.not_after,
        got=moment(now, youngest.not_before, soonest.not_after),
        want=window(youngest.not_before, soonest.not_after, f"{youngest.common_name}, {soonest.common_name}"),
    )
    root = named_root(policy.roots, path[-1])
    return AmdChain(path, product, kind, root, simulated, seeded, youngest.not_before, soonest.not_after)


def check_amd_revocation(
    trail: Trail, given: SnpEndorsements, chain: AmdChain, policy: SnpPolicy, now: datetime
) -> AmdLifetime:
    """The lifetime of chain and list, if the list is the root's and names neither the key nor its issuer."""
    root_key = chain.path[-1].key_sha256
    if given.revocation_list is None:
        trail.require(
            Rule.CRL_FORMAT,
            policy.revocation == "UNSAFE_NO_REVOCATION_LIST",
            got="no revocation list",
            want=policy.revocation,
        )
        return AmdLifetime(chain.expires_at, IssueMarks(root_key, chain.began_at, (), None))
    key, issuer, root = chain.path
    crl = trail.parse(Rule.CRL_FORMAT, parse_amd_revocation_list, given.revocation_list, "an X.509 revocation list")
    trail.require(
        Rule.CRL_ISSUER,
        crl.issuer == root.subject,
        got=root.common_name if crl.issuer == root.subject else "a list by another issuer",
        want=f"a list by {root.common_name}",
    )
    good = crl.pss_sha384 and issued_by(root.public_key, crl.signature, crl.signed)
    trail.require(
        Rule.CRL_SIGNATURE,
        good,
        got="a good signature" if good else "a bad signature",
        want=f"a good signature by {root.common_name}",
    )
    trail.expect(
        Rule.CRL_WINDOW,
        crl.this_update <= now <= crl.next_update,
        got=moment(now, crl.this_update, crl.next_update),
        want=window(crl.this_update, crl.next_update, root.common_name),
    )
    too_old = check_age(trail, {"revocation list": crl.this_update}, policy.maximum_collateral_age, now)
    # AMD gives every VCEK the serial 0, so a list can name a key by its serial only where it has one.
    revoked = [one.common_name for one in (key, issuer) if one.serial != 0 and one.serial in crl.serials]
    trail.expect(Rule.REVOKED_SNP_SIGNER, not revoked, got=", ".join(revoked) or "none revoked", want="none revoked")
    lists = () if crl.number is None else (ListNumber(root_key, crl.number),)
    marks = IssueMarks(root_key, max(chain.began_at, crl.this_update), lists, None)
    return AmdLifetime(min(chain.expires_at, crl.next_update, too_old), marks)


def _path(trail: Trail, given: SnpEndorsements) -> tuple[AmdCertificate, ...]:
    leaf = trail.parse(Rule.CHAIN_FORMAT, parse_amd_certificate, given.key_certificate, "an X.509 certificate in DER")
    found = trail.parse(Rule.CHAIN_FORMAT, _parse, given.chain, "X.509 certificates in PEM")
    above = tuple(each for each in found if each.sha256 != leaf.sha256)
    path = order((leaf, *above))
    complete = path is not None and len(path) == _LENGTH and path[0] == leaf
    trail.require(
        Rule.CHAIN_PATH,
        complete,
        got=", ".join(certificate.common_name for certificate in (leaf, *above)),
        want="one path: key, issuer, root",
    )
    return path or ()


def _parse(pem: bytes) -> tuple[AmdCertificate, ...]:
    """The certificates, each once: the files that AMD and others hand out overlap."""
    return tuple(map(parse_amd_certificate, dict.fromkeys(read_certificates("chain", pem))))


def _check_roles(trail: Trail, path: tuple[AmdCertificate, ...]) -> tuple[SigningKey, Product]:
    """``SEV-VCEK < SEV-Milan < ARK-Milan`` or ``SEV-VLEK < SEV-VLEK-Milan < ARK-Milan``."""
    names = tuple(certificate.common_name for certificate in path)
    roles = {
        (
            f"SEV-{kind.name}",
            f"SEV-VLEK-{product}" if kind is SigningKey.VLEK else f"SEV-{product}",
            f"ARK-{product}",
        ): (
            kind,
            product,
        )
        for kind in (SigningKey.VCEK, SigningKey.VLEK)
        for product in Product
    }
    found = roles.get((names[0], names[1], names[2]))
    trail.require(
        Rule.CHAIN_ROLE,
        found is not None,
        got=" < ".join(names),
        want="SEV-VCEK < SEV-(product) < ARK-(product), or SEV-VLEK < SEV-VLEK-(product) < ARK-(product)",
    )
    return found or (SigningKey.NONE, Product.MILAN)


def _check_signatures(trail: Trail, path: tuple[AmdCertificate, ...]) -> None:
    leaf, *cas = path
    right = leaf.is_p384 and all(ca.is_rsa_4096 for ca in cas) and all(each.pss_sha384 for each in path)
    trail.require(
        Rule.CHAIN_ALGORITHM,
        right,
        got="AMD's algorithms" if right else "other algorithms",
        want="a key on P-384 below RSA-4096 keys; signatures by RSASSA-PSS with SHA-384 and a salt of 48 bytes",
    )
    unsigned = [
        certificate.common_name
        for certificate, issuer in zip(path, (*cas, cas[-1]), strict=True)
        if not issued_by(issuer.public_key, certificate.signature, certificate.signed)
    ]
    trail.require(
        Rule.CHAIN_SIGNATURE,
        not unsigned,
        got=f"bad signature of {', '.join(unsigned)}" if unsigned else "good signatures",
        want="good signatures",
    )


def _check_extensions(trail: Trail, path: tuple[AmdCertificate, ...]) -> None:
    leaf, issuer, root = path
    unknown = [oid for certificate in path for oid in certificate.unknown_critical]
    trail.expect(Rule.CHAIN_CRITICAL, not unknown, got=", ".join(unknown) or "none", want="none")
    lengths = (
        0 if issuer.path_length is None else issuer.path_length,
        1 if root.path_length is None else root.path_length,
    )
    right = not leaf.is_ca and issuer.is_ca and root.is_ca and lengths[0] >= 0 and lengths[1] >= 1
    trail.expect(
        Rule.CHAIN_CONSTRAINTS,
        right,
        got="right constraints" if right else "wrong constraints",
        want="CA false for the key; CA true above it, with a sufficient path length",
    )
    usable = issuer.signs_certificates and root.signs_certificates and root.signs_crls and not leaf.signs_certificates
    trail.expect(
        Rule.CHAIN_KEY_USAGE,
        usable,
        got="right key usage" if usable else "wrong key usage",
        want="keyCertSign for issuer and root, cRLSign for the root",
    )
