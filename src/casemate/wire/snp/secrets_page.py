"""The secrets page, which the firmware gives to a guest at launch: above all the keys for messages to the firmware."""

from dataclasses import dataclass
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, number, raw, zeros
from casemate.wire.snp.page_info import PAGE_SIZE

VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SecretsPage:
    """The page, 4096 bytes; its repr does not show the keys."""

    LAYOUT: ClassVar[Layout] = Layout(
        "Secrets Page",
        "AMD 56860, 8.17.2.5, table Secrets Page Format",
        (
            number(0x000, 4, "version"),
            number(0x004, 4, "imi_en"),
            number(0x008, 4, "fms"),
            zeros(0x00C, 4),
            raw(0x010, 16, "gosvw"),
            raw(0x020, 32, "vmpck0"),
            raw(0x040, 32, "vmpck1"),
            raw(0x060, 32, "vmpck2"),
            raw(0x080, 32, "vmpck3"),
            raw(0x0A0, 96, "guest_reserved"),
            raw(0x100, 64, "vmsa_tweak_bitmap"),
            raw(0x140, 32, "guest_reserved_2"),
            number(0x160, 4, "tsc_factor"),
            zeros(0x164, PAGE_SIZE - 0x164),
        ),
    )

    version: int = VERSION
    imi_en: int = 0
    """1 where an initial migration image launches the guest."""
    fms: int
    """Family, model and stepping: CPUID Fn0000_0001_EAX of the processor."""
    gosvw: bytes = bytes(16)
    """Guest OS visible workarounds."""
    vmpck0: bytes
    vmpck1: bytes
    vmpck2: bytes
    vmpck3: bytes
    """VM platform communication keys, one for each VMPL."""
    guest_reserved: bytes = bytes(96)
    """Reserved for the guest's operating system: Linux keeps its message counters here."""
    vmsa_tweak_bitmap: bytes = bytes(64)
    guest_reserved_2: bytes = bytes(32)
    """Reserved for an SVSM, which announces itself here."""
    tsc_factor: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    def __repr__(self) -> str:
        return f"SecretsPage(version={self.version}, fms={self.fms:#x})"
