"""Messages between a guest and the firmware, sealed, which the hypervisor relays (AMD 56860, chapter 7).

A message is a header of 96 bytes and a payload, sealed with AES-256-GCM under one of the guest's four keys (VMPCK). The
number of the message is the nonce; the second half of the header is authenticated together with the payload.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.encodings.spans import Layout, constant, number, raw, zeros
from casemate.wire.errors import WireError
from casemate.wire.snp.report import REPORT_SIZE

HEADER_SIZE = 0x60
MESSAGE_SIZE = 4096
"""Bytes of the page for a request, and of that for a response."""
MAX_PAYLOAD = MESSAGE_SIZE - HEADER_SIZE
TAG_SIZE = 16
"""Bytes of AUTHTAG that AES-GCM uses; zeros follow."""
KEY_SIZE = 32
"""Bytes of a VMPCK, and of a derived key."""
AES_256_GCM = 1
"""ALGO (56860, table "AEAD Algorithm Encodings")."""
VMPCKS = 4

_AUTHENTICATED_FROM = 0x30
_NONCE_SIZE = 12
_REPORT_HEAD_SIZE = 0x20


class MessageType(IntEnum):
    """MSG_TYPE (56860, table "Message Type Encodings")."""

    CPUID_REQ = 1
    CPUID_RSP = 2
    KEY_REQ = 3
    KEY_RSP = 4
    REPORT_REQ = 5
    REPORT_RSP = 6
    EXPORT_REQ = 7
    EXPORT_RSP = 8
    IMPORT_REQ = 9
    IMPORT_RSP = 10
    ABSORB_REQ = 11
    ABSORB_RSP = 12
    VMRK_REQ = 13
    VMRK_RSP = 14
    ABSORB_NOMA_REQ = 15
    ABSORB_NOMA_RSP = 16
    TSC_INFO_REQ = 17
    TSC_INFO_RSP = 18


class MessageStatus(IntEnum):
    """STATUS of a response (56860, tables MSG_REPORT_RSP and MSG_KEY_RSP)."""

    SUCCESS = 0x00
    INVALID_PARAM = 0x16
    INVALID_KEY = 0x27


class KeySelect(IntEnum):
    """KEY_SEL of a report request: the key that signs (56860, table MSG_REPORT_REQ)."""

    EITHER = 0
    """The VLEK if one is loaded, else the VCEK."""
    VCEK = 1
    VLEK = 2


class RootKeySelect(IntEnum):
    """ROOT_KEY_SELECT of a key request (56860, table MSG_KEY_REQ)."""

    VCEK = 0
    VMRK = 1


class GuestField(IntEnum):
    """Bits of GUEST_FIELD_SELECT: what is mixed into a derived key (56860, table GUEST_FIELD_SELECT)."""

    GUEST_POLICY = 1 << 0
    IMAGE_ID = 1 << 1
    FAMILY_ID = 1 << 2
    MEASUREMENT = 1 << 3
    GUEST_SVN = 1 << 4
    TCB_VERSION = 1 << 5
    LAUNCH_MIT_VECTOR = 1 << 6
    """Only in message version 2, from ABI 1.58 on."""


ALL_GUEST_FIELDS = sum(GuestField) & ~GuestField.LAUNCH_MIT_VECTOR
"""The fields that version 1 of MSG_KEY_REQ may select."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageHeader:
    """The header of a message, 96 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "Message Header",
        "AMD 56860, 8.26 SNP_GUEST_REQUEST, table Message Header Format",
        (
            raw(0x00, TAG_SIZE, "authtag"),
            zeros(0x10, 32 - TAG_SIZE, "authtag_unused"),
            number(0x20, 8, "msg_seqno"),
            zeros(0x28, 8),
            constant(0x30, "algo", bytes([AES_256_GCM])),
            constant(0x31, "hdr_version", b"\x01"),
            constant(0x32, "hdr_size", HEADER_SIZE.to_bytes(2, "little")),
            number(0x34, 1, "msg_type", MessageType),
            number(0x35, 1, "msg_version"),
            number(0x36, 2, "msg_size"),
            zeros(0x38, 4),
            number(0x3C, 1, "msg_vmpck"),
            zeros(0x3D, 35),
        ),
    )

    authtag: bytes = bytes(TAG_SIZE)
    msg_seqno: int
    """Odd for requests; the response to a request has the number after it."""
    msg_type: MessageType
    msg_version: int = 1
    msg_size: int
    """Bytes of the payload."""
    msg_vmpck: int
    """The VMPCK that seals it, and so the VMPL that sends it: 0 to 3."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        header = cls(**cls.LAYOUT.parse(data))
        if header.msg_size > MAX_PAYLOAD:
            raise WireError("Message Header.msg_size", got=header.msg_size, want=f"at most {MAX_PAYLOAD}")
        if header.msg_vmpck >= VMPCKS:
            raise WireError("Message Header.msg_vmpck", got=header.msg_vmpck, want="0 to 3")
        return header

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    @property
    def nonce(self) -> bytes:
        """The 96-bit nonce for AES-GCM: MSG_SEQNO, little-endian, padded with zeros."""
        return self.msg_seqno.to_bytes(_NONCE_SIZE, "little")

    @property
    def authenticated(self) -> bytes:
        """The associated data: bytes 0x30 to 0x5F."""
        return self.encode()[_AUTHENTICATED_FROM:]


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """MSG_REPORT_REQ, 96 bytes: asks for an attestation report."""

    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_REPORT_REQ",
        "AMD 56860, 7.3 Attestation, table MSG_REPORT_REQ",
        (
            raw(0x00, 64, "report_data"),
            number(0x40, 4, "vmpl"),
            number(0x44, 4, "key_sel", KeySelect),
            zeros(0x48, 24),
        ),
    )

    report_data: bytes
    """64 bytes that the guest chooses."""
    vmpl: int
    """The VMPL for the report; not more privileged than the asking one."""
    key_sel: KeySelect = KeySelect.EITHER

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class _ReportHead:
    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_REPORT_RSP",
        "AMD 56860, 7.3 Attestation, table MSG_REPORT_RSP",
        (number(0x00, 4, "status", MessageStatus), number(0x04, 4, "report_size"), zeros(0x08, 24)),
    )

    status: MessageStatus
    report_size: int


