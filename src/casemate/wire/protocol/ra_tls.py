"""Evidence in a certificate: the two X.509 extensions that RA-TLS clients look for.

*Tagged evidence* (:data:`EVIDENCE_OID`), which new clients look for first. Sources: CCC Attestation SIG, "Interoperable
RA-TLS X.509 Cert and Evidence Formats", sections "X.509 Cert with Evidence and Endorsements Extensions" and "Evidence
Custom Claims"; the same, "Interoperable RA-TLS SGX / TDX Evidence Tags and Formats", section "SGX / TDX Evidence Data
Formats"; the OID is TCG's ``tcg-dice-conceptual-message-wrapper`` (DICE Attestation Architecture 1.1, there also
``tcg-dice-TaggedEvidence``). The value is CBOR::

    60000([ quote: bstr, claims-buffer: bstr ])
    claims-buffer = bstr .cbor { "pubkey-hash": bstr .cbor [ algorithm: uint, hash: bstr ], ? "nonce": bstr }

The quote's REPORTDATA is SHA-256 of the claims buffer and 32 zero bytes. The hash is of the certificate's
SubjectPublicKeyInfo in DER. Claims of other names are passed over by a verifier.

*The legacy quote* (:data:`LEGACY_OID`): the bare quote, whose REPORTDATA is SHA-256 of the same DER and 32 zero bytes.
Gramine has looked for it since 1.0 and still does where the first is absent (tools/sgx/ra-tls, ra_tls.h and
ra_tls_verify_common.c). Gramine itself *writes* the whole DER of this OID, tag and length too, as an OID's content, so
that a dump shows :data:`GRAMINE_OID`; its search for these very bytes finds the well-formed OID, too. Clients that
parse certificates know the well-formed one. So that one is written here, and both are read.

Both extensions must be non-critical: TLS libraries refuse critical ones that they do not know, and so does Gramine's
parser. DICE would rather have them critical; the first source says why they are not.

There are two quotes because one REPORTDATA cannot be both hashes. A verifier cannot confuse them, nor take one for the
binding of the sealed channel (:mod:`casemate.wire.protocol.report_data`). That is a whole SHA-512, and nobody can find
one whose last 32 bytes are zero, as they must be here. The hashed bytes begin with the head of a CBOR map in one case,
and with the tag of a DER SEQUENCE in the other.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from casemate.wire.encodings import cbor
from casemate.wire.encodings.fields import Reader
from casemate.wire.errors import WireError
from casemate.wire.sgx.quote import MAX_QUOTE

EVIDENCE_OID = "2.23.133.5.4.9"
LEGACY_OID = "1.2.840.113741.1337.6"
GRAMINE_OID = "0.6.9.42.840.113741.1337.6"

QUOTE_TAG = 60000
"""IANA's CBOR tag for quotes of Intel's TEEs."""

MAX_CLAIMS = 4096
"""Longest claims buffer (bytes): a public key's hash takes 50."""

PUBKEY_HASH, NONCE = "pubkey-hash", "nonce"
_MAX_CLAIM_COUNT = 16


class HashAlgorithm(IntEnum):
    """IANA's Named Information Hash Algorithm Registry; a verifier must know these three."""

    SHA_256 = 1
    SHA_384 = 7
    SHA_512 = 8


_HASHES = {
    HashAlgorithm.SHA_256: hashlib.sha256,
    HashAlgorithm.SHA_384: hashlib.sha384,
    HashAlgorithm.SHA_512: hashlib.sha512,
}


