"""The kinds of trusted execution environment that an attested function runs in, and its identity there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from casemate.wire.encodings.message import U16, Bytes32, Limit
from casemate.wire.protocol.deployment import NO_DEPLOYMENT

MAX_REPORT = 1184
"""Bytes of the longest report: SEV-SNP's attestation report; SGX's REPORT has 432."""

MAX_ENDORSEMENTS = 1024 * 1024
"""Longest endorsements of evidence by its maker (bytes of JSON)."""

LAUNCH_DIGEST_SIZE = 48
"""Bytes of the longest measurement: SEV-SNP's launch digest is of SHA-384, MRENCLAVE of SHA-256."""


class Tee(StrEnum):
    """The kinds of trusted execution environment."""

    SGX = "sgx"
    """An enclave: measured into MRENCLAVE, its evidence is a quote."""
    SNP = "snp"
    """A paravirtual SEV-SNP guest: measured into a launch digest, its evidence is an attestation report."""


@dataclass(frozen=True, slots=True)
class Identity:
    """An attested function's identity, as the chip states it; keys, sealed states and evidence depend on it."""

    tee: Tee
    measurement: Annotated[bytes, Limit(LAUNCH_DIGEST_SIZE)]
    """MRENCLAVE (32 bytes), or the launch digest (48)."""
    mr_signer: Bytes32
    """MRSIGNER of the SIGSTRUCT, which every image has."""
    isv_prod_id: U16
    isv_svn: U16
    debug: bool
    deployment: Bytes32 = NO_DEPLOYMENT
    """Whose deployment it is: see :mod:`casemate.wire.protocol.deployment`."""
