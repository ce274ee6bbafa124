"""Evidence as JSON, in the form in which the HTTP API gives it: what one party hands to another to be appraised."""

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from casemate.wire.encodings.json_object import JsonObject
from casemate.wire.encodings.message import encode_fields, parse_fields
from casemate.wire.errors import WireError
from casemate.wire.messages.host import EvidenceIs
from casemate.wire.protocol.sandbox_layers import SandboxLayers
from casemate.wire.protocol.tee import MAX_ENDORSEMENTS, Tee

MAX_EVIDENCE = 65536
"""Longest quote or report (bytes)."""
_KEY_SIZE = 32
_MAX_LAYERS = 64 * 1024
_BOUND = ("hpke_key", "receipt_key", "layers")


@dataclass(frozen=True, slots=True)
class PresentedBinding:
    """What the evidence's REPORTDATA is said to bind, but for the nonce."""

    hpke_key: bytes
    receipt_key: bytes
    layers: SandboxLayers


@dataclass(frozen=True, slots=True)
class PresentedEvidence:
    """A quote or report, what it is said to bind, and its maker's endorsements; all unverified."""

    tee: Tee
    evidence: bytes
    bound: PresentedBinding | None
    """None for enclaves that are not Casemate's."""
    endorsements: bytes | None
    """JSON; None where there are none."""

    @classmethod
    def parse(cls, body: JsonObject) -> Self:
        """Reads members in base64; :class:`WireError` where one is missing, malformed or too long."""
        body.only("tee", "evidence", *_BOUND, "session", "endorsements")
        told = body.text("tee")
        if told not in tuple(Tee):
            raise WireError("evidence.tee", got=ascii(told)[:64], want=" or ".join(Tee))
        given = [body.has(name) for name in _BOUND]
        if any(given) and not all(given):
            raise WireError("evidence", got="some of the values that it binds", want=f"all or none of {_BOUND}")
        return cls(
            Tee(told),
            _octets(body, "evidence", MAX_EVIDENCE),
            _binding(body) if all(given) else None,
            _octets(body, "endorsements", MAX_ENDORSEMENTS) if body.has("endorsements") else None,
        )


def evidence_document(found: EvidenceIs) -> dict[str, object]:
    """What a host has given, as JSON."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "tee": str(found.tee),
        "evidence": text(found.evidence),
        "hpke_key": text(found.hpke_key),
        "receipt_key": text(found.receipt_key),
        "layers": text(encode_fields(found.layers)),
        "session": found.session,
        "endorsements": text(found.endorsements),
    }


def _binding(body: JsonObject) -> PresentedBinding:
    layers = parse_fields(SandboxLayers, _octets(body, "layers", _MAX_LAYERS))
    return PresentedBinding(_key(body, "hpke_key"), _key(body, "receipt_key"), layers)


def _key(body: JsonObject, name: str) -> bytes:
    key = _octets(body, name, _KEY_SIZE)
    if len(key) != _KEY_SIZE:
        raise WireError(f"evidence.{name}", got=f"{len(key)} bytes", want=_KEY_SIZE)
    return key


def _octets(body: JsonObject, name: str, limit: int) -> bytes:
    text = body.text(name)
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise WireError(f"evidence.{name}", got="other text", want="base64") from None
    if len(data) > limit:
        raise WireError(f"evidence.{name}", got=f"{len(data)} bytes", want=f"at most {limit}")
    return data
