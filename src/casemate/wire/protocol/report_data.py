"""The values that an enclave's REPORTDATA vouches for. `docs/protocol.md` has the bytes, and an example."""

import hashlib
from dataclasses import dataclass

from casemate.wire.encodings.message import Bytes32, encode_fields
from casemate.wire.protocol.sandbox_layers import SandboxLayers

_LABEL = b"casemate report data v1\x00"


@dataclass(frozen=True, slots=True)
class ReportDataBinding:
    """The values whose hash an enclave puts into REPORTDATA: a reader who has appraised the quote may trust them."""

    hpke_key: Bytes32
    """X25519 public key that requests are sealed to; fresh at each launch."""
    receipt_key: Bytes32
    """Ed25519 public key that signs receipts; fresh at each launch."""
    nonce: Bytes32
    """The challenger's, which makes the evidence fresh."""
    layers: SandboxLayers

    def report_data(self) -> bytes:
        """The 64 bytes of REPORTDATA: SHA-512 over a label and the fields."""
        return hashlib.sha512(_LABEL + encode_fields(self)).digest()
