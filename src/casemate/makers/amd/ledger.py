"""What the simulated AMD remembers of one product: firmware, certificates issued and revoked."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from casemate.makers.amd.keys import VLEK_SECRET_SIZE
from casemate.makers.amd.levels import Level, first_levels
from casemate.makers.certificates import parse_serial
from casemate.makers.errors import MakerError
from casemate.makers.store import MAX_LEDGER
from casemate.wire.encodings.fields import MAX_U8, MAX_U32
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.errors import WireError
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.simulated_platform import Firmware
from casemate.wire.snp.tcb import Product, TcbVersion

VERSION = 1

_MAX_ITEMS = 65_536
_TCB_SIZE = 8


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for a VCEK or a VLEK, and the TCB that it speaks for."""

    serial: int
    kind: SigningKey
    owner: str
    """A VCEK's chip: its id, hexadecimal. A VLEK's cloud provider: its name."""
    tcb: TcbVersion
    public_key: bytes
    """Uncompressed point."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """A certificate that the root's revocation list names."""

    serial: int
    date: datetime


@dataclass(frozen=True, slots=True)
class AmdLedger:
    """The whole ledger; a command that changes it makes a new one."""

    product: Product
    levels: tuple[Level, ...]
    """The newest first."""
    issued: tuple[Issued, ...]
    revoked: tuple[Revoked, ...]
    crl_number: int
    vlek_secret: bytes
    """The secret that VLEKs are derived from."""

    @classmethod
    def first(cls, product: Product, vlek_secret: bytes) -> Self:
        """The ledger of a product for which nothing has been issued."""
        return cls(product, first_levels(product), (), (), 1, vlek_secret)

    @classmethod
    def parse(cls, product: Product, data: bytes) -> Self:
        """From its file.

        Raises:
            MakerError: the file is damaged.
        """
        try:
            body = parse_object("ledger", data, limit=MAX_LEDGER)
            if (version := body.uint("version", MAX_U8)) != VERSION:
                raise WireError("ledger.version", got=version, want=VERSION)
            return cls(
                product=product,
                levels=tuple(_parse_level(product, item) for item in body.children("levels", limit=_MAX_ITEMS)),
                issued=tuple(_parse_issued(product, item) for item in body.children("issued", limit=_MAX_ITEMS)),
                revoked=tuple(map(_parse_revoked, body.children("revoked", limit=_MAX_ITEMS))),
                crl_number=body.uint("crl_number", MAX_U32),
                vlek_secret=body.hexadecimal("vlek_secret", VLEK_SECRET_SIZE),
            )
        except WireError as error:
            raise MakerError(f"the maker's ledger for {product} is damaged: {error}") from None

    def encode(self) -> bytes:
        """The ledger as readable JSON, for its file."""
        return json.dumps(
            {
                "version": VERSION,
                "crl_number": self.crl_number,
                "vlek_secret": self.vlek_secret.hex(),
                "levels": [
                    {**firmware_json(level.firmware), "date": date_text(level.date), "advisory": level.advisory}
                    for level in self.levels
                ],
                "issued": [
                    {
                        "serial": f"{entry.serial:x}",
                        "kind": entry.kind.name,
                        "owner": entry.owner,
                        "tcb": entry.tcb.encode().hex(),
                        "public_key": entry.public_key.hex(),
                    }
                    for entry in self.issued
                ],
                "revoked": [{"serial": f"{entry.serial:x}", "date": date_text(entry.date)} for entry in self.revoked],
            },
            indent=1,
        ).encode()


def firmware_json(firmware: Firmware) -> dict[str, object]:
    """A firmware as a JSON object."""
    return {
        "tcb": firmware.tcb.encode().hex(),
        "major": firmware.major,
        "minor": firmware.minor,
        "build": firmware.build,
    }


def _parse_level(product: Product, body: JsonObject) -> Level:
    tcb = TcbVersion.parse(product, body.hexadecimal("tcb", _TCB_SIZE))
    firmware = Firmware(tcb, body.uint("major", MAX_U8), body.uint("minor", MAX_U8), body.uint("build", MAX_U8))
    return Level(firmware, body.date("date"), body.text("advisory"))


def _parse_issued(product: Product, body: JsonObject) -> Issued:
    kind = body.text("kind")
    if kind not in (SigningKey.VCEK.name, SigningKey.VLEK.name):
        raise WireError("ledger.issued.kind", got=ascii(kind[:64]), want="VCEK or VLEK")
    return Issued(
        serial=parse_serial("ledger.issued.serial", body.text("serial")),
        kind=SigningKey[kind],
        owner=body.text("owner"),
        tcb=TcbVersion.parse(product, body.hexadecimal("tcb", _TCB_SIZE)),
        public_key=body.hexadecimal("public_key", 97),
    )


def _parse_revoked(body: JsonObject) -> Revoked:
    return Revoked(parse_serial("ledger.revoked.serial", body.text("serial")), body.date("date"))
