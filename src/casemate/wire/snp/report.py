"""ATTESTATION_REPORT, which SEV-SNP firmware signs for a guest (AMD 56860, table "ATTESTATION_REPORT Structure")."""

from dataclasses import dataclass
from enum import STRICT, IntEnum, IntFlag
from typing import Self

from casemate.wire.encodings.fields import without_zeros
from casemate.wire.encodings.spans import Layout, Row, Span, number, raw, zeros
from casemate.wire.errors import WireError

REPORT_SIZE = 0x4A0
SIGNED_SIZE = 0x2A0
"""The signature is over the bytes before it."""
_SOURCE = "AMD 56860, ATTESTATION_REPORT"
_COMPONENT_SIZE = 72
_P384_SIZE = 48

NO_MIGRATION_AGENT = b"\xff" * 32
"""REPORT_ID_MA of a guest without one."""

HOST_VMPL = 0xFFFF_FFFF
"""VMPL of a report that the host asked for: it speaks for no guest."""

VERSIONS = (2, 3, 4, 5)
_WITH_CPUID = 3
_KEY_INFO_BITS = 5
WITH_MITIGATIONS = 5


class GuestPolicy(IntFlag, boundary=STRICT):
    """POLICY, bits 16 and up; the lower two bytes hold the least ABI version."""

    SMT = 1 << 16
    """Simultaneous multithreading may be on."""
    RESERVED_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    """A migration agent may be associated."""
    DEBUG = 1 << 19
    """The host may decrypt the guest's memory."""
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


class PlatformInfo(IntFlag, boundary=STRICT):
    """PLATFORM_INFO: the machine's settings when the report was made."""

    SMT_EN = 1 << 0
    TSME_EN = 1 << 1
    """Memory of the host is encrypted, too."""
    ECC_EN = 1 << 2
    RAPL_DIS = 1 << 3
    CIPHERTEXT_HIDING_DRAM_EN = 1 << 4
    """The host's CPU reads no ciphertext of guests."""
    ALIAS_CHECK_COMPLETE = 1 << 5
    """The firmware has found no two addresses for the same DRAM (AMD-SB-3015, "BadRAM")."""
    IOMMU_WRITE_SAFE = 1 << 6
    """Set in version 5 reports of Turin. The name is that of other verifiers (tinfoil-go's policies require it)."""
    TIO_EN = 1 << 7


class SigningKey(IntEnum):
    """SIGNING_KEY: bits 4:2 of the word at 0x48."""

    VCEK = 0
    """The key of this chip."""
    VLEK = 1
    """The key of a cloud provider."""
    NONE = 7


def _rows(version: int) -> tuple[Row, ...]:
    cpuid = (number(0x188, 1, "cpuid_family"), number(0x189, 1, "cpuid_model"), number(0x18A, 1, "cpuid_stepping"))
    mitigations = (number(0x1F8, 8, "launch_mitigations"), number(0x200, 8, "current_mitigations"))
    return (
        number(0x000, 4, "version"),
        number(0x004, 4, "guest_svn"),
        number(0x008, 8, "policy"),
        raw(0x010, 16, "family_id"),
        raw(0x020, 16, "image_id"),
        number(0x030, 4, "vmpl"),
        number(0x034, 4, "signature_algo"),
        raw(0x038, 8, "current_tcb"),
        number(0x040, 8, "platform_info"),
        number(0x048, 4, "key_info"),
        zeros(0x04C, 4),
        raw(0x050, 64, "report_data"),
        raw(0x090, 48, "measurement"),
        raw(0x0C0, 32, "host_data"),
        raw(0x0E0, 48, "id_key_digest"),
        raw(0x110, 48, "author_key_digest"),
        raw(0x140, 32, "report_id"),
        raw(0x160, 32, "report_id_ma"),
        raw(0x180, 8, "reported_tcb"),
        *((*cpuid, zeros(0x18B, 21)) if version >= _WITH_CPUID else (zeros(0x188, 24),)),
        raw(0x1A0, 64, "chip_id"),
        raw(0x1E0, 8, "committed_tcb"),
        number(0x1E8, 1, "current_build"),
        number(0x1E9, 1, "current_minor"),
        number(0x1EA, 1, "current_major"),
        zeros(0x1EB, 1),
        number(0x1EC, 1, "committed_build"),
        number(0x1ED, 1, "committed_minor"),
        number(0x1EE, 1, "committed_major"),
        zeros(0x1EF, 1),
        raw(0x1F0, 8, "launch_tcb"),
        *((*mitigations, zeros(0x208, 152)) if version >= WITH_MITIGATIONS else (zeros(0x1F8, 168),)),
        raw(0x2A0, _COMPONENT_SIZE, "signature_r"),
        raw(0x2E8, _COMPONENT_SIZE, "signature_s"),
        zeros(0x330, 368),
    )


