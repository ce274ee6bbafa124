"""A chip with SEV-SNP and its maker in one process, without a supervisor between them."""

import functools
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from casemate.chip.errors import CertificationError
from casemate.chip.fuses import load_fuses
from casemate.chip.snp.certification import SnpCertification
from casemate.chip.snp.platform import ReportedGuest, SnpPlatform
from casemate.chip.snp.platform_state import ChipKind
from casemate.makers.amd.keys import AmdRole, make_rsa_key, make_vlek_secret
from casemate.makers.amd.ledger import AmdLedger
from casemate.makers.amd.levels import recover
from casemate.makers.amd.maker import (
    AmdMaker,
    Ca,
    VcekRequest,
    VlekRequest,
    issue_ca_certificate,
    issue_vcek,
    issue_vlek,
    publish_crl,
    revoke,
)
from casemate.makers.certificates import serial_of
from casemate.makers.errors import MakerError
from casemate.verifier import SimulatedRoot, SnpEndorsements
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.messages.snp_certification import (
    CertifyVcek,
    GiveVlek,
    PublishedFirmware,
    UpdateFirmware,
    VcekCertified,
    VlekGiven,
)
from casemate.wire.snp.tcb import Product, TcbVersion

T = TypeVar("T")


@functools.cache
def snp_office(product: Product, now: datetime) -> AmdMaker:
    """The maker of one product, with all its keys and nothing issued; cached."""
    cas: dict[AmdRole, Ca] = {}
    for role in AmdRole:
        key = make_rsa_key(product, role, None)
        ark = cas[AmdRole.ARK].key if cas else key
        cas[role] = Ca(key, issue_ca_certificate(product, role, key, ark=ark, seed=None, now=now))
    return AmdMaker(product, None, cas, AmdLedger.first(product, make_vlek_secret(product, None)))


@dataclass
class SnpMaker:
    """The maker: a chip uses :meth:`ask`, the other methods are its operator's."""

    maker: AmdMaker
    now: datetime
    asked: list[object] = field(default_factory=list)
    """The chip's requests, in order."""

    async def ask(self, question: object, wanted: type[T]) -> T:
        """The maker's answer; :class:`CertificationError` if it refuses."""
        self.asked.append(question)
        try:
            answer = self._answer(question)
        except MakerError as error:
            raise CertificationError(str(error)) from None
        if not isinstance(answer, wanted):
            raise TypeError(f"{type(answer).__name__} is no {wanted.__name__}")
        return answer

    @property
    def root(self) -> SimulatedRoot:
        """The maker's root, for policies."""
        return SimulatedRoot.of(self.maker.cas[AmdRole.ARK].certificate)

    def endorsements(self, chain: bytes) -> SnpEndorsements:
        """A chip's certificate chain with the current revocation list."""
        leaf, *above = (block.der for block in parse_chain("chain", chain))
        return SnpEndorsements(leaf, encode_chain(*above), publish_crl(self.maker, self.now))

    def revoke(self, *certificates: bytes) -> None:
        """Adds certificates (DER) to the root's revocation list."""
        ledger = revoke(self.maker.ledger, tuple(map(serial_of, certificates)), self.now)
        self.maker = replace(self.maker, ledger=ledger)

    def recover(self) -> UpdateFirmware:
        """Publishes a new TCB; returns the order that updates a chip to it."""
        ledger = self.maker.ledger
        levels = recover(ledger.levels, "SIM-SB-00001", self.now)
        self.maker = replace(self.maker, ledger=replace(ledger, levels=levels))
        new = levels[0].firmware
        return UpdateFirmware(
            (PublishedFirmware(self.maker.product, new.tcb.encode(), new.major, new.minor, new.build),), commit=True
        )

    def _answer(self, question: object) -> object:
        match question:
            case CertifyVcek(product, public_key, hw_id, tcb, seeded):
                request = VcekRequest(public_key, hw_id, TcbVersion.parse(product, tcb), seeded)
                self.maker, chain, _ = issue_vcek(self.maker, request, self.now)
                return VcekCertified(chain)
            case GiveVlek(product, tcb, csp_id, wrapping_key):
                wish = VlekRequest(csp_id, TcbVersion.parse(product, tcb), wrapping_key)
                self.maker, chain, wrapped, _ = issue_vlek(self.maker, wish, self.now)
                return VlekGiven(chain, wrapped)
        raise TypeError(f"no question of a chip's: {question}")


def snp_chip(folder: Path, maker: SnpMaker, report_version: int | None = None) -> tuple[SnpPlatform, SnpCertification]:
    """A chip of the maker's product, with its state in an empty or used ``folder``."""
    folder.mkdir(mode=0o700, exist_ok=True)
    platform = SnpPlatform(folder, load_fuses(folder, None), ChipKind(maker.maker.product, report_version))
    return platform, SnpCertification(platform, folder, maker.ask, clock=lambda: maker.now)


def snp_guest(platform: SnpPlatform) -> ReportedGuest:
    """A guest that has just been launched, with a value in every field."""
    return ReportedGuest(
        guest_svn=2,
        policy=0x12_0037,
        family_id=b"\x0f" * 16,
        image_id=b"\x1f" * 16,
        vmpl=0,
        report_data=b"\x07" * 64,
        measurement=b"\x01" * 48,
        host_data=b"\x02" * 32,
        id_key_digest=b"\x03" * 48,
        author_key_digest=b"\x04" * 48,
        author_key=True,
        report_id=b"\x05" * 32,
        report_id_ma=b"\xff" * 32,
        launch_tcb=platform.state.current.tcb,
    )
