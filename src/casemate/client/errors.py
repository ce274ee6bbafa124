"""What a relying party must tell apart: who refused, and whether the answer can be believed."""

from casemate.wire.errors import CasemateError
from casemate.wire.faults import FaultError


class HostRefusedError(FaultError):
    """The untrusted host refuses, or says that the enclave does. Nothing vouches for its word."""


class EnclaveRefusedError(FaultError):
    """The appraised enclave itself refuses this call: the refusal was sealed to it."""


class ResponseRefusedError(CasemateError):
    """What came back is not the enclave's answer to this request: altered, exchanged for another, or malformed."""


class ReceiptRefusedError(CasemateError):
    """A receipt does not hold: the message names the rule, what was found, and what was wanted."""

    def __init__(self, rule: str, *, got: object, want: object) -> None:
        super().__init__(f"{rule}: got {got}, want {want}")
        self.rule = rule
        self.got = got
        self.want = want


class CallerKeyError(CasemateError):
    """A file holds no Ed25519 key that a caller could sign with."""