@dataclass(frozen=True, slots=True)
class ReportResponse:
    """MSG_REPORT_RSP: 32 bytes, and the report where there is one."""

    status: MessageStatus
    report: bytes = b""
    """ATTESTATION_REPORT, unparsed; empty unless ``status`` is SUCCESS."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From 32 or 1216 bytes."""
        head = _ReportHead(**_ReportHead.LAYOUT.parse(data[:_REPORT_HEAD_SIZE]))
        report = data[_REPORT_HEAD_SIZE:]
        want = REPORT_SIZE if head.status is MessageStatus.SUCCESS else 0
        if len(report) != want or head.report_size != want:
            raise WireError("MSG_REPORT_RSP.report", got=f"{len(report)} bytes", want=f"{want} bytes")
        return cls(head.status, report)

    def encode(self) -> bytes:
        """To 32 bytes and the report."""
        return _ReportHead.LAYOUT.encode(_ReportHead(self.status, len(self.report))) + self.report


_KEY_REQUEST_ROWS = (
    number(0x00, 4, "root_key_select", RootKeySelect),
    zeros(0x04, 4),
    number(0x08, 8, "guest_field_select"),
    number(0x10, 4, "vmpl"),
    number(0x14, 4, "guest_svn"),
    raw(0x18, 8, "tcb_version"),
)


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """MSG_KEY_REQ, 32 bytes: asks for a key that depends on chip and guest."""

    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_KEY_REQ",
        "AMD 56860, 7.2 Key Derivation, table MSG_KEY_REQ",
        _KEY_REQUEST_ROWS,
    )

    FIELDS: ClassVar[int] = ALL_GUEST_FIELDS
    """The fields that may be selected."""

    root_key_select: RootKeySelect
    guest_field_select: int
    """Bits of :class:`GuestField`."""
    vmpl: int
    """Mixed in; not more privileged than the asking VMPL."""
    guest_svn: int
    """Mixed in where selected; not above the guest's own."""
    tcb_version: bytes
    """Mixed in where selected; not above the committed one."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From 32 bytes; 40 in version 2."""
        request = cls(**cls.LAYOUT.parse(data))
        if request.guest_field_select & ~cls.FIELDS:
            raise WireError(
                "MSG_KEY_REQ.guest_field_select",
                got=f"{request.guest_field_select:#x}",
                want=f"bits of {cls.FIELDS:#x} alone",
            )
        return request

    def encode(self) -> bytes:
        """To 32 bytes; 40 in version 2."""
        return self.LAYOUT.encode(self)

    @property
    def mitigations(self) -> int:
        """LAUNCH_MIT_VECTOR, which version 1 does not have."""
        return 0


@dataclass(frozen=True, slots=True)
class KeyRequest2(KeyRequest):
    """MSG_KEY_REQ of message version 2, 40 bytes: ABI 1.58, whose reports are of version 5."""

    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_KEY_REQ v2",
        "AMD 56860 revision 1.58, 7.2 Key Derivation, table MSG_KEY_REQ",
        (*_KEY_REQUEST_ROWS, number(0x20, 8, "launch_mit_vector")),
    )
    FIELDS: ClassVar[int] = sum(GuestField)

    launch_mit_vector: int = 0
    """Mixed in where selected; no bit that the guest's own, as reports have it, has not."""

    @property
    def mitigations(self) -> int:
        """LAUNCH_MIT_VECTOR."""
        return self.launch_mit_vector


@dataclass(frozen=True, slots=True)
class KeyResponse:
    """MSG_KEY_RSP, 64 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "MSG_KEY_RSP",
        "AMD 56860, 7.2 Key Derivation, table MSG_KEY_RSP",
        (number(0x00, 4, "status", MessageStatus), zeros(0x04, 28), raw(0x20, KEY_SIZE, "derived_key")),
    )

    status: MessageStatus
    derived_key: bytes = bytes(KEY_SIZE)
    """Zeros unless ``status`` is SUCCESS."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    def __repr__(self) -> str:
        return f"KeyResponse({self.status!r})"


def payload_of(page: bytes, header: MessageHeader) -> bytes:
    """The sealed payload in a page that begins with ``header``; bytes after it are ignored."""
    return exactly("Message.payload", page[HEADER_SIZE : HEADER_SIZE + header.msg_size], header.msg_size)
