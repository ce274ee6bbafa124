"""The validity period of an X.509 certificate (RFC 5280, 4.1.2.5), read without a library for certificates.

For processes that hold a certificate and do not judge it: only a verifier decides whether it is genuine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from casemate.wire.encodings.der import GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, DerReader
from casemate.wire.errors import WireError

_VERSION = 0xA0
_SINCE = "50"
"""Two-digit years from here on belong to the last century (RFC 5280, 4.1.2.5.1)."""
_DIGITS = len("YYYYMMDDhhmmss")


@dataclass(frozen=True, slots=True)
class Validity:
    """A validity period: two moments in UTC, both included."""

    not_before: datetime
    not_after: datetime

    def holds(self, now: datetime) -> bool:
        """Whether ``now`` is between them."""
        return self.not_before <= now <= self.not_after


ANY_TIME = Validity(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
"""RFC 5280 has 9999-12-31 for "no end"."""


def validity_of(certificate: bytes) -> Validity:
    """The validity period of one certificate in DER.

    Raises:
        WireError: it is not a certificate.
    """
    fields = DerReader("certificate", certificate).inside("certificate").inside("tbsCertificate")
    if fields.next_tag() == _VERSION:
        fields.contents("version", _VERSION)
    fields.contents("serialNumber", INTEGER)
    fields.contents("signature", SEQUENCE)
    fields.contents("issuer", SEQUENCE)
    dates = fields.inside("validity")
    return Validity(_moment(dates, "notBefore"), _moment(dates, "notAfter"))


def common_validity(certificates: Iterable[bytes]) -> Validity:
    """The period in which all of these are valid; it ends before it begins where there is none."""
    found = [validity_of(each) for each in certificates]
    return Validity(max(each.not_before for each in found), min(each.not_after for each in found))


def _moment(dates: DerReader, field: str) -> datetime:
    tag = dates.next_tag()
    if tag not in (UTC_TIME, GENERALIZED_TIME):
        raise WireError(f"certificate.{field}", got=f"tag {tag}", want="UTCTime or GeneralizedTime")
    text = dates.contents(field, tag).decode("ascii", "replace")
    century = "" if tag == GENERALIZED_TIME else "19" if text[:2] >= _SINCE else "20"
    digits = century + text[:-1]
    try:
        if not (len(digits) == _DIGITS and digits.isascii() and digits.isdigit() and text.endswith("Z")):
            raise ValueError(text)
        month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, _DIGITS, 2))
        # Not strptime, which would load the locale's tables.
        moment = datetime(int(digits[:4]), month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise WireError(f"certificate.{field}", got=ascii(text), want="a time in UTC to the second") from None
    return moment
