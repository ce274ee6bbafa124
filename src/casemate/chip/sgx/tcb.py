"""This chip's security versions, and the microcode updates that raise them. They never fall."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from casemate.chip.errors import ANEW, LeafError, StateError, Status
from casemate.chip.inventory import expect
from casemate.chip.sgx.microcode import covers
from casemate.chip.state_directory import read_state, write_state
from casemate.wire.encodings.message import U16, Bytes16, encode_fields, parse_fields
from casemate.wire.errors import WireError
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS, FIRST_PCE_SVN

FILE_NAME = "tcb.bin"

_MAGIC = b"casemate tcb v1\x00"
_DIGEST_SIZE = 32


@dataclass(frozen=True, slots=True)
class Tcb:
    """CPUSVN and PCESVN: which microcode and which provisioning enclave run."""

    cpu_svn: Bytes16
    pce_svn: U16

    def updated(self, other: "Tcb") -> "Tcb":
        """``other``, if it is an update of this.

        Raises:
            LeafError: SGX_NO_UPDATE: a part of it is older than what runs (SDM vol. 3D, EUPDATESVN).
        """
        if not covers(other.cpu_svn, self.cpu_svn) or other.pce_svn < self.pce_svn:
            raise LeafError(
                Status.NO_UPDATE,
                f"update has CPUSVN {other.cpu_svn.hex()}, PCESVN {other.pce_svn}; this chip runs "
                f"{self.cpu_svn.hex()}, {self.pce_svn}, and no part may be older",
            )
        return other


FIRST_TCB = Tcb(FIRST_COMPONENTS, FIRST_PCE_SVN)


def load_tcb(directory: Path) -> Tcb:
    """What this chip runs; a new chip, what chips are born with."""
    path = directory / FILE_NAME
    try:
        content = read_state(path)
    except FileNotFoundError:
        return FIRST_TCB
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    try:
        if hashlib.sha256(body).digest() != digest or not body.startswith(_MAGIC):
            raise WireError("tcb", got="another checksum or version", want="what this version wrote")
        return parse_fields(Tcb, body[len(_MAGIC) :])
    except WireError:
        raise StateError(
            f"{path} is damaged: {ANEW}, and then give this chip its last microcode update again"
        ) from None


def store_tcb(directory: Path, tcb: Tcb) -> None:
    """Durable when it returns."""
    body = _MAGIC + encode_fields(tcb)
    write_state(directory / FILE_NAME, body + hashlib.sha256(body).digest())
    expect(directory, FILE_NAME)
