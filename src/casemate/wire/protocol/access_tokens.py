"""Bearer tokens that open a gateway, never an enclave: the text of a token, and the file with the digests of all.

Example:
    {"version": 1, "tokens": [{"name": "ci", "role": "deploy", "created": "2026-11-22T10:00:00Z", "digest": "9f86..."}]}
"""

import base64
import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from casemate.wire.encodings.fields import exactly
from casemate.wire.encodings.json_object import JsonObject, date_text, parse_object
from casemate.wire.errors import WireError

SECRET_SIZE = 32
"""Random bytes in a token: as many as its digest has, so that one round of SHA-256 is enough to store it."""

PREFIX = "casemate_"
"""Lets scanners for secrets in repositories recognise a token."""

MAX_TOKENS = 256
"""Most tokens of one machine: every request is compared with each of them."""

MAX_FILE = 128 * 1024
"""Longest file of tokens (bytes): the largest has some 70 KiB."""

RUN = "run"
"""The name of the token that each run of a machine makes; no token in the file may have it."""

RESERVED_NAMES = frozenset({RUN, "all", "anonymous", "local", "none", "null", "operator", "owner", "system"})
"""Names that mean something else in logs and lists. A file may hold tokens of these names, which earlier versions made:
they are listed and can be revoked, and no longer open anything."""

_VERSION = 1
_TOKEN = re.compile(r"casemate_[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)
"""32 bytes in base64url leave two bits of the last character unused: where they are 0, it is the only spelling."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)


class Role(StrEnum):
    """What a token may do; each role includes those below it."""

    ADMIN = "admin"  # everything, metrics too
    DEPLOY = "deploy"  # images and enclaves: put, launch, start, stop, delete
    CALL = "call"  # see, attest and call

    def allows(self, needed: "Role") -> bool:
        """Whether this role is ``needed`` or one above it."""
        return _RANK[self] >= _RANK[needed]


_RANK = {Role.ADMIN: 2, Role.DEPLOY: 1, Role.CALL: 0}


def token_text(secret: bytes) -> str:
    """The token that a person carries: :data:`PREFIX` and ``secret`` (32 random bytes) in base64url without padding."""
    return PREFIX + base64.urlsafe_b64encode(exactly("token", secret, SECRET_SIZE)).decode().rstrip("=")


def token_digest(token: str) -> bytes:
    """SHA-256 of a token's text; the text itself is never stored.

    Raises:
        WireError: the text is not a token. The error does not repeat it.
    """
    if not _TOKEN.fullmatch(token):
        raise WireError("token", got="another text", want=f"{PREFIX} and {SECRET_SIZE} bytes in base64url")
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class AccessToken:
    """One token, without its secret."""

    name: str
    """The token's owner or purpose: lower-case letters, digits and inner ``.``, ``_`` and ``-``, at most 64."""
    role: Role
    created: datetime
    """UTC, to the second."""
    digest: bytes
    """SHA-256 of the token's text (32 bytes)."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            want = "1 to 64 lower-case letters, digits and inner '.', '_' and '-'"
            raise WireError("token.name", got=ascii(self.name[:80]), want=want)
        exactly("token.digest", self.digest, hashlib.sha256().digest_size)


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """The tokens of a machine, in the order in which they were made. Names and digests are unique."""

    tokens: tuple[AccessToken, ...] = ()

    def __post_init__(self) -> None:
        if len(self.tokens) > MAX_TOKENS:
            raise WireError("tokens", got=f"{len(self.tokens)} tokens", want=f"at most {MAX_TOKENS}")
        for what, seen in (("name", {t.name for t in self.tokens}), ("digest", {t.digest for t in self.tokens})):
            if len(seen) != len(self.tokens):
                raise WireError(f"tokens.{what}", got=f"one {what} twice", want=f"another {what} for each token")

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parses the file; an empty file holds no tokens."""
        document = parse_object("tokens file", text, limit=MAX_FILE)
        document.only("version", "tokens")
        if (version := document.uint("version", 2**32)) != _VERSION:
            raise WireError("tokens file.version", got=version, want=_VERSION)
        return cls(tuple(_token(item) for item in document.children("tokens", limit=MAX_TOKENS)))

    def encode(self) -> bytes:
        """The file's bytes: JSON that a person can read, with no secret in it."""
        tokens = [
            {
                "name": token.name,
                "role": token.role.value,
                "created": date_text(token.created),
                "digest": token.digest.hex(),
            }
            for token in self.tokens
        ]
        return json.dumps({"version": _VERSION, "tokens": tokens}, indent=1).encode() + b"\n"

    def find(self, digest: bytes) -> AccessToken | None:
        """The token with this digest. Compares with every token, in time that does not depend on which one matches."""
        found = None
        for token in self.tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token
        return found

    def with_token(self, token: AccessToken) -> Self:
        """These tokens and one more; :class:`WireError` where its name is taken or reserved."""
        if token.name in RESERVED_NAMES:
            raise WireError("token.name", got=token.name, want=f"none of {', '.join(sorted(RESERVED_NAMES))}")
        return type(self)((*self.tokens, token))

    def without(self, name: str) -> Self:
        """These tokens without the one of that name; :class:`WireError` if there is none."""
        left = tuple(token for token in self.tokens if token.name != name)
        if len(left) == len(self.tokens):
            known = ", ".join(token.name for token in self.tokens) or "no tokens"
            raise WireError("tokens", got=known, want=f"one named {name[:80]!a}")
        return type(self)(left)


def _token(item: JsonObject) -> AccessToken:
    item.only("name", "role", "created", "digest")
    role = item.text("role")
    if role not in set(Role):
        raise WireError("token.role", got=ascii(role[:80]), want=" or ".join(Role))
    return AccessToken(item.text("name"), Role(role), item.date("created"), item.hexadecimal("digest", 32))
