"""What a Python function is given, for editors, type checkers and its own tests.

A function's module may import this; it is there inside an enclave, too.

Example:
    from casemate.guest import Context

    def add(input: list[float], context: Context) -> float:
        return sum(input)

What comes in (arguments, answers of the host, values of the state) is ``Any``: the manifest's schemas say what it is.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol, TypedDict, TypeVar, final

__all__ = [
    "ABSENT",
    "Absent",
    "AppraisalError",
    "AsyncChunks",
    "CallError",
    "Caller",
    "Chunks",
    "Claims",
    "CodeError",
    "Context",
    "EnclaveError",
    "Json",
    "Keys",
    "Policy",
    "PublicKey",
    "Ran",
    "Refusal",
    "RunMetrics",
    "State",
]

Json = None | bool | int | float | str | list[Any] | tuple[object, ...] | Mapping[str, object]
"""A value that can be told as JSON: ``None``, numbers, texts, and lists, tuples and dictionaries of such.

A ``TypedDict`` is a dictionary; ``bytes``, sets and other sequences are refused.

The names in dictionaries are texts, integers lie within 2^53 - 1 either way, and numbers are finite. What is in a list
or dictionary is looked at when it is told, not by type checkers.
"""

Policy = Literal["mrenclave", "mrsigner"]
"""Who can open a seal: this very code, or each version that the same developer signs."""

Default = TypeVar("Default")


@final
class Absent:
    """The type of :data:`ABSENT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Stands for "no value" where ``None`` is a value: JSON's null."""


class EnclaveError(Exception):
    """The enclave, or through it the host, refuses what the function has asked for.

    Args:
        code: what it is, for programs.
        message: the same for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """``ocall-refused``, ``state-limit``, ``state-refused``, ``state-conflict``, ``state-rolled-back``,
        ``unavailable``; ``guest-error`` for a mistake of the function's own, such as a permission that it lacks."""


class CallError(EnclaveError):
    """Another enclave, called by :meth:`Context.call`, has refused or failed.

    Args:
        code: the name of an error that its manifest declares; or ``guest-error``, ``caller-refused``,
            ``arguments-refused``, ``time-limit``, ``call-cycle``, ``call-depth`` and what else ends a call.
        message: its words.
        service: NAME of ``[uses.NAME]``.
        operation: the entry point there.
        details: what goes with a declared error; None where nothing does.
    """

    def __init__(self, code: str, message: str, service: str, operation: str, details: Any = None) -> None:
        super().__init__(code, message)
        self.service = service
        self.operation = operation
        self.details = details


class RunMetrics(TypedDict):
    """What a run has used."""

    wall_us: int
    """Microseconds from the moment that its process was there."""
    cpu_us: int | None
    """Microseconds that it computed; None where nobody can tell, as of one that was ended."""
    peak_kib: int | None
    """The most memory that it had; None where nobody can tell."""


class Ran(TypedDict):
    """What :meth:`Context.run` gives."""

    result: Any
    code_sha256: str
    """SHA-256 of what ``sha256sum`` prints for the sources in the order of their paths."""
    metrics: RunMetrics


class CodeError(EnclaveError):
    """Code that :meth:`Context.run` has run ended without a result.

    Args:
        code: ``code-refused``, ``guest-error``, ``guest-crashed``, ``time-limit``, ``memory-limit``, ``output-limit``,
            ``result-refused``, ``unavailable``.
        message: in the words of the code's own exceptions, and with their place.
        code_sha256: as in :class:`Ran`.
        metrics: as there.
    """

    def __init__(self, code: str, message: str, code_sha256: str, metrics: RunMetrics) -> None:
        super().__init__(code, message)
        self.code_sha256 = code_sha256
        self.metrics = metrics


class AppraisalError(EnclaveError):
    """Evidence of another enclave does not meet a policy; its ``code`` is ``appraisal-refused``.

    Args:
        message: in words.
        rule: the first rule that does not hold, by the name that the verifier's documents have for it; or
            ``nonce.drawn``, ``evidence.form``, ``memory.evaluation-number``, ``memory.list-number``.
        got: what the evidence has.
        want: what would be accepted.
    """

    def __init__(self, message: str, rule: str, got: str, want: str) -> None:
        super().__init__("appraisal-refused", message)
        self.rule = rule
        self.got = got
        self.want = want


class Claims(dict[str, Any]):
    """What verified evidence says, and the enclave's way to seal for whoever it is of. Given by ``context.appraise``.

    Args:
        members: the claims.
        seal: asks the enclave.
    """

    __slots__ = ("_seal",)

    def __init__(self, members: Mapping[str, Any], seal: Callable[[object], str]) -> None:
        super().__init__(members)
        self._seal = seal

    def seal(self, value: Json) -> str:
        """A text (base64) that only this launch of the appraised enclave can open, with :meth:`Context.open`.

        Raises:
            EnclaveError: ``guest-error``: the policy does not have the evidence bind a nonce, and so no key.
        """
        return self._seal(value)


class Refusal(Exception):  # noqa: N818 - it is no error of the function's, but an answer to its caller
    """Raised by a function, it ends the call with an error that the manifest declares: see :meth:`Context.refuse`.

    Args:
        code: a name in ``[errors]``.
        details: for the caller, as the schema of that error says.
    """

    def __init__(self, code: str, details: Json = None) -> None:
        super().__init__(code)
        self._code = code
        self._details = details

    @property
    def code(self) -> str:
        """The name in ``[errors]``."""
        return self._code

    @property
    def details(self) -> Json:
        """For the caller; None for none."""
        return self._details


class Caller(Protocol):
    """Who calls: the enclave has verified the signature over this very call."""

    @property
    def name(self) -> str | None:
        """The name in ``[callers]``; None for a key that the manifest does not name."""

    @property
    def key(self) -> str:
        """``ed25519:`` and the base64 of the public key.

        Of another enclave ``enclave:`` and 64 hexadecimal digits, the same for all versions of its signer's product in
        one deployment.
        """

    @property
    def enclave(self) -> Mapping[str, Any] | None:
        """Of another enclave what its evidence proves; None for a caller who signs.

        ``tee``, ``measurement``, ``mr_signer``, ``product_id``, ``security_version``, ``debug``, ``deployment``; hashes
        in hexadecimal.
        """


class PublicKey(NamedTuple):
    """The public half of a key: what :meth:`Keys.public` gives."""

    algorithm: str
    purpose: str
    version: int
    versions: list[int]
    """All that are kept."""
    spki: bytes
    """SubjectPublicKeyInfo in DER."""


class Keys(Protocol):
    """Keys that the manifest names under ``[keys.NAME]``: they are made inside, and never leave.

    ``data`` has at most 1 MiB, as bytes or a text (UTF-8); what goes with it at most 64 KiB. Each method raises
    :class:`EnclaveError`: ``guest-error`` for a name that there is not, or another purpose; and as the state does.
    What happens to a key stays, also where the call fails.
    """

    def sign(self, name: str, data: bytes | str) -> bytes:
        """A signature of the newest version."""

    def verify(self, name: str, data: bytes | str, signature: bytes, *, version: int | None = None) -> bool:
        """Whether a signature (or a tag, of a key for ``mac``) is of this version, or of any that is kept."""

    def mac(self, name: str, data: bytes | str) -> bytes:
        """A tag: 32 bytes."""

    def encrypt(self, name: str, data: bytes | str, associated: bytes | str = b"") -> bytes:
        """A text that only :meth:`decrypt` opens, with the same associated data; 85 bytes longer than the data."""

    def decrypt(self, name: str, text: bytes, associated: bytes | str = b"") -> bytes:
        """The data in a text, of any version that is kept; ``cannot-open`` where none has made it so."""

    def derive(self, name: str, info: bytes | str, *, length: int | None = None, version: int | None = None) -> bytes:
        """A key for what ``info`` says: 32 bytes, or 16 to 1024. The same each time, until the key is rotated."""

    def agree(self, name: str, peer: bytes, info: bytes | str = b"", *, version: int | None = None) -> bytes:
        """32 bytes that only the owners of both keys have; ``peer`` is the other's public half, as ``spki`` here."""

    def public(self, name: str, *, version: int | None = None) -> PublicKey:
        """The public half of a key for ``sign`` or ``agree``."""

    def rotate(self, name: str) -> int:
        """Makes a new version, the newest from now on; its number. Old ones go on verifying and opening."""

    def retire(self, name: str, version: int) -> bool:
        """Forgets an old version for good; whether it was there."""


class State(Protocol):
    """What outlives call and enclave: keys (1 to 256 bytes of UTF-8) and values (at most 1 MiB of JSON).

    All changes of a call are kept together when it returns, or none. Each method raises :class:`EnclaveError`:
    ``state-limit`` is the function's to handle; after any other the call fails whatever it returns.
    ``TypeError`` and ``ValueError`` are mistakes of the function's own.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` where there is none; :data:`ABSENT` as the default tells null from none."""

    def put(self, key: str, value: Json) -> None:
        """Sets a value; ``None`` is one."""

    def delete(self, key: str) -> bool:
        """Removes a key; whether it was there."""

    def list(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> list[str]:
        """The keys with that prefix, in the order of their UTF-8 bytes.

        Args:
            prefix: may be empty.
            after: begin behind this key.
            limit: most keys, 1 to 10000.
        """

    def compare_and_set(self, key: str, expected: Json | Absent, value: Json | Absent) -> bool:
        """Sets a value if the present one equals ``expected``; whether it did.

        :data:`ABSENT` stands for "not there", either way; ``None`` is the value null.
        """


class Context(Protocol):
    """What a function can ask for while its call lasts; each method raises ``RuntimeError`` afterwards."""

    @property
    def entry(self) -> str:
        """The entry point's name."""

    @property
    def caller(self) -> Caller | None:
        """Who calls; None where nobody signed."""

    @property
    def state(self) -> State:
        """What outlives the call; needs ``[state]`` in the manifest."""

    @property
    def keys(self) -> Keys:
        """Keys that never leave the enclave; needs ``[keys.NAME]`` in the manifest."""

    @property
    def trace(self) -> str | None:
        """32 hexadecimal digits, the same in all calls that one client's call leads to; no secret.

        None in code that a caller has brought.
        """

    @property
    def deadline(self) -> int | None:
        """How long the call may take from its beginning (ms): the manifest's limit, or what its caller has left."""

    @property
    def config(self) -> Any:
        """The service's configuration, a fresh value each time; None where there is none."""

    @property
    def permissions(self) -> tuple[str, ...]:
        """The names of the permissions that the manifest grants, sorted."""

    def ocall(self, name: str, argument: Json = None) -> Any:
        """Asks the host, whom nobody trusts; needs ``[ocall.NAME]`` in the manifest.

        Raises:
            EnclaveError: ``ocall-refused``.
        """

    def seal(self, value: Json, policy: Policy) -> str:
        """A text (base64) that only an enclave of the same identity can open; needs the permission ``seal``."""

    def unseal(self, text: str) -> Any:
        """The value in a text that :meth:`seal` has made; needs the permission ``seal``.

        Raises:
            EnclaveError: ``state-refused``: it is no such text.
        """

    def call(self, service: str, operation: str, argument: Json = None) -> Any:
        """Calls another enclave, which this one has appraised; needs ``[uses.NAME]`` in the manifest.

        Args:
            service: NAME of the table.
            operation: one of its ``operations``.
            argument: for it, as its schema says.

        Returns:
            Its result.

        Raises:
            CallError: it has refused the call, or failed.
            EnclaveError: ``peer-refused``: it is not what the manifest demands; ``call-depth``; ``time-limit``;
                ``unavailable``: its host does not reach it; ``busy``; ``guest-error``: the manifest does not allow it.
        """

    def run(
        self,
        engine: str,
        code: str | Mapping[str, str],
        entry: str,
        argument: Json = None,
        limits: Mapping[str, int] | None = None,
    ) -> Ran:
        """Runs code that a caller has brought, in a guest of its own that has nothing; needs ``[run]`` in the manifest.

        Args:
            engine: ``"javascript"`` or ``"python"``, as far as the manifest allows them.
            code: a source, or sources by their paths, of which ``main.js`` or ``main.py`` has the entry.
            entry: the function's name; it is called as an entry point is, and may ask for nothing.
            argument: for it.
            limits: ``time_ms``, ``memory_mib``, ``output_kib``: as far as the manifest allows, or less.

        Raises:
            CodeError: the code ended without a result.
            EnclaveError: ``guest-error``: the manifest does not allow it; ``busy``.
        """

    def nonce(self) -> str:
        """A nonce (64 hexadecimal digits) for another enclave's evidence; needs ``[appraise]`` in the manifest.

        It is good for one appraisal by a call of the same caller, within five minutes.
        """

    def appraise(
        self, evidence: Mapping[str, object], policy: str | Mapping[str, object], nonce: str | None = None
    ) -> Claims:
        """Appraises another enclave's evidence inside this one; needs ``[appraise]`` in the manifest.

        Args:
            evidence: as the HTTP API gives it.
            policy: a name in ``[appraise] policies``; or a policy: TOML or JSON as a text, or an object.
            nonce: what :meth:`nonce` has drawn; None where the policy says itself what REPORTDATA is.

        Raises:
            AppraisalError: a rule does not hold.
            EnclaveError: ``guest-error``: the policy is none, or gives up more than the manifest allows;
                ``time-limit``; ``busy``.
        """

    def open(self, text: str) -> Any:
        """What another enclave has sealed with :meth:`Claims.seal` for this launch of this one.

        Nothing says who has sealed it, or when.

        Raises:
            EnclaveError: ``cannot-open``: it was sealed for another, or has changed.
        """

    def finish(self, result: Json) -> None:
        """Gives a stream that is an asynchronous generator its result, after its last ``yield``; null without this.

        Everywhere else ``return`` gives the result.

        Example:
            context.finish({"words": words})

        Raises:
            RuntimeError: this is no asynchronous generator, or it has a result.
        """

    def refuse(self, code: str, details: Json = None) -> Refusal:
        """What to raise to refuse the call with an error that the manifest declares.

        Example:
            raise context.refuse("budget-spent", {"until": "2027-01-01"})

        Raises:
            ValueError: ``[errors]`` declares no such name.
            TypeError: the details are not JSON.
        """


Chunks = Iterator[bytes]
"""The input of a stream that is a generator: pieces of at most 1 MiB.

A generator can wait only where it yields. Where the next piece is not there yet, it is given an empty one, and the step
ends at its next ``yield``, be it of ``b""``. To take two pieces without a ``yield`` between them is an error.
"""

AsyncChunks = AsyncIterator[bytes]
"""The input of a stream that is an asynchronous generator: pieces of 1 byte to 1 MiB, waited for."""
