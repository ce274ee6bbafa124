"""Microcode of one CPUSVN: the root keys that it can derive.

SIMULATED: CPUSVN is opaque on hardware, and Intel does not publish how root keys follow from it; here it is compared by
component, and keys follow by :mod:`casemate.chip.svn_chains`.
"""

from casemate.chip.errors import LeafError, Status
from casemate.chip.secret import Secret
from casemate.chip.svn_chains import SvnChains

ROOT_KEY_SIZE = 16
"""AES-128: the width of the processor's own keys."""

_CHAINS = SvnChains(
    hash="sha256",
    chain_label=b"casemate cpu svn chain v1 ",
    step_label=b"casemate cpu svn step v1\x00",
    root_label=b"casemate cpu svn root v1\x00",
)


def covers(newer: bytes, older: bytes) -> bool:
    """Whether no component of ``older`` is above its own of ``newer``."""
    return all(old <= new for new, old in zip(newer, older, strict=True))


class Microcode:
    """Gives root keys for its own CPUSVN and for all older ones."""

    def __init__(self, root: Secret, cpu_svn: bytes) -> None:
        """Loads microcode of version ``cpu_svn`` into the chip whose fused root is ``root``, which it does not keep."""
        self.cpu_svn = cpu_svn
        self._links = _CHAINS.links(root, cpu_svn)
        self._current = self._root(cpu_svn)  # the one that is asked for most: nothing is hashed for it again

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
        return _CHAINS.secret(self._links, self.cpu_svn, cpu_svn).reveal()[:ROOT_KEY_SIZE]
