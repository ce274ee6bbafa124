"""What firmware of one security version can reach of a fused root: the secrets of its own version and of older ones.

A version has several parts, each a byte. Each part has a chain of one-way hashes that starts at the fused root with
version 255. Firmware of version n holds link n, from which every older link follows by hashing and no newer one does.
So firmware that was rolled back cannot derive the newer one's secrets, and newer firmware still derives the old ones.

SIMULATED: neither Intel nor AMD publishes how a key follows from the fuses and the version.
"""

import hashlib
from dataclasses import dataclass

from casemate.chip.crypto import derive
from casemate.chip.secret import Secret

HIGHEST = 255


@dataclass(frozen=True, slots=True)
class SvnChains:
    """The chains of one kind of firmware."""

    hash: str
    """Name of the hash; a link is as long as its digest."""
    chain_label: bytes
    step_label: bytes
    root_label: bytes

    def links(self, root: Secret, versions: bytes) -> tuple[Secret, ...]:
        """The chain links that the fused ``root`` derives for firmware of these versions, one for each part."""
        size = hashlib.new(self.hash).digest_size
        starts = (derive(root.reveal(), self.chain_label + bytes((part,)), size) for part in range(len(versions)))
        return tuple(
            Secret(self._older(start, HIGHEST - version)) for start, version in zip(starts, versions, strict=True)
        )

    def secret(self, links: tuple[Secret, ...], current: bytes, wanted: bytes) -> Secret:
        """The secret of ``wanted``, of which no part is above its own of ``current``, whose ``links`` these are."""
        reached = (
            self._older(link.reveal(), have - want) for link, have, want in zip(links, current, wanted, strict=True)
        )
        return Secret(hashlib.new(self.hash, self.root_label + wanted + b"".join(reached)).digest())

    def _older(self, link: bytes, steps: int) -> bytes:
        if steps < 0:
            raise ValueError("a newer link does not follow from an older one")
        for _ in range(steps):
            link = hashlib.new(self.hash, self.step_label + link).digest()
        return link
