"""Parameters in paths and queries."""

from typing import Annotated

from fastapi import Path, Query

EnclaveId = Annotated[int, Path(ge=0, le=2**53 - 1, description="The host's number of the enclave.")]
Nonce = Annotated[
    str,
    Query(pattern="^[0-9a-fA-F]{64}$", description="32 bytes in hexadecimal, the challenger's, never used twice."),
]
VmId = Annotated[int, Path(ge=0, le=2**53 - 1, description="The host's number of the VM.")]
Address = Annotated[
    str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="Hexadecimal: an SPA, or in the guest's view a GPA.")
]
Spa = Annotated[str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="System physical address, hexadecimal.")]
Gpa = Annotated[str, Query(pattern="^0x[0-9a-fA-F]{1,16}$", description="Guest physical address, hexadecimal.")]
