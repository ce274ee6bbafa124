"""REPORT, which EREPORT makes, and TARGETINFO, which names the enclave that can check it."""

from dataclasses import dataclass
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, nested, number, raw, zeros
from casemate.wire.sgx.attributes import Attributes, CetAttributes, MiscSelect

_REPORT = "Intel SDM vol. 3D, 38.15 REPORT"
_TARGETINFO = "Intel SDM vol. 3D, 38.16 TARGETINFO"


@dataclass(frozen=True, slots=True)
class ReportBody:
    """The first 384 bytes of a REPORT, which its MAC covers; a quote carries them too."""

    LAYOUT: ClassVar[Layout] = Layout(
        "REPORT",
        _REPORT,
        (
            raw(0, 16, "cpu_svn"),
            number(16, 4, "misc_select", MiscSelect),
            number(20, 1, "cet_attributes", CetAttributes),
            zeros(21, 11),
            raw(32, 16, "isv_ext_prod_id"),
            nested(48, "attributes", Attributes),
            raw(64, 32, "mr_enclave"),
            zeros(96, 32),
            raw(128, 32, "mr_signer"),
            zeros(160, 32),
            raw(192, 64, "config_id"),
            number(256, 2, "isv_prod_id"),
            number(258, 2, "isv_svn"),
            number(260, 2, "config_svn"),
            zeros(262, 42),
            raw(304, 16, "isv_family_id"),
            raw(320, 64, "report_data"),
        ),
    )

    cpu_svn: bytes
    misc_select: MiscSelect
    cet_attributes: CetAttributes
    isv_ext_prod_id: bytes
    attributes: Attributes
    mr_enclave: bytes
    mr_signer: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class Report:
    """REPORT, 432 bytes: the body, and a MAC that only its target on the same processor can check."""

    LAYOUT: ClassVar[Layout] = Layout(
        "REPORT", _REPORT, (nested(0, "body", ReportBody), raw(384, 32, "key_id"), raw(416, 16, "mac"))
    )

    body: ReportBody
    key_id: bytes
    """Wear-out protection of the report key; chosen by the processor."""
    mac: bytes
    """AES-CMAC over the encoded body, under the target's report key."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """TARGETINFO, 512 bytes: the enclave that will be able to check a REPORT."""

    LAYOUT: ClassVar[Layout] = Layout(
        "TARGETINFO",
        _TARGETINFO,
        (
            raw(0, 32, "measurement"),
            nested(32, "attributes", Attributes),
            number(48, 1, "cet_attributes", CetAttributes),
            zeros(49, 1),
            number(50, 2, "config_svn"),
            number(52, 4, "misc_select", MiscSelect),
            zeros(56, 8),
            raw(64, 64, "config_id"),
            zeros(128, 384),
        ),
    )

    measurement: bytes
    """The target's MRENCLAVE."""
    attributes: Attributes
    cet_attributes: CetAttributes
    config_svn: int
    misc_select: MiscSelect
    config_id: bytes

    @classmethod
    def of(cls, body: "ReportBody") -> Self:
        """The enclave that has made a REPORT, as the target of another."""
        return cls(
            measurement=body.mr_enclave,
            attributes=body.attributes,
            cet_attributes=body.cet_attributes,
            config_svn=body.config_svn,
            misc_select=body.misc_select,
            config_id=body.config_id,
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)
