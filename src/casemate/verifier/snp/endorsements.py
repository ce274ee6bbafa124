"""AMD's certificates and revocation list for the key that signs reports; unverified."""

from collections.abc import Sequence
from dataclasses import dataclass

from casemate.verifier.snp.certificates import parse_amd_certificate
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import WireError
from casemate.wire.snp.endorsements import CertifiedKey


@dataclass(frozen=True, slots=True)
class SnpEndorsements:
    """Certificates of the key that signed, and the revocation list; unverified."""

    key_certificate: bytes
    """VCEK or VLEK: DER."""
    chain: bytes
    """PEM: the issuer (ASK or ASVK) and the root (ARK), in any order."""
    revocation_list: bytes | None
    """The root's CRL: DER; None where there is none at hand."""

    @classmethod
    def of(cls, given: CertifiedKey) -> "SnpEndorsements":
        """The endorsements that a machine gave with its evidence."""
        return cls(given.certificates[0], encode_chain(*given.certificates[1:]), given.revocation_list)

    @classmethod
    def of_certificates(cls, certificates: Sequence[bytes], revocation_list: bytes | None) -> "SnpEndorsements":
        """Sorts certificates (DER) given in any order: the key's is the one that issued none of the others.

        Where that cannot be told, the first is taken for the key's, and the rules say what is wrong with the path.
        """
        key = _key_among(certificates)
        return cls(key, encode_chain(*(each for each in certificates if each != key)), revocation_list)

    def handed_on(self) -> CertifiedKey:
        """These endorsements as a value of the wire formats."""
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
