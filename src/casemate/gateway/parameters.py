"""Parameters in paths and queries."""

from typing import Annotated

from fastapi import Path, Query

EnclaveId = Annotated[int, Path(ge=0, le=2**53 - 1, description="The host's number of the enclave.")]
Nonce = Annotated[
    str,
    Query(pattern="^[0-9a-fA-F]{64}$", description="32 bytes in hexadecimal, the challenger's, never used twice."),
]
