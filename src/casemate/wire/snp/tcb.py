"""TCB_VERSION: eight bytes, one for each part of the firmware; the product decides which byte is which part."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.errors import WireError

_SIZE = 8


class Product(StrEnum):
    """AMD's server processors with SEV-SNP."""

    MILAN = "Milan"
    GENOA = "Genoa"
    TURIN = "Turin"


_PLACES: dict[Product, dict[str, int]] = {
    Product.MILAN: {"boot_loader": 0, "tee": 1, "snp": 6, "microcode": 7},
    Product.GENOA: {"boot_loader": 0, "tee": 1, "snp": 6, "microcode": 7},
    Product.TURIN: {"fmc": 0, "boot_loader": 1, "tee": 2, "snp": 3, "microcode": 7},
}
"""Byte of each part (AMD 56860, tables "TCB_VERSION" for family 19h and 1Ah). By product, never by report version."""


PARTS: dict[Product, tuple[str, ...]] = {product: tuple(places) for product, places in _PLACES.items()}
"""The parts that each product's firmware has."""


@dataclass(frozen=True, slots=True)
class TcbVersion:
    """Security patch levels, 0 to 255 each."""

    product: Product
    boot_loader: int
    tee: int
    snp: int
    microcode: int
    fmc: int | None = None
    """The first mutable code of Turin's security processor; None on products without."""

    @classmethod
    def parse(cls, product: Product, data: bytes) -> Self:
        """Parses 8 bytes; reserved ones must be zero."""
        exactly("TCB_VERSION", data, _SIZE)
        places = _PLACES[product]
        reserved = [data[at] for at in range(_SIZE) if at not in places.values()]
        if any(reserved):
            raise WireError("TCB_VERSION.reserved", got=data.hex(), want=f"zeros where {product} has no part")
        return cls(product, **{part: data[at] for part, at in places.items()})

    def encode(self) -> bytes:
        out = bytearray(_SIZE)
        for part, at in _PLACES[self.product].items():
            value = getattr(self, part)
            if value is None or not 0 <= value <= 0xFF:
                raise WireError(f"TCB_VERSION.{part}", got=value, want="0 to 255")
            out[at] = value
        return bytes(out)

    def shown(self) -> str:
        """The value as reports have it, and each component under the name that policies use."""
        named = ", ".join(f"{part} = {getattr(self, part)}" for part in PARTS[self.product])
        return f"{self.encode().hex()} ({named})"

    def reaches(self, floor: "TcbVersion") -> bool:
        """Whether no part is older than in ``floor``, which is of the same product."""
        return self.product is floor.product and not self.parts_below(floor)

    def parts_below(self, floor: "TcbVersion") -> tuple[str, ...]:
        """The parts that are older than in ``floor``, which is of the same product."""
        return tuple(part for part in PARTS[self.product] if getattr(self, part) < getattr(floor, part))
