"""Certificate chains: from a leaf to the root that the policy names, by checks listed here one by one.

A chain's certificates may stand in any order (real quotes hold leaf, root, CA as well as leaf, CA, root), but there is
one path through them, and it uses all of them. In the order of the rules:

1. they parse, and each one's issuer is among them, up to one that issued itself (``chain.format``, ``chain.path``);
2. marks of simulated and seeded makers are allowed by the policy (``chain.simulated``, ``chain.seeded``);
3. the last is the named root: byte for byte, or by name and key where the policy says so (``chain.root``);
4. each has the name of its role (``chain.role``): a TCB signing certificate is no PCK;
5. keys and signatures are of the one algorithm, and each signature holds (``chain.algorithm``, ``chain.signature``);
6. no unknown critical extension; CAs are CAs, and keys may do what they did (``chain.critical-extension``,
   ``chain.basic-constraints``, ``chain.key-usage``);
7. all are valid now (``chain.validity``).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from casemate.verifier.checks import Trail, moment, window
from casemate.verifier.common_demands import EndorsementDemand, Terms
from casemate.verifier.crypto import Certificate, certificate_issued_by, parse_certificate
from casemate.verifier.roots import Anchor, SimulatedRoot, VendorKey, advice_on_root, is_anchor
from casemate.verifier.rules import Rule
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SimulatedMark, SimulatedSerial

ROOT_NAMES = frozenset({"Intel SGX Root CA"})
PCK_CA_NAMES = frozenset({"Intel SGX PCK Processor CA", "Intel SGX PCK Platform CA"})
PCK_NAMES = frozenset({"Intel SGX PCK Certificate"})
TCB_SIGNING_NAMES = frozenset({"Intel SGX TCB Signing"})

CHAIN_RULES = (
    Rule.CHAIN_FORMAT,
    Rule.CHAIN_PATH,
    Rule.CHAIN_SIMULATED,
    Rule.CHAIN_ROOT,
    Rule.CHAIN_SEEDED,
    Rule.CHAIN_ROLE,
    Rule.CHAIN_ALGORITHM,
    Rule.CHAIN_SIGNATURE,
    Rule.CHAIN_CRITICAL,
    Rule.CHAIN_CONSTRAINTS,
    Rule.CHAIN_KEY_USAGE,
    Rule.CHAIN_VALIDITY,
)


class Linked(Protocol):
    """A certificate with a key of any kind."""

    @property
    def subject(self) -> bytes:
        """The name in DER."""

    @property
    def issuer(self) -> bytes:
        """The issuer's name in DER."""

    @property
    def serial(self) -> int:
        """The serial number."""

    @property
    def common_name(self) -> str:
        """The subject's; empty unless it has exactly one."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the whole certificate."""

    @property
    def key_sha256(self) -> bytes:
        """SHA-256 of SubjectPublicKeyInfo in DER; empty if the parser does not support the kind of key."""

    @property
    def simulated_extension(self) -> bytes | None:
        """The mark of a simulated maker."""


Link = TypeVar("Link", bound=Linked)


@dataclass(frozen=True, slots=True)
class Chain:
    """A verified path: its leaf's key may be trusted at the time for which it was checked."""

    path: tuple[Certificate, ...]
    """Leaf first, root last."""
    point: bytes
    """The leaf's public key, an uncompressed point."""
    simulated: bool
    seeded: bool
    youngest: Certificate
    """The last of the path to become valid."""
    soonest: Certificate
    """The first of the path to run out."""

    @property
    def leaf(self) -> Certificate:
        """The certificate that the chain vouches for."""
        return self.path[0]

    @property
    def issuer(self) -> Certificate:
        """The issuer of the leaf."""
        return self.path[1]

    @property
    def root(self) -> Certificate:
        """The root that the policy names."""
        return self.path[-1]


