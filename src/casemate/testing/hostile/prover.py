"""A machine that has guests prove themselves to their owner: what attacks on launches and on evidence work with."""

from dataclasses import dataclass
from typing import Protocol

from casemate.testing.lone_guest import SIGNATURE
from casemate.verifier import SimulatedRoot, SnpEndorsements, SnpEvidence
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.vmm import Vmm

POLICY = 0x3_0000
"""The guests' own: SMT allowed, no debugging."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What an owner gives along, for the firmware to insist on."""

    block: bytes
    auth: bytes


class Prover(Protocol):
    """One machine in the hands of its operator. It refuses with :class:`~casemate.wire.protocol.faults.FaultError`."""

    @property
    def mode(self) -> VmMode:
        """Of the guests that it launches. For tables: no attack may ask."""

    @property
    def root(self) -> SimulatedRoot:
        """The maker's."""

    @property
    def seeded(self) -> bool:
        """Whether everybody can have its maker's keys."""

    def prove(self, image: bytes, report_data: bytes, identity: Identity | None = None) -> SnpEvidence | None:
        """Launches a guest, and asks it for a report over 64 bytes; None where it hands out none."""

    def endorsements(self) -> SnpEndorsements:
        """Of the key that signs reports now."""

    def recover(self) -> None:
        """The maker publishes firmware of a higher TCB, and the platform is updated to it and has committed it."""


def measured(image: bytes, mode: VmMode) -> bytes:
    """The launch digest that the owner of an image computes for himself."""
    shape = GuestShape(1, SIGNATURE, Vmm.QEMU, int(mode.has_rmp))
    return digest_of(planned.page for planned in plan(parse_ovmf(image), shape))
