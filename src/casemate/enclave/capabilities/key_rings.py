"""The versions of a named key, and what is done with them."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from casemate.enclave.capabilities import key_algorithms as algorithms
from casemate.engines.questions.keys import KeyUse, UseKey
from casemate.wire.encodings.json_object import parse_object
from casemate.wire.encodings.json_text import Json, encode_json
from casemate.wire.errors import WireError
from casemate.wire.protocol.capabilities.keys import Algorithm, KeyRules, Purpose
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_VERSIONS = 32
"""Most versions of a key that are kept."""
_MAX_NUMBER = (1 << 32) - 1

USES: Final = {
    Purpose.SIGN: (KeyUse.SIGN, KeyUse.VERIFY, KeyUse.PUBLIC),
    Purpose.MAC: (KeyUse.MAC, KeyUse.VERIFY),
    Purpose.ENCRYPT: (KeyUse.ENCRYPT, KeyUse.DECRYPT),
    Purpose.DERIVE: (KeyUse.DERIVE,),
    Purpose.AGREE: (KeyUse.AGREE, KeyUse.PUBLIC),
}
"""What a key can be used for, by its purpose; every key can be rotated and retired."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The versions of one key: their secrets by number."""

    versions: dict[int, bytes]
    newest: int

    def encode(self) -> bytes:
        """As the state keeps it."""
        versions: dict[str, Json] = {
            str(number): base64.b64encode(secret).decode() for number, secret in sorted(self.versions.items())
        }
        return encode_json({"newest": self.newest, "versions": dict(sorted(versions.items()))})

    @classmethod
    def parse(cls, text: bytes) -> "KeyRing":
        """What :meth:`encode` has made; ``state-refused`` for anything else."""
        try:
            body = parse_object("key", text, limit=MAX_VALUE)
            versions = body.child("versions")
            found = {int(number): base64.b64decode(versions.text(number), validate=True) for number in versions.names()}
            newest = body.uint("newest", _MAX_NUMBER)
        except (WireError, ValueError, binascii.Error):
            raise refuse(Code.STATE_REFUSED, "the state's record of a key is none") from None
        if newest not in found:
            raise refuse(Code.STATE_REFUSED, "the state's record of a key has no newest version")
        return cls(found, newest)

    @classmethod
    def new(cls, algorithm: Algorithm) -> "KeyRing":
        """A key that is made now."""
        return cls({1: algorithms.new_secret(algorithm)}, 1)

    def rotated(self, rules: KeyRules) -> tuple["KeyRing", int]:
        """With a new version, and its number; ``state-limit`` where there are too many."""
        if len(self.versions) >= MAX_VERSIONS or self.newest >= _MAX_NUMBER:
            words = f"key {rules.name!r} has {len(self.versions)} versions, as many as are kept: retire old ones"
            raise refuse(Code.STATE_LIMIT, words)
        number = self.newest + 1
        return KeyRing({**self.versions, number: algorithms.new_secret(rules.algorithm)}, number), number

    def retired(self, rules: KeyRules, version: int | None) -> tuple["KeyRing", bool]:
        """Without a version, and whether it was there; ``guest-error`` for the newest one."""
        if version is None or version == self.newest:
            words = f"version {self.newest} of key {rules.name!r} is the newest: rotate it before you retire it"
            raise refuse(Code.GUEST_ERROR, words)
        left = {number: secret for number, secret in self.versions.items() if number != version}
        return KeyRing(left, self.newest), version in self.versions


def rules_for(question: UseKey, known: Mapping[str, KeyRules]) -> KeyRules:
    """The rules of the key that is asked for; ``guest-error`` where there is none, or it is not for this."""
    rules = known.get(question.name)
    if rules is None:
        raise refuse(Code.GUEST_ERROR, f"casemate.toml has no [keys.{question.name[:40]}], it has: {', '.join(known)}")
    able = (*USES[rules.purpose], KeyUse.ROTATE, KeyUse.RETIRE)
    if question.use not in able:
        words = f"key {rules.name!r} is for '{rules.purpose}', which takes {', '.join(able)}; not {question.use}"
        raise refuse(Code.GUEST_ERROR, words)
    return rules


def use_key(question: UseKey, rules: KeyRules, ring: KeyRing) -> bytes | bool | dict[str, Json]:
    """What a use gives that changes no key: bytes, true or false, or an object."""
    data, beside = question.data, question.beside
    match question.use:
        case KeyUse.SIGN:
            return algorithms.sign(rules.algorithm, ring.versions[ring.newest], data)
        case KeyUse.MAC:
            return algorithms.mac(ring.versions[ring.newest], data)
        case KeyUse.VERIFY:
            tried = list(ring.versions) if question.version is None else [question.version]
            secrets = (ring.versions[number] for number in sorted(tried, reverse=True) if number in ring.versions)
            return any(algorithms.verify(rules.algorithm, secret, data, beside) for secret in secrets)
        case KeyUse.ENCRYPT:
            return algorithms.encrypt(ring.versions[ring.newest], ring.newest, rules.name, data, beside)
        case KeyUse.DECRYPT:
            version = algorithms.version_in(data)
            if version is None or version not in ring.versions:
                raise refuse(Code.CANNOT_OPEN, f"no version of key {rules.name!r} that is kept has made this text")
            return algorithms.decrypt(ring.versions[version], version, rules.name, data, beside)
        case KeyUse.DERIVE:
            return algorithms.derive(_version(question, ring), data, question.length)
        case KeyUse.AGREE:
            return algorithms.agree(rules.algorithm, _version(question, ring), data, beside)
    secret = _version(question, ring)
    public = algorithms.public_half(rules.algorithm, secret)
    versions: list[Json] = [*sorted(ring.versions)]
    return {
        "algorithm": str(rules.algorithm),
        "purpose": str(rules.purpose),
        "version": question.version or ring.newest,
        "versions": versions,
        "spki": base64.b64encode(public).decode(),
    }


def _version(question: UseKey, ring: KeyRing) -> bytes:
    """The secret of the version that is asked for."""
    number = question.version or ring.newest
    if number not in ring.versions:
        known = ", ".join(map(str, sorted(ring.versions)))
        raise refuse(Code.GUEST_ERROR, f"key {question.name!r} has no version {number}, it has: {known}")
    return ring.versions[number]
