"""This chip's security versions, and the microcode updates that raise them. They never fall."""

from dataclasses import dataclass
from pathlib import Path

from casemate.chip.errors import ANEW, LeafError, StateError, Status
from casemate.chip.inventory import expect
from casemate.chip.sgx.microcode import covers
from casemate.chip.state_directory import encode_checked, parse_checked, read_state, write_state
from casemate.wire.encodings.message import U16, Bytes16
from casemate.wire.errors import WireError
from casemate.wire.sgx.simulated_platform import FIRST_COMPONENTS, FIRST_PCE_SVN

FILE_NAME = "tcb.bin"

_MAGIC = b"casemate tcb v1\x00"


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
    try:
        return parse_checked(Tcb, _MAGIC, content)
    except WireError:
        raise StateError(
            f"{path} is damaged: {ANEW}, and then give this chip its last microcode update again"
        ) from None


def store_tcb(directory: Path, tcb: Tcb) -> None:
    """Durable when it returns."""
    write_state(directory / FILE_NAME, encode_checked(_MAGIC, tcb))
    expect(directory, FILE_NAME)
