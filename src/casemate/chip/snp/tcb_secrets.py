"""From the fuses to a secret for each TCB version: what firmware of one version can reach, and older ones cannot.

Each of the eight bytes of TCB_VERSION has a chain of one-way hashes that starts at the fused root with version 255.
Firmware of version n holds link n, from which every older link follows and no newer one does. So each TCB version has a
VCEK of its own: firmware that was rolled back cannot have the newer one's, and newer firmware still derives the old.

SIMULATED: AMD does not publish how the VCEK follows from the fuses and the TCB.
"""

import hashlib

from casemate.chip.crypto import derive
from casemate.chip.secret import Secret
from casemate.wire.snp.tcb import TcbVersion

SECRET_SIZE = 48
"""Bytes: SHA-384, the strength of P-384."""

_HIGHEST = 255
_CHAIN_LABEL = b"casemate snp tcb chain v1 "
_STEP_LABEL = b"casemate snp tcb step v1\x00"
_ROOT_LABEL = b"casemate snp tcb root v1\x00"


def links_of(root: Secret, tcb: TcbVersion) -> tuple[Secret, ...]:
    """What the security processor hands to firmware of this version: one link for each byte of TCB_VERSION."""
    return tuple(
        Secret(_older(derive(root.reveal(), _CHAIN_LABEL + bytes((at,)), SECRET_SIZE), _HIGHEST - level))
        for at, level in enumerate(tcb.encode())
    )


def secret_for(links: tuple[Secret, ...], current: TcbVersion, wanted: TcbVersion) -> Secret:
    """The secret of ``wanted``, which ``current`` reaches and whose ``links`` these are."""
    if not current.reaches(wanted):
        raise ValueError(f"{wanted} is beyond {current}")
    reached = (
        _older(link.reveal(), have - want)
        for link, have, want in zip(links, current.encode(), wanted.encode(), strict=True)
    )
    return Secret(hashlib.sha384(_ROOT_LABEL + wanted.encode() + b"".join(reached)).digest())


def _older(link: bytes, steps: int) -> bytes:
    for _ in range(steps):
        link = hashlib.sha384(_STEP_LABEL + link).digest()
    return link