def check_chain(
    trail: Trail, pem: bytes, roles: tuple[frozenset[str], ...], terms: Terms, at: tuple[str, ...] = ()
) -> Chain:
    """The verified path through ``pem``, whose certificates have these ``roles`` (common names), leaf first.

    Args:
        trail: where the checks are made.
        pem: the chain.
        roles: for each certificate of the path, the names it may have.
        terms: the root, whether seeds will do, and the time.
        at: the quote's spans that hold the chain.
    """
    path = _path(trail, pem, at)
    simulated, seeded = check_marks(trail, path, terms.demand, at, of_chip=roles[0] == PCK_NAMES)
    names = tuple(certificate.common_name for certificate in path)
    fits = len(path) == len(roles) and all(name in role for name, role in zip(names, roles, strict=True))
    wanted = " < ".join(" or ".join(sorted(role)) for role in roles)
    trail.expect(Rule.CHAIN_ROLE, fits, got=" < ".join(names), want=wanted, at=at)
    points = _check_signatures(trail, path, at)
    _check_extensions(trail, path, at)
    youngest = max(path, key=lambda certificate: certificate.not_before)
    soonest = min(path, key=lambda certificate: certificate.not_after)
    chain = Chain(path, points[0], simulated, seeded, youngest, soonest)
    _check_validity(trail, chain, terms.now, at)
    return chain


def _path(trail: Trail, pem: bytes, at: tuple[str, ...]) -> tuple[Certificate, ...]:
    certificates = trail.parse(Rule.CHAIN_FORMAT, _parse, pem, "X.509 certificates in PEM")
    path = order(certificates)
    trail.require(
        Rule.CHAIN_PATH,
        path is not None,
        got=", ".join(certificate.common_name for certificate in certificates),
        want="one path from a leaf to a root, with none left over",
        at=at,
    )
    return path or ()


def _parse(pem: bytes) -> tuple[Certificate, ...]:
    return tuple(parse_certificate(block.der) for block in parse_chain("chain", pem))


def order(certificates: tuple[Link, ...]) -> tuple[Link, ...] | None:
    """The one path that uses all of them, leaf first; None if there is no such path, or more than one."""
    by_subject = {certificate.subject: certificate for certificate in certificates}
    issuers = {certificate.issuer for certificate in certificates}
    leaves = [certificate for certificate in certificates if certificate.subject not in issuers]
    if len(by_subject) != len(certificates) or len(leaves) != 1:
        return None
    path = [leaves[0]]
    while path[-1].issuer != path[-1].subject:
        issuer = by_subject.get(path[-1].issuer)
        if issuer is None or issuer in path:
            return None
        path.append(issuer)
    return tuple(path) if len(path) == len(certificates) else None


def check_marks(
    trail: Trail, path: tuple[Linked, ...], demand: EndorsementDemand, at: tuple[str, ...], *, of_chip: bool
) -> tuple[bool, bool]:
    """Whether the maker is simulated, and whether it is made from a public seed.

    Below a simulated root all certificates carry the mark, but that of a chip's key need not: what vouches for it does.
    Below another root none may, a chip's neither.

    Args:
        trail: where the checks are made.
        path: leaf first, root last.
        demand: the root, and whether seeds will do.
        at: the quote's spans that hold the chain.
        of_chip: whether the leaf is of a chip's key (PCK, VCEK, VLEK), which the caller checks by its name.
    """
    marked = [certificate for certificate in path if certificate.simulated_extension is not None]
    root = named_root(demand.roots, path[-1])
    named = isinstance(root, SimulatedRoot)
    above = path[1:] if of_chip and len(path) > 1 else path
    complete = all(certificate.simulated_extension is not None for certificate in above)
    wanted = "all above the chip's key" if of_chip else "all"
    trail.expect(
        Rule.CHAIN_SIMULATED,
        complete if named else not marked,
        got=f"{len(marked)} of {len(path)} certificates marked SIMULATED, root {path[-1].sha256.hex()}",
        want=f"{wanted}, below the {root.name}" if named else f"none, below {root.name}",
        at=at,
    )
    _check_root(trail, path[-1], demand.roots, at)
    of_seed = of_chip and SimulatedSerial.find(path[0].serial) is SimulatedSerial.FROM_PUBLIC_SEED
    seeded = (named and of_seed) or any(_says_seeded(certificate.simulated_extension) for certificate in marked)
    trail.expect(
        Rule.CHAIN_SEEDED,
        not seeded or demand.public_seed == "UNSAFE_PUBLIC_SEED",
        got="a public seed" if seeded else "none",
        want=demand.public_seed,
        at=at,
    )
    return bool(marked), seeded


def named_root(roots: tuple[Anchor, ...], certificate: Linked) -> Anchor:
    """The root of a policy that this certificate is; the policy's first where it is none of them."""
    return next((root for root in roots if _is_root(root, certificate)), roots[0])


def _is_root(root: Anchor, certificate: Linked) -> bool:
    return is_anchor(root, name=certificate.common_name, sha256=certificate.sha256, key_sha256=certificate.key_sha256)


