"""The endorsements that this host adds to evidence: what the chip's makers last published about its keys."""

from dataclasses import dataclass
from pathlib import Path

from casemate.host.vm.firmware import SevFirmware
from casemate.host.vm.revocation_lists import read_revocation_list
from casemate.process.plain_file import read_plain
from casemate.wire.errors import os_error_text
from casemate.wire.messages.snp_firmware import PlatformStatus
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.tee import MAX_ENDORSEMENTS, Tee
from casemate.wire.snp.endorsements import CertifiedKey


class CollateralCache:
    """The collateral in ``path``, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._content = b""

    def read(self) -> bytes:
        """The newest collateral, as QuoteCollateralV3 JSON; unverified, like everything of the host's."""
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._content = read_plain(self._path, MAX_ENDORSEMENTS + 1)
                self._stamp = stamp
        except OSError as error:
            raise refuse(Code.UNAVAILABLE, f"no collateral at {self._path}: {os_error_text(error)}") from None
        if len(self._content) > MAX_ENDORSEMENTS:
            raise refuse(Code.UNAVAILABLE, f"collateral is over {MAX_ENDORSEMENTS} bytes")
        return self._content


@dataclass(frozen=True, slots=True)
class Endorsements:
    """Endorsements for each kind of TEE. The host does not verify them."""

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
