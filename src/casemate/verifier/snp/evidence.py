"""SEV-SNP evidence before and after its appraisal: two classes, and only ``appraise_snp`` makes the second."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from casemate.verifier.binding import BoundValues
from casemate.verifier.snp.certificates import parse_amd_certificate
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import WireError
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.snp.endorsements import CertifiedKey
from casemate.wire.snp.paravirtual import FAMILY_ID
from casemate.wire.snp.report import cut_padding
from casemate.wire.snp.tcb import Product, TcbVersion


@dataclass(frozen=True, slots=True)
class SnpEvidence:
    """An attestation report (1184 bytes), and what is said to be bound to it; unverified."""

    report: bytes
    """Without the zero bytes of the buffer that it came in, which are cut off here for every way in."""
    bound: BoundValues | None = None
    """None for guests that are not Casemate's functions."""

    def __post_init__(self) -> None:
        with suppress(WireError):  # the rules say what is wrong with it
            object.__setattr__(self, "report", cut_padding(self.report))


@dataclass(frozen=True, slots=True)
class SnpEndorsements:
    """What the maker says of the key that signed; unverified."""

    key_certificate: bytes
    """VCEK or VLEK: DER."""
    chain: bytes
    """PEM: the issuer (ASK or ASVK) and the root (ARK), in any order."""
    revocation_list: bytes | None
    """The root's CRL: DER; None where there is none at hand."""

    @classmethod
    def of(cls, given: CertifiedKey) -> "SnpEndorsements":
        """What a machine handed out beside its evidence."""
        return cls(given.certificates[0], encode_chain(*given.certificates[1:]), given.revocation_list)

    @classmethod
    def of_certificates(cls, certificates: Sequence[bytes], revocation_list: bytes | None) -> "SnpEndorsements":
        """From certificates (DER) in any order: the key's is the one that issued none of the others.

        Where that cannot be told, the first is taken for the key's, and the rules say what is wrong with the path.
        """
        key = _key_among(certificates)
        return cls(key, encode_chain(*(each for each in certificates if each != key)), revocation_list)

    def handed_on(self) -> CertifiedKey:
        """The same for somebody else."""
        pem = encode_chain(self.key_certificate) + self.chain
        return CertifiedKey.of(pem, self.revocation_list)


def _key_among(certificates: Sequence[bytes]) -> bytes:
    try:
        parsed = {der: parse_amd_certificate(der) for der in certificates}
    except WireError:
        return certificates[0]
    issuers = {each.issuer for each in parsed.values()}
    keys = [der for der, each in parsed.items() if each.subject not in issuers]
    return keys[0] if len(keys) == 1 else certificates[0]


@dataclass(frozen=True, slots=True, init=False)
class VerifiedSnpEvidence:
    """Evidence that one policy accepted at one time. Functions that act on trust take this class."""

    report_hash: bytes
    """SHA-256 of the report."""
    measurement: bytes
    host_data: bytes
    report_data: bytes
    binding: ReportDataBinding | None
    """What REPORTDATA vouches for; None where the policy did not demand that it binds a nonce."""
    family_id: bytes
    image_id: bytes
    guest_svn: int
    policy: int
    vmpl: int
    id_key_digest: bytes
    author_key_digest: bytes
    product: Product
    reported_tcb: TcbVersion
    chip_id: bytes
    """64 bytes; zeros where the host masks it."""
    root: str
    simulated: bool
    seeded: bool
    appraised_at: datetime
    expires_at: datetime
    """When the first of the certificates that were used runs out, or the revocation list."""

    def __init__(self) -> None:
        raise TypeError("VerifiedSnpEvidence is made by casemate.verifier.appraise_snp alone")

    @property
    def evidence_hash(self) -> bytes:
        """To which calls are bound."""
        return self.report_hash

    @property
    def is_paravirtual(self) -> bool:
        """Whether it is an attested function's, whose process runs beside others' on the host's processor."""
        return self.simulated and self.family_id == FAMILY_ID


def vouch_for_snp(
    *,
    report_hash: bytes,
    measurement: bytes,
    host_data: bytes,
    report_data: bytes,
    binding: ReportDataBinding | None,
    family_id: bytes,
    image_id: bytes,
    guest_svn: int,
    policy: int,
    vmpl: int,
    id_key_digest: bytes,
    author_key_digest: bytes,
    product: Product,
    reported_tcb: TcbVersion,
    chip_id: bytes,
    root: str,
    simulated: bool,
    seeded: bool,
    appraised_at: datetime,
    expires_at: datetime,
) -> VerifiedSnpEvidence:
    """The one maker of verified evidence; called at the end of an appraisal and nowhere else (a test greps)."""
    values = locals()
    verified = object.__new__(VerifiedSnpEvidence)
    for name, value in values.items():
        object.__setattr__(verified, name, value)
    return verified
