"""What the certificates of both makers have in common: how long they are good for, and their serial numbers."""

import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509

from casemate.makers.keys import from_seed
from casemate.wire.errors import WireError
from casemate.wire.protocol.simulated_mark import SERIAL_TAIL_SIZE, SimulatedSerial

COLLATERAL_LIFE = timedelta(days=30)
"""Validity of collateral and of both makers' revocation lists, as Intel's."""

_SEEDED_FROM = datetime(2025, 1, 1, tzinfo=UTC)
_SEEDED_UNTIL = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Certificates made from a seed have these dates, so that they are the same every time."""

_SERIAL_SIZE = 16

_CLOCK_SKEW = timedelta(days=1)
"""A verifier's clock may be behind ours: a new certificate is valid since yesterday."""


def validity(seed: str | None, now: datetime, life: timedelta) -> tuple[datetime, datetime]:
    """The validity period of a certificate made now: first and last moment."""
    return (now - _CLOCK_SKEW, now + life) if seed is None else (_SEEDED_FROM, _SEEDED_UNTIL)


def random_serial() -> int:
    """A serial number nobody can guess."""
    return x509.random_serial_number()


def seeded_serial(seed: str, what: bytes) -> int:
    """The serial number that a seeded maker gives to the certificate of one of its own keys: 127 bits."""
    return int.from_bytes(from_seed(seed, f"serial {what.hex()}", _SERIAL_SIZE), "big") >> 1 | 1


def leaf_serial(seed: str | None, what: bytes, *, seeded: bool) -> int:
    """The serial number of the certificate of a chip's key for ``what``: at random, or as a seeded maker gives it.

    Args:
        seed: the maker's.
        what: chip, TCB and key.
        seeded: whether the chip's fuses came from a public seed.
    """
    start = SimulatedSerial.of(seeded=seeded or seed is not None)
    if seed is None:
        return start.number(secrets.token_bytes(SERIAL_TAIL_SIZE))
    return start.number(from_seed(seed, f"serial {what.hex()}", SERIAL_TAIL_SIZE))


def serial_of(certificate: bytes) -> int:
    """The serial number of one of our own certificates (DER)."""
    return x509.load_der_x509_certificate(certificate).serial_number


def parse_serial(what: str, text: str) -> int:
    """A serial number in hexadecimal."""
    try:
        return int(text, 16)
    except ValueError:
        raise WireError(what, got=ascii(text[:64]), want="a serial number in hexadecimal") from None


def extension(dotted: str, value: bytes) -> x509.UnrecognizedExtension:
    """An extension that the library has no class for, by its object identifier."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(dotted), value)
