"""``context``: what a function can ask for while its call lasts.

The enclave checks each question again, and ends a guest for a bad one. The checks here turn the same mistakes of an
honest program into exceptions that it can catch.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from casemate.engines.frames import FrameKind
from casemate.engines.python.bootstrap.console import not_granted
from casemate.engines.python.bootstrap.json_text import UntellableError, decode, text_of
from casemate.engines.python.bootstrap.program import Grants, Limits
from casemate.engines.questions.calls import LONGEST_NAME
from casemate.engines.questions.keys import MAX_BESIDE, MAX_KEY_DATA, MAX_OPENED_TEXT, KeyUse
from casemate.guest import (
    ABSENT,
    Absent,
    AppraisalError,
    CallError,
    Claims,
    CodeError,
    EnclaveError,
    PublicKey,
    Ran,
    Refusal,
)
from casemate.wire.protocol.faults import Code
from casemate.wire.protocol.sealed_secret import MAX_SECRET_TEXT


class Asker(Protocol):
    """Asks the enclave."""

    def ask(self, call: bytes, kind: FrameKind, head: dict[str, object], text: bytes) -> Any:
        """The enclave's answer, a JSON value, or :data:`ABSENT` where it sends nothing.

        Raises:
            EnclaveError: it refuses.
            RuntimeError: the call is over.
        """

    def check_is_under_way(self, call: bytes) -> None:
        """Raises ``RuntimeError`` where this call, or this stream's step, is over."""


class KnownCaller(NamedTuple):
    """``context.caller``."""

    name: str | None
    key: str
    enclave: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, repr=False)
