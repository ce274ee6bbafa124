"""Ed25519 keys for which anybody can sign are no caller's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from casemate.wire.protocol.caller_key import caller_key_text, has_small_order
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

MANIFEST = b"""
[enclave]
name = "x"
product_id = 1
security_version = 1
engine = "javascript"
main = "guest/main.js"
[limits]
memory_mib = 64
time_ms = 1000
output_kib = 1
[callers]
mallory = "%b"
[entry.main]
input = {}
output = {}
callers = ["mallory"]
"""
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def added(one: Point, other: Point) -> Point:
    """The sum of two points (RFC 8032, section 5.1.4), in affine coordinates."""
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def point(encoded: bytes) -> Point | None:
    """The point of an encoding (section 5.1.3), a y that is not reduced included; None where there is none."""
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (-x % P if x % 2 != sign else x), y


def times_eight(at: Point) -> Point:
    for _ in range(3):
        at = added(at, at)
    return at


def order_eight() -> Point:
    """A point of order 8: a multiple of any point by the order of the large group, if it has such a part."""
    order = 2**252 + 27742317777372353535851937790883648493
    for y in range(2, 100):
        at = point(y.to_bytes(32, "little"))
        if at is None:
            continue
        made: Point = (0, 1)
        for bit in f"{order:b}":
            made = added(made, made)
            if bit == "1":
                made = added(made, at)
        four = added(added(made, made), added(made, made))
        if four != (0, 1):
            return made
    raise AssertionError("no such point")


def test_all_points_of_small_order_are_known_however_they_are_encoded() -> None:
    generator, found, at = order_eight(), set(), (0, 1)
    for _ in range(8):
        at = added(at, generator)
        found.add(at)
    assert len(found) == 8
    encodings = {y + (sign << 255) for _, y in found for sign in (0, 1)}
    encodings |= {y + P + (sign << 255) for _, y in found if y + P < 2**255 for sign in (0, 1)}
    for number in encodings:
        key = number.to_bytes(32, "little")
        assert has_small_order(key)
        with pytest.raises(ManifestError, match=r"callers.mallory is a key of small order"):
            parse_manifest(MANIFEST % caller_key_text(key).encode(), lambda _: b"")


def test_ordinary_keys_are_not_among_them() -> None:
    for _ in range(100):
        key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        assert not has_small_order(key)
        assert times_eight(point(key) or (0, 1)) != (0, 1)
