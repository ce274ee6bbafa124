"""Guests in processes of their own, a chip and its maker in this one: evidence without a machine around it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from casemate.chip.snp.errors import FirmwareError
from casemate.testing.hostile.prover import POLICY, SignedIdBlock
from casemate.testing.lone_guest import NO_IDENTITY, LoneGuest
from casemate.testing.snp_maker import SnpMaker, snp_chip, snp_office
from casemate.verifier import SimulatedRoot, SnpEndorsements, SnpEvidence
from casemate.wire.messages.snp_firmware import LaunchFinish
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.report import REPORT_SIZE
from casemate.wire.snp.tcb import Product

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
"""When the maker has made its keys: all makers of a process are the same one."""


class LoneProver:
    """A :class:`~casemate.testing.hostile.prover.Prover`."""

    seeded = False

    def __init__(self, folder: Path, mode: VmMode) -> None:
        """A new chip in an empty ``folder``; the maker's keys take seconds, once a process."""
        self.mode = mode
        now = datetime.now(UTC)
        self._maker = SnpMaker(snp_office(Product.MILAN, min(_BEGIN, now)), now)
        self._platform, self._certification = snp_chip(folder, self._maker)

    @property
    def root(self) -> SimulatedRoot:
        return self._maker.root

    def prove(self, image: bytes, report_data: bytes, identity: SignedIdBlock | None = None) -> SnpEvidence | None:
        finish = NO_IDENTITY
        if identity is not None:
            finish = LaunchFinish(vm=0, host_data=bytes(32), id_block=identity.block, id_auth=identity.auth)
        try:
            guest = LoneGuest(image, self.mode, chip=self._platform, data=report_data, policy=POLICY, finish=finish)
        except FirmwareError as error:
            raise refuse(Code.FIRMWARE_REFUSED, str(error)) from None
        with guest as host:
            host.run()
            return SnpEvidence(bytes(host.sent)) if len(host.sent) == REPORT_SIZE else None

    def endorsements(self) -> SnpEndorsements:
        return self._maker.endorsements(asyncio.run(self._certification.certificates()))

    def recover(self) -> None:
        self._certification.update(self._maker.recover())
