"""What the simulated Intel does, given its keys and ledger: pure functions, but for random numbers."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec

from casemate.makers.certificates import COLLATERAL_LIFE, leaf_serial, random_serial, seeded_serial, serial_of, validity
from casemate.makers.errors import MakerError
from casemate.makers.intel.certificates import (
    PCK_NAME,
    PLATFORM_CA_NAME,
    PROCESSOR_CA_NAME,
    ROOT_NAME,
    TCB_SIGNING_NAME,
    Issuer,
    Revocation,
    Subject,
    issue_certificate,
    issue_crl,
)
from casemate.makers.intel.keys import KeyRole, make_key, parse_public_key, sign
from casemate.makers.intel.ledger import Ca, Issued, Ledger, Revoked
from casemate.makers.intel.levels import FIRST_EVALUATION_NUMBER, first_qe_levels, first_tcb_levels
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.encodings.x509_dates import validity_of
from casemate.wire.protocol.simulated_mark import SimulatedMark
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.pck import PckConfiguration, PckExtension, PckPlatform, PckTcb
from casemate.wire.sgx.qe_identity import write_qe_identity
from casemate.wire.sgx.simulated_platform import (
    FMSPC,
    PCE_ID,
    QE_ATTRIBUTES,
    QE_ATTRIBUTES_MASK,
    QE_ISV_PROD_ID,
    QE_MISC_SELECT,
    QE_MISC_SELECT_MASK,
    QE_MR_SIGNER,
    SGX_TYPE,
)
from casemate.wire.sgx.tcb_info import TcbLevel, write_tcb_info

_ROOT_LIFE = timedelta(days=365 * 20)
_CA_LIFE = timedelta(days=365 * 15)
_SIGNING_LIFE = timedelta(days=365 * 7)

PCK_CA_ROLES = {Ca.PROCESSOR: KeyRole.PROCESSOR_CA, Ca.PLATFORM: KeyRole.PLATFORM_CA}
_NAMES = {
    KeyRole.ROOT: ROOT_NAME,
    KeyRole.PROCESSOR_CA: PROCESSOR_CA_NAME,
    KeyRole.PLATFORM_CA: PLATFORM_CA_NAME,
    KeyRole.TCB_SIGNING: TCB_SIGNING_NAME,
}
_LIVES = {
    KeyRole.ROOT: (_ROOT_LIFE, 1),
    KeyRole.PROCESSOR_CA: (_CA_LIFE, 0),
    KeyRole.PLATFORM_CA: (_CA_LIFE, 0),
    KeyRole.TCB_SIGNING: (_SIGNING_LIFE, None),
}
"""How long the maker's own certificates are good for, and how many CAs may stand below each."""
_CONFIGURATION = PckConfiguration(dynamic_platform=False, cached_keys=False, smt_enabled=False)
"""What the simulated machine says of itself under the Platform CA."""


@dataclass(frozen=True, slots=True)
class IntelMaker:
    """The maker: its keys, the certificates for them (DER), and its ledger."""

    keys: Mapping[KeyRole, ec.EllipticCurvePrivateKey]
    certificates: Mapping[KeyRole, bytes]
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class PckRequest:
    """A chip's request to certify its PCK, at one TCB."""

    public_key: bytes
    """Uncompressed point."""
    ppid: bytes
    cpu_svn: bytes
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    ca: Ca
    seeded: bool
    """The chip's own fuses came from a public seed."""


def new_maker(seed: str | None, now: datetime) -> IntelMaker:
    """A new maker: keys, certificates, and an empty ledger."""
    keys = {role: make_key(role, seed) for role in KeyRole}
    return IntelMaker(keys, _ca_certificates(keys, KeyRole, seed, now), _first_ledger(seed))


def renewed(maker: IntelMaker, now: datetime, *, root: bool = False) -> IntelMaker:
    """The maker with those of its own certificates renewed that are not valid now, for the same keys.

    Args:
        maker: of a seeded one nothing is renewed: its certificates have the same dates every time.
        now: the time.
        root: the root's own certificate as well. Policies that name it by its SHA-256 then name another.
    """
    if maker.ledger.seed is not None:
        return maker
    stale = [
        role
        for role in KeyRole
        if (root or role is not KeyRole.ROOT)
        and not validity_of(maker.certificates[role]).holds(now)
        and serial_of(maker.certificates[role]) not in {entry.serial for entry in maker.ledger.revoked_by(Ca.ROOT)}
    ]
    fresh = _ca_certificates(maker.keys, stale, None, now)
    return replace(maker, certificates={**maker.certificates, **fresh}) if fresh else maker


