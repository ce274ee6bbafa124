"""What the simulated AMD does for one product, given keys and ledger: pure functions, but for random numbers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from casemate.makers.amd.certificates import Issuer, Subject, issue_ca, issue_crl, issue_key_certificate
from casemate.makers.amd.keys import (
    AmdRole,
    derive_vlek,
    parse_report_key,
    seeded_signer,
    wrap_vlek,
)
from casemate.makers.amd.ledger import AmdLedger, Issued, Revoked
from casemate.makers.certificates import COLLATERAL_LIFE, leaf_serial, random_serial, seeded_serial, validity
from casemate.makers.errors import MakerError
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SimulatedMark
from casemate.wire.snp.key_certificate import KeyCertificate
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.simulated_platform import VCEK_NAME, VLEK_NAME
from casemate.wire.snp.tcb import Product, TcbVersion
from casemate.wire.snp.vlek import vlek_binding

_CA_LIFE = timedelta(days=365 * 25)
_VCEK_LIFE = timedelta(days=365 * 7)
_VLEK_LIFE = timedelta(days=365)
"""Validity of a VLEK's certificate, as AMD's."""

_SERVICES = {AmdRole.ARK: "vcek", AmdRole.ASK: "vcek", AmdRole.ASVK: "vlek"}


@dataclass(frozen=True, slots=True)
class Ca:
    """One of AMD's signing keys and the certificate for it (DER)."""

    key: rsa.RSAPrivateKey
    certificate: bytes


@dataclass(frozen=True, slots=True)
class AmdMaker:
    """The maker of one product: those of its keys that a command needs, and its ledger."""

    product: Product
    seed: str | None
    cas: Mapping[AmdRole, Ca]
    ledger: AmdLedger


@dataclass(frozen=True, slots=True)
class VcekRequest:
    """A chip's request to certify its VCEK, at one TCB."""

    public_key: bytes
    """Uncompressed point on P-384."""
    hw_id: bytes
    tcb: TcbVersion
    seeded: bool
    """The chip's own fuses came from a public seed."""


@dataclass(frozen=True, slots=True)
class VlekRequest:
    """A cloud provider's request for a key that is loaded into one of its chips."""

    csp_id: str
    tcb: TcbVersion
    wrapping_key: bytes
    """X25519, the chip's: the VLEK is sealed to it."""


def issue_ca_certificate(
    product: Product, role: AmdRole, key: rsa.RSAPrivateKey, *, ark: rsa.RSAPrivateKey, seed: str | None, now: datetime
) -> bytes:
    """The certificate for one of AMD's own keys, in DER; an ARK is its own issuer."""
    not_before, not_after = validity(seed, now, _CA_LIFE)
    what = f"{product} {role}".encode()
    serial = random_serial() if seed is None else seeded_serial(seed, what)
    mark = SimulatedMark.of(seeded=seed is not None)
    subject = Subject(_name(product, role), serial, not_before, not_after, mark)
    return issue_ca(subject, key.public_key(), _issuer(product, AmdRole.ARK, ark, seed), product, _SERVICES[role])


def issue_vcek(maker: AmdMaker, request: VcekRequest, now: datetime) -> tuple[AmdMaker, bytes, int]:
    """Certifies a chip's key at one TCB.

    Returns:
        The maker with the certificate in its ledger, the chain (PEM: VCEK, ASK, ARK), and the serial number.

    Raises:
        MakerError: a TCB that has not been published, or another key than the one on record.
    """
    key = parse_report_key(request.public_key)
    says = KeyCertificate(maker.product, request.tcb, request.hw_id, None)
    _check_published(maker, request.tcb)
    _check_key_on_record(maker.ledger, request)
    _check_not_revoked(maker.ledger, request)
    return _issue(maker, SigningKey.VCEK, key, says, owner=request.hw_id.hex(), now=now, seeded=request.seeded)


def issue_vlek(maker: AmdMaker, request: VlekRequest, now: datetime) -> tuple[AmdMaker, bytes, bytes, int]:
    """Derives a cloud provider's key at one TCB, certifies it, and wraps it for one chip.

    SIMULATED: who asks is believed to be that provider, and the wrapping key to be a chip's.

    Returns:
        The maker with the certificate in its ledger, the chain (PEM: VLEK, ASVK, ARK), the wrapped key, and the
        serial number.

    Raises:
        MakerError: a TCB that has not been published, or no name of a provider.
    """
    _check_published(maker, request.tcb)
    says = KeyCertificate(maker.product, request.tcb, None, request.csp_id)
    try:
        KeyCertificate.parse(says.encode())
        binding = vlek_binding(maker.product, request.csp_id, request.tcb)
    except (WireError, UnicodeEncodeError) as error:
        raise MakerError(f"no name of a cloud provider: {error}") from None
    key = derive_vlek(maker.ledger.vlek_secret, binding)
    wrapped = wrap_vlek(key, request.wrapping_key, binding)
    made, chain, serial = _issue(
        maker, SigningKey.VLEK, key.public_key(), says, owner=request.csp_id, now=now, seeded=False
    )
    return made, chain, wrapped, serial


