"""Questions about the keys that ``[keys.NAME]`` grants."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from casemate.engines.questions.reading import Head, Parser
from casemate.wire.errors import WireError
from casemate.wire.protocol.state_changes import MAX_VALUE

MAX_KEY_DATA = MAX_VALUE
"""Longest data that a key is used on (bytes)."""
MAX_BESIDE = 64 * 1024
"""Longest of what goes with the data: a signature, associated data, the info of a derivation (bytes)."""
MAX_OPENED_TEXT = MAX_KEY_DATA + 1024
"""Longest text that a key opens (bytes)."""
_LONGEST_NAME = 256
_MAX_NUMBER = (1 << 32) - 1


class KeyUse(StrEnum):
    """What is done with a key: the names of the functions of ``context.keys``."""

    SIGN = "sign"
    VERIFY = "verify"
    MAC = "mac"
    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    DERIVE = "derive"
    AGREE = "agree"
    PUBLIC = "public"
    ROTATE = "rotate"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class UseKey:
    """Uses a key. Answered with bytes as base64 in JSON, true or false, a number, or an object."""

    use: KeyUse
    name: str
    data: bytes
    beside: bytes
    """A signature or tag, associated data, or info."""
    version: int | None
    """None for the newest, or for whichever fits."""
    length: int | None
    """Of what is derived (bytes); None for the usual one."""


def _use_key(head: Head, text: bytes) -> UseKey:
    use, name, size = head.get("use"), head.get("key"), head.get("size")
    if not isinstance(use, str) or use not in tuple(KeyUse):
        raise WireError("guest's question.use", got=repr(use)[:64], want=" or ".join(KeyUse))
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise WireError("guest's question.key", got=repr(name)[:64], want=f"at most {_LONGEST_NAME} characters")
    if type(size) is not int or not 0 <= size <= len(text):
        raise WireError("guest's question.size", got=repr(size)[:64], want=f"0 to {len(text)}")
    data, beside = text[:size], text[size:]
    if len(data) > MAX_OPENED_TEXT or len(beside) > MAX_BESIDE:
        want = f"at most {MAX_OPENED_TEXT} and {MAX_BESIDE}"
        raise WireError("guest's data", got=f"{len(data)} bytes and {len(beside)} beside them", want=want)
    return UseKey(KeyUse(use), name, data, beside, _number(head, "version"), _number(head, "length"))


def _number(head: Head, name: str) -> int | None:
    value = head.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise WireError(f"guest's question.{name}", got=repr(value)[:64], want=f"an integer from 0 to {_MAX_NUMBER}")
    return value


PARSERS: Mapping[str, Parser[UseKey]] = {"key": _use_key}
"""By what a head says to do."""