_LAYOUTS = {version: Layout(f"ATTESTATION_REPORT v{version}", _SOURCE, _rows(version)) for version in VERSIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpReport:
    """A report, 1184 bytes. TCB versions are 8 bytes whose meaning depends on the product: ``wire.snp.tcb``."""

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    """The VMPL that asked: 0 to 3, or :data:`HOST_VMPL`."""
    signature_algo: int
    """1 is ECDSA on P-384 with SHA-384."""
    current_tcb: bytes
    platform_info: int
    key_info: int
    report_data: bytes
    measurement: bytes
    """The launch digest."""
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    """The TCB that the signing key is derived for."""
    cpuid_family: int | None = None
    cpuid_model: int | None = None
    cpuid_stepping: int | None = None
    """None before version 3."""
    chip_id: bytes
    """Zeros where the host masks it."""
    committed_tcb: bytes
    """The platform cannot be rolled back below it."""
    current_build: int
    current_minor: int
    current_major: int
    committed_build: int
    committed_minor: int
    committed_major: int
    launch_tcb: bytes
    """When the guest was launched or imported."""
    launch_mitigations: int | None = None
    current_mitigations: int | None = None
    """None before version 5."""
    signature_r: bytes
    signature_s: bytes
    """Little-endian, 72 bytes, of which P-384 fills 48."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses exactly 1184 bytes; :func:`cut_padding` removes the zeros after them in a buffer."""
        if len(data) != REPORT_SIZE:
            got = f"{len(data)} bytes"
            raise WireError(
                "ATTESTATION_REPORT", got=got, want=f"{REPORT_SIZE} bytes, and zero bytes at most behind them"
            )
        report = cls(**_layout(int.from_bytes(data[:4], "little")).parse(data))
        if report.key_info >> _KEY_INFO_BITS:
            raise WireError("ATTESTATION_REPORT.key_info", got=f"{report.key_info:#x}", want="bits 0 to 4 alone")
        return report

    def encode(self) -> bytes:
        return _layout(self.version).encode(self)

    def spans(self) -> tuple[Span, ...]:
        """The range of each field."""
        return _layout(self.version).spans

    @property
    def signing_key(self) -> SigningKey:
        """The kind of key that signed it; :class:`WireError` for an unknown kind."""
        value = self.key_info >> 2 & 0b111
        try:
            return SigningKey(value)
        except ValueError:
            raise WireError(
                "ATTESTATION_REPORT.signing_key", got=value, want="0 (VCEK), 1 (VLEK) or 7 (none)"
            ) from None

    @property
    def masks_chip_key(self) -> bool:
        """Whether the host forbids signatures by the chip's own key (MASK_CHIP_KEY).

        MASK_CHIP_ID hides the chip's id.
        """
        return bool(self.key_info & 0b10)

    @property
    def has_author_key(self) -> bool:
        """Whether an author key signed the id key (AUTHOR_KEY_EN)."""
        return bool(self.key_info & 0b1)

    def signature(self) -> tuple[int, int]:
        """R and S.

        Raises:
            WireError: one does not fit P-384.
        """
        return _component("signature_r", self.signature_r), _component("signature_s", self.signature_s)


def cut_padding(data: bytes) -> bytes:
    """The report at the front of a buffer; what follows must be zero bytes."""
    return without_zeros("ATTESTATION_REPORT", data, REPORT_SIZE)


def _layout(version: int) -> Layout:
    if version not in _LAYOUTS:
        known = ", ".join(map(str, VERSIONS))
        raise WireError("ATTESTATION_REPORT.version", got=version, want=f"one of {known}")
    return _LAYOUTS[version]


def _component(field: str, value: bytes) -> int:
    if any(value[_P384_SIZE:]):
        raise WireError(f"ATTESTATION_REPORT.{field}", got="more than 384 bits", want="an integer of 48 bytes")
    return int.from_bytes(value, "little")