def _ca_certificates(
    keys: Mapping[KeyRole, ec.EllipticCurvePrivateKey], roles: Iterable[KeyRole], seed: str | None, now: datetime
) -> dict[KeyRole, bytes]:
    """Certificates of the maker's own keys, signed by the root's (DER)."""
    root = Issuer(ROOT_NAME, keys[KeyRole.ROOT])
    mark = SimulatedMark.of(seeded=seed is not None)
    certificates: dict[KeyRole, bytes] = {}
    for role in roles:
        life, path_length = _LIVES[role]
        not_before, not_after = validity(seed, now, life)
        serial = random_serial() if seed is None else seeded_serial(seed, role.encode())
        certificates[role] = issue_certificate(
            Subject(_NAMES[role], keys[role].public_key(), serial, not_before, not_after, path_length, mark), root
        )
    return certificates


def issue_pck(maker: IntelMaker, request: PckRequest, now: datetime) -> tuple[IntelMaker, bytes, int]:
    """Certifies a chip's key at one TCB.

    Returns:
        The maker with the certificate in its ledger, the chain (PEM: leaf, CA, root), and the serial number.

    Raises:
        MakerError: not a product of this maker, a TCB it has not published, or another key than the one on record.
    """
    _check_product(request)
    _check_published(maker.ledger.tcb_levels[0], request)
    _check_key_on_record(maker.ledger, request)
    _check_not_revoked(maker.ledger, request)
    seed = maker.ledger.seed
    what = request.ppid + request.cpu_svn + request.pce_svn.to_bytes(2, "big") + request.public_key
    serial = leaf_serial(seed, request.ca.encode() + what, seeded=request.seeded)
    not_before, not_after = validity(seed, now, _SIGNING_LIFE)
    role = PCK_CA_ROLES[request.ca]
    leaf = issue_certificate(
        Subject(
            common_name=PCK_NAME,
            key=parse_public_key(request.public_key),
            serial=serial,
            not_before=not_before,
            not_after=not_after,
            path_length=None,
            mark=None,
            pck=_extension(request),
        ),
        Issuer(_NAMES[role], maker.keys[role]),
    )
    entry = Issued(serial, request.ca, request.ppid, request.cpu_svn, request.pce_svn, request.public_key)
    issued = tuple(old for old in maker.ledger.issued if old.serial != serial)
    chain = encode_chain(leaf, maker.certificates[role], maker.certificates[KeyRole.ROOT])
    return replace(maker, ledger=replace(maker.ledger, issued=(*issued, entry))), chain, serial


def publish_collateral(maker: IntelMaker, ca: Ca, now: datetime) -> Collateral:
    """The collateral for the maker's platforms, valid for thirty days."""
    ledger = maker.ledger
    signing = maker.keys[KeyRole.TCB_SIGNING]
    signing_chain = encode_chain(maker.certificates[KeyRole.TCB_SIGNING], maker.certificates[KeyRole.ROOT])
    pck_ca = PCK_CA_ROLES[ca]
    tcb_info = write_tcb_info(
        issue_date=now,
        next_update=now + COLLATERAL_LIFE,
        fmspc=FMSPC,
        pce_id=PCE_ID,
        tcb_evaluation_data_number=ledger.tcb_evaluation_data_number,
        tcb_levels=ledger.tcb_levels,
    )
    qe_identity = write_qe_identity(
        issue_date=now,
        next_update=now + COLLATERAL_LIFE,
        tcb_evaluation_data_number=ledger.tcb_evaluation_data_number,
        misc_select=QE_MISC_SELECT,
        misc_select_mask=QE_MISC_SELECT_MASK,
        attributes=QE_ATTRIBUTES_MASK.over(QE_ATTRIBUTES),
        attributes_mask=QE_ATTRIBUTES_MASK,
        mr_signer=QE_MR_SIGNER,
        isv_prod_id=QE_ISV_PROD_ID,
        tcb_levels=ledger.qe_levels,
    )
    return Collateral(
        pck_crl_issuer_chain=encode_chain(maker.certificates[pck_ca], maker.certificates[KeyRole.ROOT]),
        root_ca_crl=_crl(maker, KeyRole.ROOT, Ca.ROOT, now),
        pck_crl=_crl(maker, pck_ca, ca, now),
        tcb_info_issuer_chain=signing_chain,
        tcb_info=tcb_info,
        tcb_info_signature=sign(signing, tcb_info),
        qe_identity_issuer_chain=signing_chain,
        qe_identity=qe_identity,
        qe_identity_signature=sign(signing, qe_identity),
        pck_certificate_chain=None,
    )


