"""AMD's extensions in VCEK and VLEK certificates: the product, chip and TCB that the key was derived for.

Source: AMD 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification", table 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from casemate.wire.encodings.der import INTEGER, OCTET_STRING, DerReader, element, uint
from casemate.wire.encodings.fields import MAX_U8
from casemate.wire.errors import WireError
from casemate.wire.snp.tcb import Product, TcbVersion

_ARC = "1.3.6.1.4.1.3704.1"
PRODUCT_NAME_OID = f"{_ARC}.2"
HW_ID_OID = f"{_ARC}.4"
CSP_ID_OID = f"{_ARC}.5"
STRUCT_VERSION_OID = f"{_ARC}.1"
SPL_OIDS = {
    "boot_loader": f"{_ARC}.3.1",
    "tee": f"{_ARC}.3.2",
    "snp": f"{_ARC}.3.3",
    "spl4": f"{_ARC}.3.4",
    "spl5": f"{_ARC}.3.5",
    "spl6": f"{_ARC}.3.6",
    "spl7": f"{_ARC}.3.7",
    "microcode": f"{_ARC}.3.8",
    "fmc": f"{_ARC}.3.9",
}
"""Security patch levels: ``fmc`` on Turin alone, which has no ``spl4``."""

_ORDER = ("boot_loader", "tee", "spl4", "spl5", "spl6", "spl7", "snp", "microcode")
_TURIN_ORDER = ("fmc", "boot_loader", "tee", "snp", "spl5", "spl6", "spl7", "microcode")
_STEPPING = "B0"
"""Milan's VCEKs name it; its VLEKs do not, nor do later products."""

_IA5_STRING = 0x16
_HW_ID_SIZES = {Product.MILAN: (64,), Product.GENOA: (64,), Product.TURIN: (8, 64)}
_MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class KeyCertificate:
    """The content of the extensions."""

    product: Product
    tcb: TcbVersion
    hw_id: bytes | None
    """The chip's id, or on Turin its first 8 bytes; None for a VLEK, which is not bound to a chip."""
    csp_id: str | None
    """The cloud provider that a VLEK was issued to."""

    @classmethod
    def parse(cls, extensions: Mapping[str, bytes]) -> Self:
        """Parses a certificate's extensions, given by OID; others are ignored.

        Raises:
            WireError: one is missing or malformed, or there is no telling whether it is a VCEK or a VLEK.
        """
        product = _product(_name("product name", _needed(extensions, PRODUCT_NAME_OID, "product name")))
        parts = ["boot_loader", "tee", "snp", "microcode", *(["fmc"] if product is Product.TURIN else [])]
        levels = {part: _level(part, _needed(extensions, SPL_OIDS[part], part)) for part in parts}
        hw_id, csp_id = extensions.get(HW_ID_OID), extensions.get(CSP_ID_OID)
        if (hw_id is None) == (csp_id is None):
            got = "neither" if hw_id is None else "both"
            raise WireError("key certificate", got=f"{got} of chip id and provider id", want="one of them")
        return cls(
            product,
            TcbVersion(product, **levels),
            None if hw_id is None else _hw_id(product, hw_id),
            None if csp_id is None else _name("provider id", csp_id),
        )

    def encode(self) -> dict[str, bytes]:
        """The values by OID, in the order of AMD's own certificates."""
        turin = self.product is Product.TURIN
        chip_named = self.hw_id is not None and self.product is Product.MILAN
        levels = {part: getattr(self.tcb, part, 0) for part in (_TURIN_ORDER if turin else _ORDER)}
        found = {
            STRUCT_VERSION_OID: level_extension(1 if turin else 0),
            PRODUCT_NAME_OID: name_extension(f"{self.product}-{_STEPPING}" if chip_named else self.product),
            **{SPL_OIDS[part]: level_extension(level) for part, level in levels.items()},
        }
        if self.hw_id is not None:
            found[HW_ID_OID] = self.hw_id
        if self.csp_id is not None:
            found[CSP_ID_OID] = name_extension(self.csp_id)
        return found


def level_extension(level: int) -> bytes:
    """The value of a patch level's extension."""
    return uint(level)


def name_extension(name: str) -> bytes:
    """The value of a name's extension."""
    return element(_IA5_STRING, name.encode("ascii"))


def _needed(extensions: Mapping[str, bytes], oid: str, what: str) -> bytes:
    if oid not in extensions:
        raise WireError(f"key certificate.{what}", got="no extension", want=f"extension {oid}")
    return extensions[oid]


def _level(part: str, data: bytes) -> int:
    reader = DerReader(f"key certificate.{part}", data)
    level = reader.uint("level", MAX_U8, tag=INTEGER)
    reader.end()
    return level


def _name(what: str, data: bytes) -> str:
    reader = DerReader(f"key certificate.{what}", data)
    raw = reader.contents("text", _IA5_STRING)
    reader.end()
    if not 0 < len(raw) <= _MAX_NAME or not raw.isascii() or not raw.decode("ascii").isprintable():
        raise WireError(f"key certificate.{what}", got=f"{len(raw)} bytes", want=f"1 to {_MAX_NAME} of printable ASCII")
    return raw.decode("ascii")


def _product(name: str) -> Product:
    """``Milan-B0`` is Milan of stepping B0; later products are named without one."""
    try:
        return Product(name.split("-", 1)[0])
    except ValueError:
        raise WireError("key certificate.product name", got=repr(name), want=" or ".join(Product)) from None


def _hw_id(product: Product, data: bytes) -> bytes:
    """The raw bytes, as AMD writes them, or an OCTET STRING around them."""
    sizes = _HW_ID_SIZES[product]
    for size in sizes:
        if len(data) == size:
            return data
        if data == element(OCTET_STRING, data[-size:]):
            return data[-size:]
    raise WireError("key certificate.chip id", got=f"{len(data)} bytes", want=f"{' or '.join(map(str, sizes))} bytes")
