"""Certificates of the keys that sign reports: the supervisor fetches them from the maker when they are first wanted.

A VCEK's chain is kept for each TCB, in the chip's directory. A VLEK and its chain are gone with the chip's power, as on
hardware.

SIMULATED: real firmware knows no certificates and asks nobody; hosts get them from AMD's key distribution service.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from casemate.chip.crypto import ReportKey, WrappingKey
from casemate.chip.errors import CertificationError, ForgedError
from casemate.chip.sgx.platform import VCEK_CHAINS
from casemate.chip.snp.platform import SnpPlatform
from casemate.chip.state_directory import write_state
from casemate.process.plain_file import read_plain
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.encodings.x509_dates import common_validity
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_certification import (
    CertifyVcek,
    FirmwareIs,
    GiveVlek,
    UpdateFirmware,
    VcekCertified,
    VlekGiven,
)
from casemate.wire.messages.supervisor import MAX_CHAIN
from casemate.wire.snp.guest_message import KeySelect
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.simulated_platform import Firmware
from casemate.wire.snp.tcb import TcbVersion
from casemate.wire.snp.vlek import vlek_binding

_SPKI_P384 = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")
"""SubjectPublicKeyInfo of a P-384 key up to its point (RFC 5480)."""

T = TypeVar("T")


class Ask(Protocol):
    """Asks the maker a question, through the supervisor."""

    def __call__(self, question: object, wanted: type[T], /) -> Awaitable[T]:
        """What the maker answers; :class:`CertificationError` where it refuses."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SnpCertification:
    """One platform's certificates."""

    def __init__(
        self, platform: SnpPlatform, directory: Path, ask: Ask, *, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        """Asks for nothing yet; chains are kept in ``directory``, the chip's. What is not valid now is asked anew."""
        self._platform = platform
        self._directory = directory
        self._ask = ask
        self._clock = clock
        self._turn = asyncio.Lock()
        self._vlek_chain = b""
        self.provider = ""
        """The provider whose VLEK is loaded; empty if none is."""

    async def certificates(self) -> bytes:
        """The chain of the key that signs reports now (PEM: VCEK, ASK, ARK; or VLEK, ASVK, ARK).

        Raises:
            CertificationError: the maker refused, or certified another key.
            FirmwareError: INVALID_KEY: a VLEK is loaded for another TCB than the reported one.
        """
        if self._platform.choose(KeySelect.EITHER) is SigningKey.VLEK:
            if not is_valid(self._vlek_chain, self._clock()):  # AMD's are good for a year
                await self.load_vlek(self.provider)
            return self._vlek_chain
        async with self._turn:
            return await self._vcek_chain()

    async def load_vlek(self, csp_id: str) -> None:
        """SNP_VLEK_LOAD: the key of this cloud provider for the reported TCB.

        Raises:
            CertificationError: the maker refused, or gave a key that is for another chip or is not what it certified.
        """
        async with self._turn:
            product, tcb, wrapping = self._platform.product, self._platform.state.reported, WrappingKey()
            request = GiveVlek(product, tcb.encode(), csp_id, wrapping.public_key)
            given = await self._ask(request, VlekGiven)
            try:
                key = ReportKey.given(wrapping.open(given.wrapped_key, vlek_binding(product, csp_id, tcb)))
            except (ForgedError, ValueError):
                raise CertificationError("the VLEK that the maker gave is not for this chip") from None
            check_chain(given.chain, key)
            self._platform.load_vlek(key, tcb)
            self._vlek_chain, self.provider = given.chain, csp_id

    def update(self, order: UpdateFirmware) -> FirmwareIs:
        """The firmware that is published for this platform runs when this returns, committed if so ordered.

        Raises:
            FirmwareError: BAD_SVN: it is older than what is committed.
        """
        platform = self._platform
        for one in order.published:
            if one.product is platform.product:
                platform.update(Firmware(TcbVersion.parse(one.product, one.tcb), one.major, one.minor, one.build))
                if order.commit:
                    platform.commit()
        now = platform.state
        return FirmwareIs(platform.product, platform.hw_id, now.current.tcb.encode(), now.reported.encode())

    async def _vcek_chain(self) -> bytes:
        platform, tcb = self._platform, self._platform.state.reported
        key = platform.vcek()
        path = self._directory / VCEK_CHAINS.format(tcb.encode().hex())
        kept = _kept(path, key)
        if kept is not None and is_valid(kept, self._clock()):
            return kept
        request = CertifyVcek(platform.product, key.public_key, platform.hw_id, tcb.encode(), platform.seeded)
        try:
            chain = (await self._ask(request, VcekCertified)).chain
            check_chain(chain, key)
        except CertificationError:
            if kept is None:
                raise
            return kept  # expired or not, verifiers can say more about it than about none
        write_state(path, chain)
        return chain


def check_chain(chain: bytes, key: ReportKey) -> None:
    """Refuses a chain whose first certificate is not for ``key``. Whether it is genuine, verifiers will say."""
    try:
        leaf = parse_chain("chain", chain)[0].der
    except WireError as error:
        raise CertificationError(str(error)) from None
    if _SPKI_P384 + key.public_key not in leaf:
        raise CertificationError("the chain's first certificate is for another key than this chip's at its TCB")


def is_valid(chain: bytes, now: datetime) -> bool:
    """Whether each certificate of a chain is valid at this time, as far as its dates can be read."""
    try:
        return common_validity(each.der for each in parse_chain("chain", chain)).holds(now)
    except WireError:
        return True


def _kept(path: Path, key: ReportKey) -> bytes | None:
    try:
        chain = read_plain(path, MAX_CHAIN + 1)
        check_chain(chain, key)
    except (OSError, CertificationError):
        return None  # none yet, or damaged: the maker is asked again
    return chain