def revoke(maker: IntelMaker, revoked: tuple[Revoked, ...]) -> IntelMaker:
    """Adds to the revocation lists what is not yet there."""
    known = {(entry.serial, entry.ca) for entry in maker.ledger.revoked}
    new = tuple(entry for entry in revoked if (entry.serial, entry.ca) not in known)
    ledger = replace(
        maker.ledger, revoked=maker.ledger.revoked + new, crl_number=maker.ledger.crl_number + (1 if new else 0)
    )
    return replace(maker, ledger=ledger)


def root_digest(maker: IntelMaker) -> bytes:
    """SHA-256 of the root certificate: what a verifier's policy names."""
    return hashlib.sha256(maker.certificates[KeyRole.ROOT]).digest()


def _first_ledger(seed: str | None) -> Ledger:
    return Ledger(
        seed=seed,
        tcb_evaluation_data_number=FIRST_EVALUATION_NUMBER,
        tcb_levels=first_tcb_levels(),
        qe_levels=first_qe_levels(),
        issued=(),
        revoked=(),
        crl_number=1,
    )


def _check_product(request: PckRequest) -> None:
    if (request.fmspc, request.pce_id) != (FMSPC, PCE_ID):
        raise MakerError(
            f"FMSPC {request.fmspc.hex()}, PCEID {request.pce_id.hex()} is none of this maker's products: "
            f"want {FMSPC.hex()}, {PCE_ID.hex()}"
        )


def _check_published(newest: TcbLevel, request: PckRequest) -> None:
    """SIMULATED: the chip's word is taken for TCBs that exist. Real: PCE proves its TCB by a provisioning key."""
    ahead = any(svn > best for svn, best in zip(request.cpu_svn, newest.components, strict=True))
    if ahead or request.pce_svn > newest.pce_svn:
        raise MakerError(
            f"CPUSVN {request.cpu_svn.hex()}, PCESVN {request.pce_svn} has not been published: "
            f"the newest is {newest.components.hex()}, {newest.pce_svn}"
        )


def _check_key_on_record(ledger: Ledger, request: PckRequest) -> None:
    """SIMULATED: a chip's first request at a TCB is its manufacture. Real: keys are recorded in a factory."""
    for entry in ledger.issued:
        same_tcb = (entry.cpu_svn, entry.pce_svn) == (request.cpu_svn, request.pce_svn)
        if entry.ppid == request.ppid and same_tcb and entry.public_key != request.public_key:
            raise MakerError(
                f"the chip with PPID {request.ppid.hex()} has another key on record at CPUSVN {request.cpu_svn.hex()}, "
                f"PCESVN {request.pce_svn}: want {entry.public_key.hex()}"
            )


def _check_not_revoked(ledger: Ledger, request: PckRequest) -> None:
    """Refuses a new certificate for a key whose certificate was revoked."""
    revoked = {(entry.serial, entry.ca) for entry in ledger.revoked}
    for entry in ledger.issued:
        if entry.public_key == request.public_key and (entry.serial, entry.ca) in revoked:
            raise MakerError(
                f"the certificate of the chip with PPID {request.ppid.hex()} was revoked: its key at this TCB is not "
                "certified again"
            )


def _extension(request: PckRequest) -> PckExtension:
    platform = None
    if request.ca == Ca.PLATFORM:
        instance = hashlib.sha256(b"SIMULATED platform instance" + request.ppid).digest()[:16]
        platform = PckPlatform(instance, _CONFIGURATION)
    tcb = PckTcb(components=request.cpu_svn, pce_svn=request.pce_svn, cpu_svn=request.cpu_svn)
    return PckExtension(request.ppid, tcb, request.pce_id, request.fmspc, SGX_TYPE, platform)


def _crl(maker: IntelMaker, role: KeyRole, ca: Ca, now: datetime) -> bytes:
    return issue_crl(
        Issuer(_NAMES[role], maker.keys[role]),
        (Revocation(entry.serial, entry.date) for entry in maker.ledger.revoked_by(ca)),
        number=maker.ledger.crl_number,
        this_update=now,
        next_update=now + COLLATERAL_LIFE,
    )
