"""The built-in guests, by name."""

from functools import cache
from importlib import resources
from typing import Final

from casemate.images.vm.assemble import Source
from casemate.images.vm.firmware import build_firmware
from casemate.wire.errors import CasemateError

GUESTS: Final = {
    "hello": "prints a greeting, its mode and its processor, and halts",
    "report": "hands out attestation reports over its second serial port",
    "seal": "seals a text with a key that is derived for its measurement, and unseals it",
    "count": "counts in a private page, on each vCPU, for ever",
    "walk": "prints its own page tables, with the C-bit",
    "victim": "keeps two private pages and tells what it reads there: for attacks",
}
"""What each guest does, by its name."""

_COMMON = ("reset", "exceptions", "console", "ghcb", "aes_gcm", "messages")
"""Sources that every guest has, before its own."""


class UnknownGuestError(CasemateError):
    """There is no built-in guest of that name; the message lists the names."""


@cache
def firmware(name: str) -> bytes:
    """The image of a built-in guest: the same bytes on every machine.

    Raises:
        UnknownGuestError: there is none of that name.
    """
    return build_firmware(sources(name))


def sources(name: str) -> tuple[Source, ...]:
    """The assembly of a built-in guest, in order; :class:`UnknownGuestError`."""
    if name not in GUESTS:
        raise UnknownGuestError(f"there is no built-in guest {name[:80]!r}: choose one of {', '.join(GUESTS)}")
    folder = resources.files("casemate.images.vm") / "guests"
    return tuple(Source(f"{file}.s", (folder / f"{file}.s").read_text(encoding="utf-8")) for file in (*_COMMON, name))
