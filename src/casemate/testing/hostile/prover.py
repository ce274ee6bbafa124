"""A machine whose guests prove themselves to their owner: the interface for attacks on launches and on evidence."""

from dataclasses import dataclass
from typing import Protocol

from casemate.testing.lone_guest import SIGNATURE
from casemate.verifier import SimulatedRoot, SnpEndorsements, SnpEvidence
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.vmm import Vmm

POLICY = 0x3_0000
"""The guests' GUEST_POLICY: SMT allowed, debugging not."""


@dataclass(frozen=True, slots=True)
class SignedIdBlock:
    """The ID block that an owner provides, which the firmware enforces."""

    block: bytes
    auth: bytes


class Prover(Protocol):
    """One machine in the hands of its operator. It refuses with :class:`~casemate.wire.protocol.faults.FaultError`."""

    @property
    def mode(self) -> VmMode:
        """The mode of its guests. For tables only: attacks must not depend on it."""

    @property
    def root(self) -> SimulatedRoot:
        """The maker's root."""

    @property
    def seeded(self) -> bool:
        """Whether everybody can have its maker's keys."""

    def prove(self, image: bytes, report_data: bytes, identity: SignedIdBlock | None = None) -> SnpEvidence | None:
        """Launches a guest, and asks it for a report over 64 bytes; None where it hands out none."""

    def endorsements(self) -> SnpEndorsements:
        """Endorsements of the key that signs reports at present."""

    def recover(self) -> None:
        """The maker publishes firmware of a higher TCB, and the platform is updated to it and has committed it."""


def measured(image: bytes, mode: VmMode) -> bytes:
    """The launch digest that the owner of an image computes for himself."""
    shape = GuestShape(1, SIGNATURE, Vmm.QEMU, int(mode.has_rmp))
    return digest_of(planned.page for planned in plan(parse_ovmf(image), shape))
