"""The certificates that an extended guest request gets beside the firmware's answer, as guests receive them."""

from casemate.host.vm.firmware import SevFirmware
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.snp.certificate_table import (
    ARK_GUID,
    ASK_GUID,
    VCEK_GUID,
    VLEK_GUID,
    Certificate,
    CertificateTable,
)
from casemate.wire.snp.simulated_platform import VLEK_NAME


async def certificate_table(firmware: SevFirmware) -> bytes:
    """Of the key that signs reports now, its CA and the root; FaultError where the chip has none."""
    chain = [found.der for found in parse_chain("certificates of the report's key", await firmware.certificates())]
    key = VLEK_GUID if chain and VLEK_NAME.encode() in chain[0] else VCEK_GUID
    guids = (key, ASK_GUID, ARK_GUID)
    return CertificateTable(tuple(Certificate(guid, der) for guid, der in zip(guids, chain, strict=False))).encode()