class CallState:
    """``context.state`` of one call."""

    _asker: Asker
    _call: bytes
    _limits: Limits

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` where there is none."""
        found = self._ask({"do": "get", "key": self._key(key)})
        return default if found is ABSENT else found

    def put(self, key: str, value: object) -> None:
        """Sets a value."""
        self._ask({"do": "put", "key": self._key(key)}, _value(value, "the value", self._limits))

    def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""
        return bool(self._ask({"do": "delete", "key": self._key(key)}))

    def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> list[str]:
        """The keys with that prefix, in the order of their UTF-8 bytes."""
        if type(limit) is not int:
            raise TypeError(f"limit is {type(limit).__name__}, want an integer from 1 to {self._limits.listed}")
        if not 1 <= limit <= self._limits.listed:
            raise ValueError(f"limit is {limit}, want an integer from 1 to {self._limits.listed}")
        start = None if after is None else _key(after, "after", 0, self._limits)
        head: dict[str, object] = {
            "do": "list",
            "prefix": _key(prefix, "a prefix", 0, self._limits),
            "after": start,
            "limit": limit,
        }
        found: list[str] = self._ask(head)
        return found

    def compare_and_set(self, key: str, expected: object, value: object) -> bool:
        """Sets a value if the present one is what is expected; :data:`ABSENT` stands for "not there"."""
        old = None if isinstance(expected, Absent) else _value(expected, "the expected value", self._limits)
        new = None if isinstance(value, Absent) else _value(value, "the value", self._limits)
        sizes = {"expected": None if old is None else len(old), "value": None if new is None else len(new)}
        head: dict[str, object] = {"do": COMPARE_AND_SET, "key": self._key(key), **sizes}
        return bool(self._ask(head, (old or b"") + (new or b"")))

    def _ask(self, head: dict[str, object], text: bytes = b"") -> Any:
        return self._asker.ask(self._call, FrameKind.WANTED, head, text)

    def _key(self, key: str) -> str:
        return _key(key, "a key of the state", 1, self._limits)


@dataclass(frozen=True, slots=True, repr=False)
class CallKeys:
    """``context.keys`` of one call."""

    _asker: Asker
    _call: bytes

    def sign(self, name: str, data: bytes | str) -> bytes:
        """A signature of the newest version."""
        return self._bytes(KeyUse.SIGN, name, data)

    def verify(self, name: str, data: bytes | str, signature: bytes, *, version: int | None = None) -> bool:
        """Whether a signature or a tag is the key's."""
        return bool(self._ask(KeyUse.VERIFY, name, data, signature, version=version))

    def mac(self, name: str, data: bytes | str) -> bytes:
        """A tag."""
        return self._bytes(KeyUse.MAC, name, data)

    def encrypt(self, name: str, data: bytes | str, associated: bytes | str = b"") -> bytes:
        """A text that only :meth:`decrypt` opens."""
        return self._bytes(KeyUse.ENCRYPT, name, data, associated)

    def decrypt(self, name: str, text: bytes, associated: bytes | str = b"") -> bytes:
        """The data in a text."""
        return self._bytes(KeyUse.DECRYPT, name, text, associated)

    def derive(self, name: str, info: bytes | str, *, length: int | None = None, version: int | None = None) -> bytes:
        """A key for a purpose."""
        return self._bytes(KeyUse.DERIVE, name, info, version=version, length=length)

    def agree(self, name: str, peer: bytes, info: bytes | str = b"", *, version: int | None = None) -> bytes:
        """A secret shared with the owner of another key."""
        return self._bytes(KeyUse.AGREE, name, peer, info, version=version)

    def public(self, name: str, *, version: int | None = None) -> PublicKey:
        """The public half."""
        said: dict[str, Any] = self._ask(KeyUse.PUBLIC, name, version=version)
        said["spki"] = base64.b64decode(said["spki"])
        return PublicKey(**said)

    def rotate(self, name: str) -> int:
        """Makes a new version."""
        return int(self._ask(KeyUse.ROTATE, name))

    def retire(self, name: str, version: int) -> bool:
        """Forgets an old version."""
        return bool(self._ask(KeyUse.RETIRE, name, version=version))

    def _bytes(
        self, use: KeyUse, name: str, data: bytes | str, beside: bytes | str = b"", **numbers: int | None
    ) -> bytes:
        return base64.b64decode(self._ask(use, name, data, beside, **numbers))

    def _ask(
        self, use: KeyUse, name: str, data: bytes | str = b"", beside: bytes | str = b"", **numbers: int | None
    ) -> Any:
        if not isinstance(name, str):
            raise TypeError(f"a key's name is {type(name).__name__}, want a text")
        most = MAX_OPENED_TEXT if use is KeyUse.DECRYPT else MAX_KEY_DATA
        first, second = _octets(data, "what a key is used on", most), _octets(beside, "what goes with it", MAX_BESIDE)
        shown = name[:MAX_KEY_NAME_SHOWN].encode(errors="replace").decode()
        head: dict[str, object] = {"do": "key", "use": use.value, "key": shown, "size": len(first)}
        head |= {what: _number(value, f"a {what}") for what, value in numbers.items()}
        return self._asker.ask(self._call, FrameKind.WANTED, head, first + second)


MAX_KEY_NAME_SHOWN = 256
"""A key's name is cut after so many characters; none that exists is as long."""
_MAX_NUMBER = (1 << 32) - 1


def _octets(data: bytes | str, what: str, most: int) -> bytes:
    if isinstance(data, str):
        data = data.encode()
    elif not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"{what} is {type(data).__name__}, want bytes or a text")
    if len(data) > most:
        raise ValueError(f"{what} has {len(data)} bytes, want at most {most}")
    return bytes(data)


def _number(value: int | None, what: str) -> int | None:
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError(f"{what} is {type(value).__name__}, want an integer")
    if not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{what} is {value}, want 0 to {_MAX_NUMBER}")
    return value


class Ending:
    """The result of an asynchronous generator, for which Python's ``return`` takes none."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text: bytes | None = None
        """JSON, once it is given."""


COMPARE_AND_SET = "compare-and-set"
"""The question's name in frames."""


@dataclass(frozen=True, slots=True, repr=False)
class CallContext:
    """``context`` of one call, or of a stream."""

    entry: str
    caller: KnownCaller | None
    state: CallState
    keys: CallKeys
    _asker: Asker = field(compare=False)
    _call: bytes
    _limits: Limits
    _grants: Grants
    trace: str | None = None
    deadline: int | None = None
    _config: str = "null"
    _ending: Ending | None = field(default=None, compare=False)
    """None where ``return`` gives the result."""

    @property
    def config(self) -> Any:
        """The service's configuration, a fresh value each time; None where there is none."""
        return decode(self._config.encode())

    @property
    def permissions(self) -> tuple[str, ...]:
        """The names of those that the manifest grants."""
        return tuple(sorted(self._grants.permissions))

    def ocall(self, name: str, argument: object = None) -> Any:
        """Asks the host."""
        if not isinstance(name, str):
            raise TypeError(f"an OCALL's name is {type(name).__name__}, want a text")
        try:
            text = text_of(argument, self._limits.ocall, "the OCALL's argument")
        except UntellableError as error:
            raise _mistake(error) from None
        answer = self._asker.ask(self._call, FrameKind.ASKED, {"name": name.encode(errors="replace").decode()}, text)
        return None if answer is ABSENT else answer

    def seal(self, value: object, policy: str) -> str:
        """A text that only an enclave of the same identity can open."""
        self._check_may_seal()
        if policy not in ("mrenclave", "mrsigner"):
            raise ValueError('a policy is "mrenclave" or "mrsigner"')
        text = _value(value, "the value", self._limits)
        sealed: str = self._asker.ask(self._call, FrameKind.WANTED, {"do": "seal", "policy": policy}, text)
        return sealed

    def unseal(self, text: str) -> Any:
        """The value in a text that :meth:`seal` has made."""
        self._check_may_seal()
        if not isinstance(text, str):
            raise TypeError(f"a sealed text is {type(text).__name__}, want a text")
        if len(text) > self._limits.sealed or not text.isascii():
            raise EnclaveError(Code.STATE_REFUSED.value, "no text that seal has made")
        return self._asker.ask(self._call, FrameKind.WANTED, {"do": "unseal"}, text.encode())

    def call(self, service: str, operation: str, argument: object = None) -> Any:
        """Has the enclave call another one."""
        for name in (service, operation):
            if not isinstance(name, str):
                raise TypeError(f"a name is {type(name).__name__}, want a text: NAME of [uses.NAME], and an operation")
            if len(name) > LONGEST_NAME:
                raise ValueError(f"a name has {len(name)} characters, want at most {LONGEST_NAME}")
        try:
            text = text_of(argument, 2 * self._limits.value, "the argument")
        except UntellableError as error:
            raise _mistake(error) from None
        names = [name.encode(errors="replace").decode() for name in (service, operation)]
        head: dict[str, object] = {"do": "call", "service": names[0], "operation": names[1]}
        said = self._asker.ask(self._call, FrameKind.WANTED, head, text)
        failed = said.get("error")
        if failed is not None:
            raise CallError(failed["code"], failed["message"], service, operation, failed["details"])
        return said["result"]

    def run(
        self,
        engine: str,
        code: str | Mapping[str, str],
        entry: str,
        argument: object = None,
        limits: Mapping[str, int] | None = None,
    ) -> Ran:
        """Has the enclave run code that a caller has brought."""
        sources = code if isinstance(code, str) else dict(code)
        try:
            asked = [engine, sources, entry, argument, dict(limits or {})]
            text = text_of(asked, 2 * self._limits.value, "what to run")
        except UntellableError as error:
            raise _mistake(error) from None
        said = self._asker.ask(self._call, FrameKind.WANTED, {"do": "run"}, text)
        failed = said.pop("error", None)
        if failed is not None:
            raise CodeError(failed["code"], failed["message"], said["code_sha256"], said["metrics"])
        ran: Ran = said
        return ran

    def nonce(self) -> str:
        """Draws a nonce for evidence."""
        drawn: str = self._asker.ask(self._call, FrameKind.WANTED, {"do": "nonce"}, b"")
        return drawn

    def appraise(
        self, evidence: Mapping[str, object], policy: str | Mapping[str, object], nonce: str | None = None
    ) -> Claims:
        """Has the enclave appraise another one's evidence."""
        asked = [evidence, policy if isinstance(policy, str) else dict(policy), nonce]
        said = self._asker.ask(self._call, FrameKind.WANTED, {"do": "appraise"}, self._told(asked, "what to appraise"))
        failed = said.get("error")
        if failed is not None:
            raise AppraisalError(failed["message"], failed["rule"], failed["got"], failed["want"])
        head: dict[str, object] = {"do": "seal-for", "claims": said["number"]}

        def seal(value: object) -> str:
            sealed: str = self._asker.ask(self._call, FrameKind.WANTED, head, self._told(value, "the value"))
            return sealed

        return Claims(said["claims"], seal)

    def open(self, text: str) -> Any:
        """The value that another enclave has sealed for this one."""
        if not isinstance(text, str):
            raise TypeError(f"a sealed secret is {type(text).__name__}, want a text")
        if len(text) > MAX_SECRET_TEXT or not text.isascii():
            raise EnclaveError(Code.CANNOT_OPEN.value, "no text that claims.seal has made")
        return self._asker.ask(self._call, FrameKind.WANTED, {"do": "open"}, text.encode())

    def _told(self, value: object, what: str) -> bytes:
        try:
            return text_of(value, 2 * self._limits.value, what)
        except UntellableError as error:
            raise _mistake(error) from None

    def finish(self, result: object) -> None:
        """Gives an asynchronous generator its result, which is told as it is now."""
        if self._ending is None:
            raise RuntimeError("context.finish is for asynchronous generators alone: here, return gives the result")
        self._asker.check_is_under_way(self._call)
        if self._ending.text is not None:
            raise RuntimeError("context.finish has been called before, and a stream has one result: call it once")
        self._ending.text = text_of(result, self._limits.output, "the result")

    def refuse(self, code: str, details: object = None) -> Refusal:
        """What to raise to refuse the call with an error that the manifest declares, with details as they are now."""
        refusal = Refusal(code, details)  # type: ignore[arg-type] # looked at in the next line
        text = refusal_of(refusal, self._limits, self._grants)[1]
        return Refusal(code, decode(text) if text else None)

    def _check_may_seal(self) -> None:
        if "seal" not in self._grants.permissions:
            raise EnclaveError(Code.GUEST_ERROR.value, not_granted("seal"))


def context_of(asker: Asker, call: bytes, head: dict[str, Any], limits: Limits, grants: Grants) -> CallContext:
    """The context of a call with this head.

    Args:
        asker: asks the enclave.
        call: its number.
        head: ``entry``; ``caller`` as ``{name, key}`` or null; ``trace``, ``timeMs``, ``config``: where there are any.
        limits: of what it says.
        grants: what it may.
    """
    caller = head["caller"]
    known = None if caller is None else KnownCaller(caller.get("name"), caller.get("key"), caller.get("enclave"))
    state, keys = CallState(asker, call, limits), CallKeys(asker, call)
    about = head.get("trace"), head.get("timeMs"), head.get("config", "null")
    return CallContext(head["entry"], known, state, keys, asker, call, limits, grants, *about)


def refusal_of(refusal: Refusal, limits: Limits, grants: Grants) -> tuple[str, bytes]:
    """Name and details (JSON, empty for none) of a refusal.

    Raises:
        ValueError: it is not declared, or too long.
        TypeError: its code is no text, or its details are not JSON.
    """
    code, details = getattr(refusal, "code", None), getattr(refusal, "details", None)  # a class derived may lack them
    if not isinstance(code, str):
        raise TypeError(f"a refusal's code is {type(code).__name__}, want a text")
    if code not in grants.errors:
        known = ", ".join(sorted(grants.errors)) or "none"
        raise ValueError(f"{code!r:.80} is no error that [errors] in casemate.toml declares, which are: {known}")
    if details is None:
        return code, b""
    try:
        return code, text_of(details, limits.output, "what the refusal tells")
    except UntellableError as error:
        raise _mistake(error) from None


def _mistake(error: UntellableError) -> Exception:
    """What the program gets for a value that cannot be told."""
    return (ValueError if error.code is Code.OUTPUT_LIMIT else TypeError)(str(error))


def _key(key: str, what: str, least: int, limits: Limits) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{what} is {type(key).__name__}, want a text")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a lone surrogate") from None
    if not least <= size <= limits.key:
        raise EnclaveError(Code.STATE_LIMIT.value, f"{what} has {size} bytes of UTF-8, want {least} to {limits.key}")
    return key


def _value(value: object, what: str, limits: Limits) -> bytes:
    try:
        return text_of(value, limits.value, what)
    except UntellableError as error:
        if error.code is Code.OUTPUT_LIMIT:
            raise EnclaveError(Code.STATE_LIMIT.value, str(error)) from None
        raise TypeError(str(error)) from None
