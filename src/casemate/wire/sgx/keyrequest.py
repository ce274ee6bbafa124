"""KEYREQUEST: which key EGETKEY derives, and from what."""

from dataclasses import dataclass
from enum import STRICT, IntEnum, IntFlag
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, nested, number, raw, zeros
from casemate.wire.sgx.attributes import AttributeMask


class KeyName(IntEnum):
    """KEYREQUEST.KEYNAME (SDM 38.17.1)."""

    EINITTOKEN_KEY = 0
    PROVISION_KEY = 1
    PROVISION_SEAL_KEY = 2
    REPORT_KEY = 3
    SEAL_KEY = 4


class KeyPolicy(IntFlag, boundary=STRICT):
    """KEYREQUEST.KEYPOLICY (SDM 38.17.2): which parts of the identity enter the key; other bits must be zero."""

    MRENCLAVE = 1 << 0
    MRSIGNER = 1 << 1
    NOISVPRODID = 1 << 2
    """ISVPRODID stays out; KSS only, as are the following."""
    CONFIGID = 1 << 3
    ISVFAMILYID = 1 << 4
    ISVEXTPRODID = 1 << 5


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """KEYREQUEST, 512 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "KEYREQUEST",
        "Intel SDM vol. 3D, 38.17 KEYREQUEST",
        (
            number(0, 2, "key_name", KeyName),
            number(2, 2, "key_policy", KeyPolicy),
            number(4, 2, "isv_svn"),
            number(6, 1, "cet_attributes_mask"),
            zeros(7, 1),
            raw(8, 16, "cpu_svn"),
            nested(24, "attribute_mask", AttributeMask),
            raw(40, 32, "key_id"),
            number(72, 4, "misc_mask"),
            number(76, 2, "config_svn"),
            zeros(78, 434),
        ),
    )

    key_name: KeyName
    key_policy: KeyPolicy
    isv_svn: int
    """The security version to derive for: the enclave's own or an older one."""
    cet_attributes_mask: int
    cpu_svn: bytes
    """The processor's security version to derive for: its own or an older one."""
    attribute_mask: AttributeMask
    key_id: bytes
    """Any value; each gives another key (wear-out protection)."""
    misc_mask: int
    config_svn: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)