def _check_root(trail: Trail, found: Linked, roots: tuple[Anchor, ...], at: tuple[str, ...]) -> None:
    wanted = named_root(roots, found)
    got = f"key {found.key_sha256.hex()}" if isinstance(wanted, VendorKey) else found.sha256.hex()
    trail.expect(
        Rule.CHAIN_ROOT,
        _is_root(wanted, found),
        got=f"{got} ({found.common_name})",
        want=lambda: " or ".join(map(_shown_root, roots)),
        at=at,
        advice=lambda: advice_on_root(wanted, name=found.common_name, key_sha256=found.key_sha256),
    )


def _shown_root(root: Anchor) -> str:
    digest = f"key {root.key_sha256.hex()}" if isinstance(root, VendorKey) else root.sha256.hex()
    return f"{digest} ({root.name})"


def _says_seeded(extension: bytes | None) -> bool:
    """Whether the mark says that the maker's keys come from a public seed; an unreadable mark counts as a yes."""
    if extension is None:
        return False
    try:
        return SimulatedMark.parse(extension).seeded
    except WireError:
        return True


def _check_signatures(trail: Trail, path: tuple[Certificate, ...], at: tuple[str, ...]) -> tuple[bytes, ...]:
    """The public keys on the path, each endorsed by the next; the root's by itself."""
    points = tuple(certificate.point for certificate in path if certificate.ecdsa_sha256 and certificate.point)
    trail.require(
        Rule.CHAIN_ALGORITHM,
        len(points) == len(path),
        got=f"{len(points)} of {len(path)} certificates",
        want="all with a key on P-256 and a signature by ECDSA with SHA-256",
        at=at,
    )
    issuers = (*points[1:], points[-1])
    unsigned = [
        certificate.common_name
        for certificate, point in zip(path, issuers, strict=True)
        if not certificate_issued_by(point, certificate.signature, certificate.signed)
    ]
    trail.expect(
        Rule.CHAIN_SIGNATURE,
        not unsigned,
        got=f"bad signature of {', '.join(unsigned)}" if unsigned else "good signatures",
        want="good signatures",
        at=at,
    )
    return points


def _check_extensions(trail: Trail, path: tuple[Certificate, ...], at: tuple[str, ...]) -> None:
    unknown = [oid for certificate in path for oid in certificate.unknown_critical]
    trail.expect(Rule.CHAIN_CRITICAL, not unknown, got=", ".join(unknown) or "none", want="none", at=at)
    wrong = [certificate.common_name for depth, certificate in enumerate(path) if not _constrained(depth, path)]
    trail.expect(
        Rule.CHAIN_CONSTRAINTS,
        not wrong,
        got=f"wrong constraints of {', '.join(wrong)}" if wrong else "right constraints",
        want="CA false for the leaf; CA true above it, with a sufficient path length",
        at=at,
    )
    unfit = [certificate.common_name for certificate in path if not _usable(certificate)]
    trail.expect(
        Rule.CHAIN_KEY_USAGE,
        not unfit,
        got=f"wrong key usage of {', '.join(unfit)}" if unfit else "right key usage",
        want="digitalSignature for the leaf; keyCertSign and cRLSign above it",
        at=at,
    )


def _constrained(depth: int, path: tuple[Certificate, ...]) -> bool:
    """Whether basicConstraints fit this place of the path. The leaf of a CRL issuer's chain is itself a CA."""
    certificate = path[depth]
    if depth == 0 and certificate.common_name not in PCK_CA_NAMES:
        return not certificate.is_ca
    cas_below = sum(1 for below in path[:depth] if below.is_ca)
    return certificate.is_ca and (certificate.path_length is None or certificate.path_length >= cas_below)


def _usable(certificate: Certificate) -> bool:
    if certificate.is_ca:
        return certificate.signs_certificates and certificate.signs_crls
    return certificate.signs_data and not certificate.signs_certificates


def _check_validity(trail: Trail, chain: Chain, now: datetime, at: tuple[str, ...]) -> None:
    youngest, soonest = chain.youngest, chain.soonest
    trail.expect(
        Rule.CHAIN_VALIDITY,
        youngest.not_before <= now <= soonest.not_after,
        got=moment(now, youngest.not_before, soonest.not_after),
        want=window(youngest.not_before, soonest.not_after, f"{youngest.common_name}, {soonest.common_name}"),
        at=at,
    )
