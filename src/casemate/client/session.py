"""What both clients' enclaves have in common."""

from casemate.client.core import AttestedEnclave
from casemate.verifier import AnyVerifiedEvidence


class Session:
    """An attested enclave by its host's number."""

    def __init__(self, number: int, attested: AttestedEnclave) -> None:
        self._attested = attested
        self.number = number
        """The host's number for it."""

    @property
    def evidence(self) -> AnyVerifiedEvidence:
        """What the appraisal found."""
        return self._attested.evidence

    @property
    def attested(self) -> AttestedEnclave:
        """The enclave without the connection."""
        return self._attested
