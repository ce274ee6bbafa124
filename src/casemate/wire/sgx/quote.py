"""ECDSA quotes, version 3: a report body signed by a platform's attestation key, with that key's endorsement.

Signatures are raw R || S, public keys raw X || Y, big-endian, 64 bytes each. The source of every size here is Intel's
"SGX ECDSA Quote Library API" reference, appendix A.4. Header, signature data and certification data serve later
versions too.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from casemate.wire.encodings.fields import Reader, without_zeros
from casemate.wire.encodings.spans import Layout, Span, as_hex, as_number, as_text, number, raw
from casemate.wire.errors import WireError
from casemate.wire.sgx.report import ReportBody

_SOURCE = "Intel ECDSA Quote Library API, A.4"
_HEADER_SOURCE = f"{_SOURCE}, table 3 (quote header)"
_SIGNATURE_SOURCE = f"{_SOURCE}, table 4 (ECDSA 256-bit quote signature data)"

VERSION_3 = 3
HEADER_SIZE = 48
BODY_SIZE = 384
SIGNATURE_LENGTH_SIZE = 4
SIGNED_SIZE = HEADER_SIZE + BODY_SIZE
"""The attestation key signs the header and the body."""

SIGNATURE_SIZE = 64
PUBLIC_KEY_SIZE = 64

MAX_QUOTE = 64 * 1024
"""Longest quote (bytes): real ones take 5 KiB, most of it certificates."""

TEE_SGX = 0x0000_0000
TEE_TDX = 0x0000_0081

INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""The vendor id of Intel's quoting enclave."""


class AttestationKeyType(IntEnum):
    """The algorithm that signed the quote."""

    ECDSA_P256 = 2
    ECDSA_P384 = 3


class CertificationDataType(IntEnum):
    """The kind of data that endorses the attestation key (A.4, table 9)."""

    PPID_PLAIN = 1
    PPID_RSA_2048 = 2
    PPID_RSA_3072 = 3
    PCK_LEAF = 4
    PCK_CHAIN = 5
    """PEM: leaf, CA, root, one after the other."""
    QE_REPORT = 6
    """Version 4 and later: the QE report and its own certification data."""
    PLATFORM_MANIFEST = 7