def publish_crl(maker: AmdMaker, now: datetime) -> bytes:
    """The root's revocation list in DER, good for thirty days."""
    return issue_crl(
        _issuer(maker.product, AmdRole.ARK, maker.cas[AmdRole.ARK].key, maker.seed),
        maker.ledger.revoked,
        number=maker.ledger.crl_number,
        this_update=now,
        next_update=now + COLLATERAL_LIFE,
    )


def revoke(ledger: AmdLedger, serials: tuple[int, ...], now: datetime) -> AmdLedger:
    """Adds to the revocation list what is not yet there."""
    known = {entry.serial for entry in ledger.revoked}
    new = tuple(Revoked(serial, now) for serial in serials if serial not in known)
    return replace(ledger, revoked=ledger.revoked + new, crl_number=ledger.crl_number + (1 if new else 0))


def root_digest(maker: AmdMaker) -> bytes:
    """SHA-256 of the root certificate: what a verifier's policy names."""
    return hashlib.sha256(maker.cas[AmdRole.ARK].certificate).digest()


def _issue(
    maker: AmdMaker,
    kind: SigningKey,
    key: ec.EllipticCurvePublicKey,
    says: KeyCertificate,
    *,
    owner: str,
    now: datetime,
    seeded: bool,
) -> tuple[AmdMaker, bytes, int]:
    vlek = kind is SigningKey.VLEK
    role = AmdRole.ASVK if vlek else AmdRole.ASK
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    what = f"{maker.product} {kind.name} {owner} ".encode() + says.tcb.encode() + point
    serial = leaf_serial(maker.seed, what, seeded=seeded)
    not_before, not_after = validity(maker.seed, now, _VLEK_LIFE if vlek else _VCEK_LIFE)
    certificate = issue_key_certificate(
        Subject(VLEK_NAME if vlek else VCEK_NAME, serial, not_before, not_after, mark=None),
        key,
        _issuer(maker.product, role, maker.cas[role].key, maker.seed),
        says,
    )
    entry = Issued(serial, kind, owner, says.tcb, point)
    issued = tuple(old for old in maker.ledger.issued if old.serial != serial)
    chain = encode_chain(certificate, maker.cas[role].certificate, maker.cas[AmdRole.ARK].certificate)
    return replace(maker, ledger=replace(maker.ledger, issued=(*issued, entry))), chain, serial


def _check_published(maker: AmdMaker, tcb: TcbVersion) -> None:
    """SIMULATED: a chip's word is taken for TCBs that exist. Real: AMD derives the key from the chip's secret."""
    newest = maker.ledger.levels[0].firmware.tcb
    if not newest.reaches(tcb):
        raise MakerError(
            f"TCB {tcb.encode().hex()} of {tcb.product} has not been published: "
            f"the newest of {newest.product} is {newest.encode().hex()}"
        )


def _check_key_on_record(ledger: AmdLedger, request: VcekRequest) -> None:
    """SIMULATED: a chip's first request at a TCB is its manufacture. Real: AMD knows each chip's secret."""
    owner = request.hw_id.hex()
    for entry in ledger.issued:
        if (entry.kind, entry.owner, entry.tcb) != (SigningKey.VCEK, owner, request.tcb):
            continue
        if entry.public_key != request.public_key:
            raise MakerError(
                f"the chip with id {owner} has another key on record at TCB {request.tcb.encode().hex()}: "
                f"want {entry.public_key.hex()}"
            )


def _check_not_revoked(ledger: AmdLedger, request: VcekRequest) -> None:
    """A key whose certificate was revoked gets no other one."""
    revoked = {entry.serial for entry in ledger.revoked}
    if any(entry.public_key == request.public_key and entry.serial in revoked for entry in ledger.issued):
        raise MakerError(
            f"the certificate of the chip with id {request.hw_id.hex()} was revoked: its key at this TCB is not "
            "certified again"
        )


def _issuer(product: Product, role: AmdRole, key: rsa.RSAPrivateKey, seed: str | None) -> Issuer:
    return Issuer(_name(product, role), key, None if seed is None else seeded_signer(key, seed))


def _name(product: Product, role: AmdRole) -> str:
    match role:
        case AmdRole.ARK:
            return f"ARK-{product}"
        case AmdRole.ASK:
            return f"SEV-{product}"
        case AmdRole.ASVK:
            return f"SEV-VLEK-{product}"
