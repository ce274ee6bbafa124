"""Evidence and its endorsements as they travel and as receipts keep them, of any kind of TEE; unverified."""

from dataclasses import dataclass
from typing import Self

from casemate.verifier import AnyEvidence, BoundValues, SgxEvidence, SnpEndorsements, SnpEvidence
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.snp.endorsements import CertifiedKey


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence about an enclave's keys, with its endorsements."""

    tee: Tee
    evidence: bytes
    """A quote, or an attestation report."""
    endorsements: Collateral | SnpEndorsements

    @classmethod
    def parse(cls, tee: Tee, evidence: bytes, endorsements: bytes) -> Self:
        """Parses evidence and endorsements (JSON) of a kind of TEE; :class:`WireError` if they are not of that kind."""
        if tee is Tee.SGX:
            return cls(tee, evidence, Collateral.parse(endorsements))
        return cls(tee, evidence, SnpEndorsements.of(CertifiedKey.parse(endorsements)))

    def encoded_endorsements(self) -> bytes:
        """The endorsements as JSON."""
        given = self.endorsements
        return given.handed_on().encode() if isinstance(given, SnpEndorsements) else given.encode()

    def about(self, bound: BoundValues) -> AnyEvidence:
        """The evidence with what is said to be bound to it."""
        return SgxEvidence(self.evidence, bound) if self.tee is Tee.SGX else SnpEvidence(self.evidence, bound)
