"""Marks that tell a simulated chip maker's certificates from a real maker's.

Subject and issuer names are the real makers', because their own verifiers insist on them. The difference is a trust
anchor of the simulation's own, and this non-critical extension in the certificates of its root, of the CAs below it and
of its TCB signing key. The certificates of chips' keys (PCK, VCEK, VLEK) have exactly the extensions of real ones,
because other verifiers count those or know them by name; their serial numbers start with readable bytes instead.
Certificates of earlier versions had the extension as well.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Self

from casemate.wire.encodings.der import SEQUENCE, UTF8_STRING, DerReader, boolean, element
from casemate.wire.errors import WireError

SIMULATED_OID = "1.3.6.1.4.1.32473.4412237.1"
"""Below the enterprise number that RFC 5612 sets aside for examples: no real maker's certificate has it. 4412237 is
ASCII "CSM", the last arc the version of the contents. (An arc made of a UUID, 2.25, or ITU-T's example arc, 2.999,
would do as well, but widespread X.509 code refuses their bytes: arcs beyond 28 bits, and a second arc beyond 39.)"""

EARLIER_SIMULATED_OID = "1.3.6.1.4.1.32473.1129532756.1"
"""What earlier versions marked certificates with: RustCrypto's parsers refuse an arc that long. The contents are the
same. Makers from a public seed keep it: policies name their roots by digests that are the same in every version."""

SIMULATED_OIDS = (SIMULATED_OID, EARLIER_SIMULATED_OID)
"""The OIDs that mark a certificate."""

SERIAL_TAIL_SIZE = 10
"""Bytes of a chip's key certificate's serial number that are its own: 80 bits."""

_WORD = "SIMULATED"
_TEXT = "SIMULATED by Casemate: made by software, says nothing about any hardware"
_SEEDED_TEXT = "SIMULATED by Casemate from a public seed: anybody can have its keys"


@dataclass(frozen=True, slots=True)
class SimulatedMark:
    """The extension's value: ``SEQUENCE { UTF8String, BOOLEAN }``."""

    text: str
    """Text for people who read a dump of the certificate; starts with SIMULATED."""
    seeded: bool
    """Whether the maker's keys were derived from a seed that others know."""

    @classmethod
    def of(cls, *, seeded: bool) -> Self:
        """The mark as the simulated vendor writes it."""
        return cls(_SEEDED_TEXT if seeded else _TEXT, seeded)

    @property
    def oid(self) -> str:
        """The OID under which the simulated vendor writes it."""
        return EARLIER_SIMULATED_OID if self.seeded else SIMULATED_OID

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The mark from the extension's value."""
        outer = DerReader("simulated extension", data)
        inner = outer.inside("value")
        outer.end()
        text = inner.text("text")
        if not text.startswith(_WORD):
            raise WireError("simulated extension.text", got=repr(text[:64]), want=f"a text that starts with {_WORD}")
        mark = cls(text, inner.boolean("seeded"))
        inner.end()
        return mark

    def encode(self) -> bytes:
        """The extension's value in DER."""
        return element(SEQUENCE, element(UTF8_STRING, self.text.encode()), boolean(value=self.seeded))


class SimulatedSerial(Enum):
    """How the serial number of a chip's key certificate starts, in its 20 bytes; the rest is its own."""

    MADE_BY_SOFTWARE = b"SIMULATED\x00"
    FROM_PUBLIC_SEED = b"SIMULATED\x01"
    """The chip's fuses or its maker's keys were derived from a seed that others know."""

    @classmethod
    def of(cls, *, seeded: bool) -> "SimulatedSerial":
        """The start that the simulated vendor writes."""
        return cls.FROM_PUBLIC_SEED if seeded else cls.MADE_BY_SOFTWARE

    @classmethod
    def find(cls, serial: int) -> "SimulatedSerial | None":
        """The kind of this serial number; None for others, such as those of certificates with the extension."""
        size = len(cls.MADE_BY_SOFTWARE.value) + SERIAL_TAIL_SIZE
        if not 0 < serial < 1 << (8 * size):
            return None
        written = serial.to_bytes(size, "big")
        return next((start for start in cls if written.startswith(start.value)), None)

    def number(self, tail: bytes) -> int:
        """The whole serial number, with :data:`SERIAL_TAIL_SIZE` bytes that no other certificate has."""
        return int.from_bytes(self.value + tail, "big")
