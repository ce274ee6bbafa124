"""What this host hands out beside evidence: the makers' word on the keys that signed it, as last published."""

from dataclasses import dataclass
from pathlib import Path

from casemate.host.collateral import CollateralCache
from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.revocation_lists import read_revocation_list
from casemate.wire.messages.snp_firmware import PlatformStatus
from casemate.wire.protocol.tee import Tee
from casemate.wire.snp.endorsements import CertifiedKey


@dataclass(frozen=True, slots=True)
class Endorsements:
    """For each kind of TEE; unverified, like everything of the host's."""

    collateral: CollateralCache
    firmware: SevFirmware
    directory: Path
    """Where the supervisor puts revocation lists (``amd-PRODUCT.crl``)."""

    async def of(self, tee: Tee) -> bytes:
        """The document for evidence of that kind; FaultError where the chip or the maker give none."""
        if tee is Tee.SGX:
            return self.collateral.read()
        chain = await self.firmware.certificates()
        product = (await self.firmware.platform(PlatformStatus())).product
        return CertifiedKey.of(chain, read_revocation_list(self.directory, product)).encode()
