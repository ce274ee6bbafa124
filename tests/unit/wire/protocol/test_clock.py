"""Clocks that cannot be right, and dates of certificates, by a library's word."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings.x509_dates import Validity, common_validity, validity_of
from casemate.wire.errors import WireError
from casemate.wire.protocol.clock import RELEASED, clock_doubt, off_by

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
GOOD = Validity(NOW - timedelta(days=1), NOW + timedelta(days=365))


def certificate(not_before: datetime, not_after: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dates")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, not_before, not_after)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


DATES = (
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (datetime(1999, 1, 1, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC)),
    (datetime(2050, 6, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
)


@pytest.mark.parametrize(("first", "last"), DATES)
def test_dates_are_read_as_they_were_written(first: datetime, last: datetime) -> None:
    """UTCTime until 2049, GeneralizedTime from 2050 on."""
    assert validity_of(certificate(first, last)) == Validity(first, last)


def test_chain_is_valid_where_all_of_it_is() -> None:
    ders = [certificate(NOW, NOW + timedelta(days=9)), certificate(NOW + timedelta(days=2), NOW + timedelta(days=20))]
    found = common_validity(ders)
    assert found == Validity(NOW + timedelta(days=2), NOW + timedelta(days=9))
    assert [found.holds(NOW + timedelta(days=day)) for day in (1, 2, 9, 10)] == [False, True, True, False]


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        validity_of(data)


@pytest.mark.parametrize(
    ("now", "last_seen", "words"),
    [
        (NOW, None, ""),
        (NOW, NOW + timedelta(minutes=4), ""),
        (RELEASED - timedelta(seconds=1), None, "before this version of Casemate was made: set this computer's clock"),
        (NOW - timedelta(days=30), None, "29 days before the root becomes valid (2027-02-28 12:00 UTC): set"),
        (NOW - timedelta(days=1, hours=3), None, "3 hours before the root becomes valid"),
        (
            NOW + timedelta(days=400),
            None,
            "35 days after the root has expired (2028-02-29 12:00 UTC): `casemate",
        ),
        (NOW, NOW + timedelta(days=100), "100 days before the last entry of this machine's audit log"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(now: datetime, last_seen: datetime | None, words: str) -> None:
    said = clock_doubt(now, {"the root": GOOD}, last_seen)
    assert words in said
    assert bool(said) is bool(words)


def test_distance_is_told_both_ways() -> None:
    assert off_by(NOW, GOOD.not_before, GOOD.not_after) == ""
    assert off_by(NOW - timedelta(days=11), GOOD.not_before, GOOD.not_after) == "10 days too early"
    assert off_by(NOW + timedelta(days=370), GOOD.not_before, GOOD.not_after) == "5 days too late"
