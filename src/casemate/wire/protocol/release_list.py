"""A list of a function's releases, signed by its owner: which codes may answer to its name now.

A JSON file that anybody may hand on. Its version rises by each list that the owner signs, so that whoever has seen one
can refuse an older list, in which a release may still stand that the owner has taken back.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Self

from casemate.wire.encodings.json_object import JsonObject, parse_object
from casemate.wire.errors import WireError
from casemate.wire.protocol.function_name import checked_name

MAX_LIST = 256 * 1024
"""Longest file (bytes)."""

MAX_RELEASES = 1024
FORMAT = "casemate-releases-1"
"""What such a file calls itself."""

MAX_VERSION = 2**53 - 1
"""The largest number that every JSON parser represents exactly."""

_LABEL = b"casemate release list 1\x00"
_MR_ENCLAVE_SIZE, _LAUNCH_DIGEST_SIZE, _SIGNATURE_SIZE = 32, 48, 64


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """One code: its measurement as an enclave, and as a paravirtual guest of SEV-SNP."""

    mr_enclave: bytes
    """32 bytes."""
    launch_digest: bytes
    """48 bytes."""

    def __post_init__(self) -> None:
        for name, size in (("mr_enclave", _MR_ENCLAVE_SIZE), ("launch_digest", _LAUNCH_DIGEST_SIZE)):
            if len(getattr(self, name)) != size:
                raise WireError(f"release.{name}", got=f"{len(getattr(self, name))} bytes", want=f"{size} bytes")


@dataclass(frozen=True, slots=True)
class ReleaseList:
    """What the owner says. Whether it is the owner's, :func:`casemate.client.release_lists.check_signature` says."""

    name: str
    """The function's."""
    version: int
    """From 1; it never falls."""
    releases: tuple[Release, ...]
    """In rising order, each once; none where no code may answer."""
    signature: bytes
    """Ed25519, over :meth:`signed_bytes`."""

    def __post_init__(self) -> None:
        checked_name(self.name)
        if not 1 <= self.version <= MAX_VERSION:
            raise WireError("release list.version", got=self.version, want=f"1 to {MAX_VERSION}")
        count = len(self.releases)
        if count > MAX_RELEASES:
            raise WireError("release list.releases", got=f"{count} of them", want=f"{MAX_RELEASES} at most")
        if any(one >= other for one, other in zip(self.releases, self.releases[1:], strict=False)):
            raise WireError("release list.releases", got="another order", want="rising measurements, each once")
        if len(self.signature) != _SIGNATURE_SIZE:
            raise WireError(
                "release list.signature", got=f"{len(self.signature)} bytes", want=f"{_SIGNATURE_SIZE} bytes"
            )

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parses the file; its signature is not checked."""
        body = parse_object("release list", text, limit=MAX_LIST)
        body.only("format", "name", "version", "releases", "signature")
        if (found := body.text("format")) != FORMAT:
            raise WireError("release list.format", got=ascii(found[:80]), want=f"{FORMAT}, the only one known here")
        return cls(
            body.text("name"),
            body.uint("version", MAX_VERSION),
            tuple(_release(item) for item in body.children("releases", limit=MAX_RELEASES)),
            _signature(body.text("signature")),
        )

    def encode(self) -> bytes:
        """The file: JSON that a person can read, and compare line by line."""
        releases = [
            {"mr_enclave": each.mr_enclave.hex(), "launch_digest": each.launch_digest.hex()} for each in self.releases
        ]
        document = {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "releases": releases,
            "signature": base64.b64encode(self.signature).decode(),
        }
        return json.dumps(document, indent=1).encode() + b"\n"

    def signed_bytes(self) -> bytes:
        """What the signature is over: all but itself, in one form however the file is written."""
        return signed_bytes(self.name, self.version, self.releases)


def signed_bytes(name: str, version: int, releases: tuple[Release, ...]) -> bytes:
    """What the owner of a list with that content signs."""
    head = bytes([len(name)]) + name.encode() + version.to_bytes(8, "little") + len(releases).to_bytes(2, "little")
    return _LABEL + head + b"".join(each.mr_enclave + each.launch_digest for each in releases)


def _release(item: JsonObject) -> Release:
    item.only("mr_enclave", "launch_digest")
    return Release(
        item.hexadecimal("mr_enclave", _MR_ENCLAVE_SIZE), item.hexadecimal("launch_digest", _LAUNCH_DIGEST_SIZE)
    )


def _signature(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise WireError("release list.signature", got=ascii(text[:80]), want="base64") from None
