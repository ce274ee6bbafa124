"""The ladder of CPU security versions: what the loaded microcode can reach of the fused root.

Each of CPUSVN's 16 components has a chain of one-way hashes that starts at the fused root with version 255. Microcode
of version n holds the link n, from which every older link follows by hashing and no newer one does; so after a
roll-back the older microcode cannot derive the newer one's keys, and after an update the newer still derives the old.

SIMULATED: CPUSVN is opaque on hardware and Intel does not publish the ladder; here it is compared by component.
"""

import hashlib

from casemate.chip.crypto import derive
from casemate.chip.errors import LeafError, Status
from casemate.chip.secret import Secret

COMPONENTS = 16
HIGHEST_SVN = 255
ROOT_KEY_SIZE = 16
"""AES-128: the width of the processor's own keys."""

_CHAIN_LABEL = b"casemate cpu svn chain v1 "
_STEP_LABEL = b"casemate cpu svn step v1\x00"
_ROOT_LABEL = b"casemate cpu svn root v1\x00"


def covers(newer: bytes, older: bytes) -> bool:
    """Whether no component of ``older`` is above its own of ``newer``."""
    return all(old <= new for new, old in zip(newer, older, strict=True))


class Microcode:
    """The links at one CPUSVN: gives root keys for it and for all older ones."""

    def __init__(self, root: Secret, cpu_svn: bytes) -> None:
        """Loads microcode of version ``cpu_svn`` into the chip whose fused root is ``root``, which it does not keep."""
        self.cpu_svn = cpu_svn
        self._links = tuple(
            _older(derive(root.reveal(), _CHAIN_LABEL + bytes((component,)), 32), HIGHEST_SVN - svn)
            for component, svn in enumerate(cpu_svn)
        )
        self._current = self._root(cpu_svn)

    def root_key(self, cpu_svn: bytes) -> bytes:
        """The root of all keys at ``cpu_svn``; :class:`LeafError` where this microcode is older than that."""
        if cpu_svn == self.cpu_svn:
            return self._current
        self.check(cpu_svn)
        return self._root(cpu_svn)

    def check(self, cpu_svn: bytes) -> None:
        """Refuses a version that this microcode has no link to hash from."""
        if not covers(self.cpu_svn, cpu_svn):
            raise LeafError(
                Status.INVALID_CPUSVN, f"CPUSVN is {cpu_svn.hex()}, beyond this processor's {self.cpu_svn.hex()}"
            )

    def _root(self, cpu_svn: bytes) -> bytes:
        links = (
            _older(link, mine - wanted) for link, mine, wanted in zip(self._links, self.cpu_svn, cpu_svn, strict=True)
        )
        return hashlib.sha256(_ROOT_LABEL + cpu_svn + b"".join(links)).digest()[:ROOT_KEY_SIZE]


def _older(link: bytes, steps: int) -> bytes:
    for _ in range(steps):
        link = hashlib.sha256(_STEP_LABEL + link).digest()
    return link