@dataclass(frozen=True, slots=True)
class PubkeyHash:
    """The hash of the certificate's key: of a SubjectPublicKeyInfo in DER (CoSWID's ``hash-entry``)."""

    algorithm: HashAlgorithm
    value: bytes

    @classmethod
    def of(cls, public_key: bytes, algorithm: HashAlgorithm = HashAlgorithm.SHA_256) -> Self:
        """The hash of a SubjectPublicKeyInfo in DER."""
        return cls(algorithm, _HASHES[algorithm](public_key).digest())

    @classmethod
    def parse(cls, data: bytes) -> Self:
        reader = Reader("pubkey-hash", data)
        items = cbor.take_head(reader, "pubkey-hash", cbor.ARRAY)
        if items != 2:
            raise WireError("pubkey-hash", got=f"{items} items", want="algorithm and hash")
        number = cbor.take_head(reader, "pubkey-hash.hash-alg-id", cbor.UNSIGNED)
        try:
            algorithm = HashAlgorithm(number)
        except ValueError:
            known = ", ".join(f"{known.value} ({known.name})" for known in HashAlgorithm)
            raise WireError("pubkey-hash.hash-alg-id", got=number, want=known) from None
        value = cbor.take_bytes(reader, "pubkey-hash.hash-value")
        reader.end()
        size = _HASHES[algorithm]().digest_size
        if len(value) != size:
            raise WireError("pubkey-hash.hash-value", got=f"{len(value)} bytes", want=f"{size} bytes")
        return cls(algorithm, value)

    def encode(self) -> bytes:
        return cbor.head(cbor.ARRAY, 2) + cbor.head(cbor.UNSIGNED, self.algorithm) + cbor.byte_string(self.value)

    def is_of(self, public_key: bytes) -> bool:
        """Whether this is the hash of the SubjectPublicKeyInfo."""
        return _HASHES[self.algorithm](public_key).digest() == self.value


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that the quote vouches for, beside the enclave."""

    pubkey_hash: PubkeyHash
    others: tuple[tuple[str, bytes], ...] = ()
    """Name and value, in order; ``nonce`` is one."""
    place: int = 0
    """How many of the others come before the hash. The quote vouches for the bytes, and other writers order claims
    otherwise."""

    @property
    def nonce(self) -> bytes | None:
        """The challenger's nonce; None where the certificate was not made for a challenge."""
        return dict(self.others).get(NONCE)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        if len(data) > MAX_CLAIMS:
            raise WireError("claims", got=f"{len(data)} bytes", want=f"at most {MAX_CLAIMS}")
        reader = Reader("claims", data)
        count = cbor.take_head(reader, "claims", cbor.MAP)
        if not 1 <= count <= _MAX_CLAIM_COUNT:
            raise WireError("claims", got=f"{count} of them", want=f"1 to {_MAX_CLAIM_COUNT}")
        found: dict[str, bytes] = {}
        for _ in range(count):
            name = cbor.take_text(reader, "claims.name")
            if name in found:
                raise WireError("claims", got=f"{name[:64]!r} twice", want="each name once")
            found[name] = cbor.take_bytes(reader, f"claims.{name[:64]}")
        reader.end()
        if PUBKEY_HASH not in found:
            raise WireError("claims", got=", ".join(found)[:256], want=PUBKEY_HASH)
        return cls(
            pubkey_hash=PubkeyHash.parse(found[PUBKEY_HASH]),
            others=tuple(item for item in found.items() if item[0] != PUBKEY_HASH),
            place=list(found).index(PUBKEY_HASH),
        )

    def encode(self) -> bytes:
        pairs = list(self.others)
        pairs.insert(self.place, (PUBKEY_HASH, self.pubkey_hash.encode()))
        body = b"".join(cbor.text_string(name) + cbor.byte_string(value) for name, value in pairs)
        return cbor.head(cbor.MAP, len(pairs)) + body


@dataclass(frozen=True, slots=True)
class TaggedEvidence:
    """The value of the extension :data:`EVIDENCE_OID`; unverified."""

    quote: bytes
    claims: bytes
    """The claims buffer as it was hashed; :meth:`Claims.parse` reads it."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        reader = Reader("evidence", data)
        tag = cbor.take_head(reader, "evidence.tag", cbor.TAG)
        if tag != QUOTE_TAG:
            raise WireError("evidence.tag", got=tag, want=f"{QUOTE_TAG}, a quote")
        items = cbor.take_head(reader, "evidence", cbor.ARRAY)
        if items != 2:
            raise WireError("evidence", got=f"{items} items", want="quote and claims")
        value = cls(cbor.take_bytes(reader, "evidence.quote"), cbor.take_bytes(reader, "evidence.claims"))
        reader.end()
        if len(value.quote) > MAX_QUOTE:
            raise WireError("evidence.quote", got=f"{len(value.quote)} bytes", want=f"at most {MAX_QUOTE}")
        return value

    def encode(self) -> bytes:
        items = cbor.byte_string(self.quote) + cbor.byte_string(self.claims)
        return cbor.head(cbor.TAG, QUOTE_TAG) + cbor.head(cbor.ARRAY, 2) + items


def report_data_of_claims(claims: bytes) -> bytes:
    """REPORTDATA of tagged evidence, for its claims buffer."""
    return hashlib.sha256(claims).digest() + bytes(32)


def legacy_report_data(public_key: bytes) -> bytes:
    """REPORTDATA of the legacy quote, for a SubjectPublicKeyInfo in DER."""
    return hashlib.sha256(public_key).digest() + bytes(32)