@dataclass(frozen=True, slots=True)
class QuoteHeader:
    """The 48 bytes before the body."""

    LAYOUT: ClassVar[Layout] = Layout(
        "QUOTE.header",
        _HEADER_SOURCE,
        (
            number(0, 2, "version"),
            number(2, 2, "attestation_key_type", AttestationKeyType),
            number(4, 4, "tee_type"),
            number(8, 2, "qe_svn"),
            number(10, 2, "pce_svn"),
            raw(12, 16, "qe_vendor_id"),
            raw(28, 20, "user_data"),
        ),
    )

    version: int
    attestation_key_type: AttestationKeyType
    tee_type: int
    """Reserved and zero in version 3, where it can only mean SGX."""
    qe_svn: int
    """The quoting enclave's own claim; verifiers use the one in the QE report."""
    pce_svn: int
    qe_vendor_id: bytes
    user_data: bytes
    """Its first 16 bytes identify the platform to a PCK certificate cache."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From 48 bytes, any version."""
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class CertificationData:
    """The endorsement of the platform that holds the attestation key."""

    kind: CertificationDataType
    data: bytes

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From its type, length and content."""
        reader = Reader("QUOTE.certification_data", data)
        value = cls.take(reader)
        reader.end()
        return value

    @classmethod
    def take(cls, reader: Reader) -> Self:
        """Takes it from ``reader``."""
        number = reader.uint("type", 2)
        try:
            kind = CertificationDataType(number)
        except ValueError:
            raise WireError("QUOTE.certification_data.type", got=number, want="1 to 7") from None
        return cls(kind, reader.take("data", reader.uint("size", 4)))

    def encode(self) -> bytes:
        """Type, length and content."""
        return self.kind.to_bytes(2, "little") + len(self.data).to_bytes(4, "little") + self.data

    def spans(self) -> tuple[Span, ...]:
        """The byte ranges of the encoded value."""
        source = f"{_SOURCE}, table 9 (QE certification data)"
        return (
            Span("type", 0, 2, source, lambda run: f"{as_number(run)} {self.kind.name}"),
            Span("size", 2, 4, source, as_number),
            Span(
                "data", 6, len(self.data), source, as_text if self.kind == CertificationDataType.PCK_CHAIN else as_hex
            ),
        )


@dataclass(frozen=True, slots=True)
class QuoteSignatureData:
    """The signature, the key that verifies it, and the quoting enclave's report on that key."""

    signature: bytes
    """ECDSA by the attestation key over header and body."""
    attestation_key: bytes
    qe_report: ReportBody
    """Its REPORTDATA is SHA-256(attestation key || authentication data), then 32 zero bytes."""
    qe_report_signature: bytes
    """ECDSA by the PCK key over the QE report."""
    qe_authentication_data: bytes
    certification_data: CertificationData

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """From the bytes that the quote's signature length announces."""
        reader = Reader("QUOTE.signature_data", data)
        value = cls(
            signature=reader.take("signature", SIGNATURE_SIZE),
            attestation_key=reader.take("attestation_key", PUBLIC_KEY_SIZE),
            qe_report=ReportBody.parse(reader.take("qe_report", BODY_SIZE)),
            qe_report_signature=reader.take("qe_report_signature", SIGNATURE_SIZE),
            qe_authentication_data=reader.take("qe_authentication_data", reader.uint("qe_authentication_data_size", 2)),
            certification_data=CertificationData.take(reader),
        )
        reader.end()
        return value

    def encode(self) -> bytes:
        """Everything after the signature length."""
        return b"".join((
            self.signature,
            self.attestation_key,
            self.qe_report.encode(),
            self.qe_report_signature,
            len(self.qe_authentication_data).to_bytes(2, "little"),
            self.qe_authentication_data,
            self.certification_data.encode(),
        ))  # fmt: skip

    def spans(self) -> tuple[Span, ...]:
        """The byte ranges of the encoded value."""
        report_at = SIGNATURE_SIZE + PUBLIC_KEY_SIZE
        after_report = report_at + BODY_SIZE
        auth_at = after_report + SIGNATURE_SIZE + 2
        auth_size = len(self.qe_authentication_data)
        return (
            Span("signature", 0, SIGNATURE_SIZE, _SIGNATURE_SOURCE),
            Span("attestation_key", SIGNATURE_SIZE, PUBLIC_KEY_SIZE, _SIGNATURE_SOURCE),
            *(span.moved(report_at, "qe_report.") for span in ReportBody.LAYOUT.spans),
            Span("qe_report_signature", after_report, SIGNATURE_SIZE, _SIGNATURE_SOURCE),
            Span("qe_authentication_data_size", auth_at - 2, 2, f"{_SOURCE}, table 8", as_number),
            Span("qe_authentication_data", auth_at, auth_size, f"{_SOURCE}, table 8"),
            *(span.moved(auth_at + auth_size, "certification_data.") for span in self.certification_data.spans()),
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote of version 3, for an SGX enclave, signed with ECDSA on P-256."""

    header: QuoteHeader
    body: ReportBody
    signature_data: QuoteSignatureData

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses exactly the quote's bytes; :func:`cut_padding` removes padding after it."""
        reader = Reader("QUOTE", data)
        header = QuoteHeader.parse(reader.take("header", HEADER_SIZE))
        for field, got, want in (
            ("version", header.version, VERSION_3),
            ("attestation_key_type", header.attestation_key_type, AttestationKeyType.ECDSA_P256),
            ("tee_type", header.tee_type, TEE_SGX),
        ):
            if got != want:
                raise WireError(f"QUOTE.header.{field}", got=int(got), want=int(want))
        body = ReportBody.parse(reader.take("body", BODY_SIZE))
        length = reader.uint("signature_data_length", SIGNATURE_LENGTH_SIZE)
        signature_data = QuoteSignatureData.parse(reader.take("signature_data", length))
        reader.end()
        return cls(header, body, signature_data)

    def encode(self) -> bytes:
        """The quote's bytes."""
        tail = self.signature_data.encode()
        return self.signed_bytes() + len(tail).to_bytes(SIGNATURE_LENGTH_SIZE, "little") + tail

    def signed_bytes(self) -> bytes:
        """Header and body, which the attestation key signs."""
        return self.header.encode() + self.body.encode()

    def spans(self) -> tuple[Span, ...]:
        """The byte ranges of the encoded quote, without gaps."""
        length_at = SIGNED_SIZE
        return (
            *(span.moved(0, "header.") for span in QuoteHeader.LAYOUT.spans),
            *(span.moved(HEADER_SIZE, "body.") for span in ReportBody.LAYOUT.spans),
            Span("signature_data_length", length_at, SIGNATURE_LENGTH_SIZE, _SIGNATURE_SOURCE, as_number),
            *(span.moved(length_at + SIGNATURE_LENGTH_SIZE, "signature_data.") for span in self.signature_data.spans()),
        )


def cut_padding(data: bytes) -> bytes:
    """The quote at the front of a buffer, by its own lengths; what follows must be zero bytes."""
    reader = Reader("QUOTE", data)
    reader.take("header", HEADER_SIZE)
    reader.take("body", BODY_SIZE)
    reader.take("signature_data", reader.uint("signature_data_length", SIGNATURE_LENGTH_SIZE))
    return without_zeros("QUOTE", data, reader.offset)
