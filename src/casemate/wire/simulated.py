"""The mark in every certificate of a simulated chip maker, so that none can pass for a real one.

Subject and issuer names stay the real makers', since their own verifiers insist on them. What tells the difference is
a trust anchor of the simulation's own, and this non-critical extension.
"""

from dataclasses import dataclass
from typing import Self

from casemate.wire.der import SEQUENCE, UTF8_STRING, DerReader, boolean, element
from casemate.wire.errors import WireError

SIMULATED_OID = "1.3.6.1.4.1.32473.1129532756.1"
"""Below the enterprise number that RFC 5612 sets aside for examples: no real maker's certificate has it. 1129532756 is
ASCII "CSMT", the last arc the version of the contents. (An arc made of a UUID, 2.25, or ITU-T's example arc, 2.999,
would do as well, but widespread X.509 code refuses their bytes: arcs beyond 32 bits, and a second arc beyond 39.)"""

_WORD = "SIMULATED"
_TEXT = "SIMULATED by Casemate: made by software, says nothing about any hardware"
_SEEDED_TEXT = "SIMULATED by Casemate from a public seed: anybody can have its keys"


@dataclass(frozen=True, slots=True)
class SimulatedMark:
    """The extension's value: ``SEQUENCE { UTF8String, BOOLEAN }``."""

    text: str
    """For whoever reads a dump of the certificate; starts with SIMULATED."""
    seeded: bool
    """Whether the maker's keys were derived from a seed that others know."""

    @classmethod
    def of(cls, *, seeded: bool) -> Self:
        """The mark as the simulated vendor writes it."""
        return cls(_SEEDED_TEXT if seeded else _TEXT, seeded)

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
