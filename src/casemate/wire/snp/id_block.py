"""ID_BLOCK and ID_AUTH: the launch that a guest's owner demands, and the owner's signature (AMD 56860, 8.18).

Keys and numbers of signatures are little-endian; the curve is P-384, the digest SHA-384.
"""

import hashlib
from dataclasses import dataclass
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, constant, nested, number, raw, zeros
from casemate.wire.errors import WireError

ID_BLOCK_VERSION = 1
ECDSA_P384_SHA384 = 1
"""ID_KEY_ALGO, AUTHOR_KEY_ALGO (56860, table "Signing Algorithm Encodings")."""

_P384 = 2
_COMPONENT_SIZE = 72
_P384_SIZE = 48
_KEYS_SOURCE = "AMD 56860, chapter 10 Signature Formats"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdBlock:
    """ID_BLOCK, 96 bytes: the id key signs it."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ID_BLOCK",
        "AMD 56860, 8.18 SNP_LAUNCH_FINISH, table Structure of the ID Block",
        (
            raw(0x00, 48, "ld"),
            raw(0x30, 16, "family_id"),
            raw(0x40, 16, "image_id"),
            number(0x50, 4, "version"),
            number(0x54, 4, "guest_svn"),
            number(0x58, 8, "policy"),
        ),
    )

    ld: bytes
    """The launch digest that the guest must have."""
    family_id: bytes = bytes(16)
    image_id: bytes = bytes(16)
    version: int = ID_BLOCK_VERSION
    guest_svn: int = 0
    policy: int
    """The policy that the guest must be launched with."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        block = cls(**cls.LAYOUT.parse(data))
        if block.version != ID_BLOCK_VERSION:
            raise WireError("ID_BLOCK.version", got=block.version, want=ID_BLOCK_VERSION)
        return block

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class EcdsaSignature:
    """An ECDSA signature, 512 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ECDSA Signature",
        f"{_KEYS_SOURCE}, table ECDSA P-384 with SHA-384 Signature",
        (raw(0x000, _COMPONENT_SIZE, "r"), raw(0x048, _COMPONENT_SIZE, "s"), zeros(0x090, 512 - 2 * _COMPONENT_SIZE)),
    )

    r: bytes
    s: bytes
    """Little-endian, 72 bytes, of which P-384 fills 48."""

    @classmethod
    def of(cls, r: int, s: int) -> Self:
        return cls(r.to_bytes(_COMPONENT_SIZE, "little"), s.to_bytes(_COMPONENT_SIZE, "little"))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    @property
    def numbers(self) -> tuple[int, int]:
        """R and S."""
        return int.from_bytes(self.r, "little"), int.from_bytes(self.s, "little")


@dataclass(frozen=True, slots=True)
class EcdsaPublicKey:
    """A P-384 public key, 1028 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ECDSA Public Key",
        f"{_KEYS_SOURCE}, table ECDSA P-384 Public Key",
        (
            constant(0x000, "curve", _P384.to_bytes(4, "little")),
            raw(0x004, _COMPONENT_SIZE, "qx"),
            raw(0x04C, _COMPONENT_SIZE, "qy"),
            zeros(0x094, 1028 - 4 - 2 * _COMPONENT_SIZE),
        ),
    )

    qx: bytes
    qy: bytes
    """Little-endian, 72 bytes, of which P-384 fills 48."""

    @classmethod
    def of(cls, x: int, y: int) -> Self:
        return cls(x.to_bytes(_COMPONENT_SIZE, "little"), y.to_bytes(_COMPONENT_SIZE, "little"))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Parses 1028 bytes; does not check that the point is on the curve."""
        key = cls(**cls.LAYOUT.parse(data))
        for name, value in (("qx", key.qx), ("qy", key.qy)):
            if any(value[_P384_SIZE:]):
                raise WireError(f"ECDSA Public Key.{name}", got="more than 384 bits", want="an integer of 48 bytes")
        return key

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    @property
    def point(self) -> tuple[int, int]:
        return int.from_bytes(self.qx, "little"), int.from_bytes(self.qy, "little")

    @property
    def digest(self) -> bytes:
        """ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of reports: SHA-384 over the encoded key."""
        return hashlib.sha384(self.encode()).digest()


@dataclass(frozen=True, slots=True)
class IdSignature:
    """The id key, and its signature over the ID_BLOCK."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ID_AUTH id key",
        "AMD 56860, 8.18 SNP_LAUNCH_FINISH, table Structure of the ID Authentication Information",
        (nested(0x000, "signature", EcdsaSignature), nested(0x200, "key", EcdsaPublicKey)),
    )

    signature: EcdsaSignature
    key: EcdsaPublicKey

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


_AUTHOR_AT = 0x680
_AUTHOR_END = _AUTHOR_AT + IdSignature.LAYOUT.size


@dataclass(frozen=True, slots=True)
class IdAuth:
    """ID_AUTH, 4096 bytes."""

    LAYOUT: ClassVar[Layout] = Layout(
        "ID_AUTH",
        IdSignature.LAYOUT.source,
        (
            constant(0x000, "id_key_algo", ECDSA_P384_SHA384.to_bytes(4, "little")),
            number(0x004, 4, "author_key_algo"),
            zeros(0x008, 56),
            nested(0x040, "id", IdSignature),
            zeros(0x644, 60),
            raw(_AUTHOR_AT, IdSignature.LAYOUT.size, "author"),
            zeros(_AUTHOR_END, 4096 - _AUTHOR_END),
        ),
    )

    author_key_algo: int
    id: IdSignature
    author: bytes
    """The author key and its signature over the id key, which count where AUTHOR_KEY_EN is set: see
    :meth:`author_signature`."""

    @classmethod
    def of(cls, id_signature: IdSignature, author: IdSignature | None = None) -> Self:
        """Signed by the id key, and the id key by the author key where there is one."""
        if author is None:
            return cls(0, id_signature, bytes(IdSignature.LAYOUT.size))
        return cls(ECDSA_P384_SHA384, id_signature, author.encode())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)

    def author_signature(self) -> IdSignature:
        """The author's key and its signature over the id key, 1028 bytes as encoded.

        Raises:
            WireError: it is none, or of an unknown algorithm.
        """
        if self.author_key_algo != ECDSA_P384_SHA384:
            raise WireError("ID_AUTH.author_key_algo", got=self.author_key_algo, want=ECDSA_P384_SHA384)
        return IdSignature.parse(self.author)
