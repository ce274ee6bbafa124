"""Texts that can be found again: in raw bytes, and in what programs usually make of bytes."""

import base64
import json
import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

LETTERS = string.ascii_letters + string.digits
PART = 16
"""Letters of each half: so many do not come by chance."""


def _letters() -> str:
    return "".join(secrets.choice(LETTERS) for _ in range(PART))


@dataclass(frozen=True)
class Canary:
    """A secret text: letters, one that is not ASCII, letters; each half is looked for by itself."""

    what: str
    """Where it was put."""
    halves: tuple[str, str] = field(default_factory=lambda: (_letters(), _letters()))

    @property
    def text(self) -> str:
        """The whole."""
        return "ü".join(self.halves)

    @property
    def turned(self) -> "Canary":
        """What the function ``turn`` makes of it."""
        first, second = self.halves
        return Canary(f"{self.what}, turned", (second[::-1], first[::-1]))


def patterns(data: bytes) -> Iterator[tuple[str, bytes]]:
    """How ``data`` may lie somewhere: name of the encoding, and bytes to look for."""
    yield "raw", data
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    yield "hex with blanks", data.hex(" ").encode()
    yield "decimal", ",".join(map(str, data)).encode()
    yield "decimal with blanks", ", ".join(map(str, data)).encode()
    yield "JSON, escaped", "".join(f"\\u{byte:04x}" for byte in data).encode()
    yield "URL", quote(data, safe="").encode()
    yield "every byte of it, URL", "".join(f"%{byte:02X}" for byte in data).encode()
    yield "JSON", json.dumps(data.decode("latin-1"))[1:-1].encode()
    yield "backwards", data[::-1]
    for name in ("utf-16-le", "utf-16-be", "utf-32-le"):
        yield name, data.decode("latin-1").encode(name)
    for before in range(3):
        # The characters that these bytes alone decide, wherever they lie in what was encoded.
        first, last = -(-8 * before // 6), 8 * (before + len(data)) // 6
        yield f"base64 at {before}", base64.b64encode(bytes(before) + data)[first:last]
        yield f"base64url at {before}", base64.urlsafe_b64encode(bytes(before) + data)[first:last]
    for before in range(5):
        first, last = -(-8 * before // 5), 8 * (before + len(data)) // 5
        yield f"base32 at {before}", base64.b32encode(bytes(before) + data)[first:last]


def found(canaries: list[Canary], places: dict[str, bytes]) -> list[str]:
    """Which canaries can be found where, and how encoded."""
    looked_for = [
        (f"{canary.what} ({encoding})", pattern)
        for canary in canaries
        for half in canary.halves
        for encoding, pattern in dict.fromkeys(patterns(half.encode()))
    ]
    return sorted(
        {f"{what} in {place}" for place, data in places.items() for what, pattern in looked_for if pattern in data}
    )
