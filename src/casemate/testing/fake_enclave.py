"""What a Python function is given in an enclave, for unit tests without one.

Example:
    from casemate.testing.fake_enclave import FakeEnclave
    from main import increment

    def test_each_caller_has_a_counter() -> None:
        enclave = FakeEnclave(ocalls={"time": lambda argument: {"unix_ms": 0}})
        assert enclave.call(increment, {}, caller="alice") == {"count": 1}
        assert enclave.state == {"count/alice": 1}

``context`` is that of a guest, and the state that of an enclave, with their limits and refusals. Schemas are not looked
at, every caller is admitted, and nothing is limited in time: that is the manifest's part, for tests in an enclave.
"""

import base64
import json
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple, cast

from casemate.enclave.capabilities.brought_code import sha256_of
from casemate.enclave.capabilities.key_rings import KeyRing, rules_for, use_key
from casemate.enclave.capabilities.registry import NO_APPRAISE, NO_KEYS, NO_RUN, NO_USES
from casemate.enclave.store.answers import answer_of
from casemate.enclave.store.state import State
from casemate.enclave.store.transaction import Transaction
from casemate.engines.frames import FrameKind
from casemate.engines.python.bootstrap.console import Console
from casemate.engines.python.bootstrap.context import CallContext, KnownCaller, context_of, refusal_of
from casemate.engines.python.bootstrap.event_loop import GuestLoop
from casemate.engines.python.bootstrap.json_text import UntellableError, decode, text_of
from casemate.engines.python.bootstrap.limits import STEP_TIME
from casemate.engines.python.bootstrap.program import Grants, Limits
from casemate.engines.python.bootstrap.streams import opened
from casemate.engines.questions import parse_question
from casemate.engines.questions.appraisals import Appraise, DrawNonce, OpenSecret, SealFor
from casemate.engines.questions.calls import CallOther
from casemate.engines.questions.keys import KeyUse, UseKey
from casemate.engines.questions.runs import Run
from casemate.engines.questions.seals import MAX_SEALED_TEXT, Seal, Unseal
from casemate.engines.questions.state import MAX_LISTED, StateQuestion
from casemate.engines.registry import PYTHON
from casemate.guest import ABSENT, AppraisalError, EnclaveError, Refusal
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.protocol.call import StateMark
from casemate.wire.protocol.capabilities.keys import Algorithm, KeyRules, Purpose
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.protocol.manifest import Permission
from casemate.wire.protocol.peers import TRACE_SIZE
from casemate.wire.protocol.state_changes import MAX_KEY, MAX_VALUE

__all__ = ["FakeEnclave", "Streamed", "UntellableError", "key_of", "stranger"]

MAX_KIB = 64 * 1024
"""Largest state that a manifest can allow (KiB)."""


def key_of(name: str) -> str:
    """The key of a caller who is called that."""
    return f"ed25519:{base64.b64encode(name.encode()[:32].ljust(32, b'0')).decode()}"


def stranger(name: str) -> KnownCaller:
    """A caller who signs with a key that the manifest does not name."""
    return KnownCaller(None, key_of(name))


class Streamed(NamedTuple):
    """How a stream ended."""

    data: bytes
    result: Any


class FakeEnclave:
    """An enclave's part in calls of Python functions; calls come one after the other.

    Args:
        ocalls: the host's answers: functions of the argument, by the names of OCALLs. Each other one is refused.
        permissions: those of the manifest; all of them unless said otherwise.
        errors: the names in the manifest's ``[errors]``.
        max_kib: that of the manifest's ``[state]``; None where it has no such table.
        output_kib: that of the manifest's ``[limits]``.
        runs: stands for code that callers bring: a function of engine, code, entry, argument and limits, which returns
            its result or raises :class:`CodeError`; None where the manifest has no ``[run]``.
        others: stand for other enclaves, by NAME of ``[uses.NAME]``: functions of an operation and its argument, which
            return its result or raise :class:`CallError`; None where the manifest has no such table.
        keys: the manifest's ``[keys.NAME]``, by name: purpose and algorithm. They work as in an enclave.
        appraises: stands for the verifier: a function of evidence and policy, which returns the claims or raises
            :class:`AppraisalError`; None where the manifest has no ``[appraise]``.
        configuration: the service's; None where there is none.
    """

    def __init__(
        self,
        *,
        ocalls: Mapping[str, Callable[[Any], object]] | None = None,
        permissions: Iterable[str] = tuple(Permission),
        errors: Iterable[str] = (),
        max_kib: int | None = MAX_KIB,
        output_kib: int = 16 * 1024,
        runs: Callable[[str, Any, str, Any, dict[str, int]], object] | None = None,
        others: Mapping[str, Callable[[str, Any], object]] | None = None,
        appraises: Callable[[Any, Any], dict[str, Any]] | None = None,
        keys: Mapping[str, tuple[str, str]] | None = None,
        configuration: Any = None,
    ) -> None:
        self.configuration = configuration
        """The service's, in calls from now on."""
        self._keys = {
            name: KeyRules(name, Purpose(purpose), Algorithm(algorithm))
            for name, (purpose, algorithm) in (keys or {}).items()
        }
        self._rings: dict[str, KeyRing] = {}
        self._appraises = appraises
        self._nonces: set[str] = set()
        self._secrets: dict[str, bytes] = {}
        self._others = others
        self._runs = runs
        self._ocalls = dict(ocalls or {})
        self._grants = Grants(frozenset(map(str, permissions)), frozenset(errors))
        self._limits = Limits(output_kib * 1024, MAX_OCALL, MAX_VALUE, MAX_KEY, MAX_SEALED_TEXT, MAX_LISTED)
        self._store = None if max_kib is None else _Store(max_kib * 1024)
        self._sealed: dict[str, bytes] = {}
        self._call: _Call | None = None
        self.printed: list[str] = []
        """The lines that functions have printed."""

    @property
    def state(self) -> dict[str, Any]:
        """The values that calls have committed, by key."""
        return (
            {}
            if self._store is None
            else {one.key: json.loads(one.value or b"") for one in self._store.state.changes()}
        )

    @property
    def epoch(self) -> int:
        """How often the state has been changed."""
        return 0 if self._store is None else self._store.mark.epoch

    def call(
        self, function: Callable[..., Any], argument: object = None, *, caller: str | KnownCaller | None = None
    ) -> Any:
        """What a function returns, as its caller gets it; what it changes is committed then.

        Args:
            function: an entry point.
            argument: what the caller sends: JSON.
            caller: a name stands for a caller of that name, None for one who did not sign.

        Raises:
            Refusal: the function refuses the call, with an error that is declared.
            UntellableError: its result is not JSON, or too long.
            EnclaveError: its state is of no use any more.
            Exception: what the function raises. Nothing is committed after any of them.
        """
        with self._calling(function, caller) as context:
            loop = GuestLoop()
            try:
                returned = function(_copied(argument), context)
                if isinstance(returned, Awaitable):
                    returned = loop.outcome(returned)
                return decode(text_of(returned, self._limits.output, "the result"))
            finally:
                loop.abandon()

    def stream(
        self,
        function: Callable[..., Any],
        argument: object = None,
        chunks: Iterable[bytes] = (),
        *,
        caller: str | KnownCaller | None = None,
    ) -> Streamed:
        """What a stream yields and returns, stepped through as an enclave does.

        Args:
            function: a generator, asynchronous or not.
            argument: what the caller sends: JSON.
            chunks: the input.
            caller: as for :meth:`call`, and so are the errors.
        """
        pieces, data = iter(chunks), []
        with self._calling(function, caller) as context:
            running, output = opened(function, _copied(argument), context, lambda _what, _thrown: None)
            try:
                while running.advance(time.monotonic() + STEP_TIME):
                    is_hungry = running.wants_input and not output.is_full
                    data.append(output.taken())
                    output.refill()
                    if is_hungry:
                        piece = next(pieces, None)
                        running.leave() if piece is None else running.feed(piece)
                data.append(output.taken())
                return Streamed(b"".join(data), decode(running.result(self._limits.output)))
            finally:
                running.close()

    def ask(self, call: bytes, kind: FrameKind, head: dict[str, object], text: bytes) -> Any:
        """For ``context``: the enclave's answer."""
        current = self._under_way(call)
        try:
            if kind == FrameKind.ASKED:
                return self._ocall(str(head["name"]), text)
            question = parse_question(head, text)
            if isinstance(question, Seal):
                return self._seal(question)
            if isinstance(question, Unseal):
                return self._unseal(question)
            if isinstance(question, Run):
                return self._run(question)
            if isinstance(question, CallOther):
                return self._call_other(question)
            if isinstance(question, UseKey):
                return self._use_key(question)
            if isinstance(question, DrawNonce | Appraise | SealFor | OpenSecret):
                return self._answer_of_verifier(question)
            return current.answer(question, self._store)
        except FaultError as error:
            raise EnclaveError(error.fault.code.value, error.fault.reason) from None

    def check_is_under_way(self, call: bytes) -> None:
        """For ``context``: raises where a call is over."""
        self._under_way(call)

    def _under_way(self, call: bytes) -> "_Call":
        if self._call is None or self._call.number != call:
            raise RuntimeError("this call is over")
        return self._call

    def _ocall(self, name: str, text: bytes) -> Any:
        if name not in self._ocalls:
            raise refuse(Code.OCALL_REFUSED, "the manifest declares no such OCALL")
        return _copied(self._ocalls[name](decode(text)))

    def _seal(self, question: Seal) -> str:
        sealed = base64.b64encode(os.urandom(96)).decode()
        self._sealed[sealed] = question.value
        return sealed

    def _unseal(self, question: Unseal) -> Any:
        if question.text not in self._sealed:
            raise refuse(Code.STATE_REFUSED, "no text that this enclave has sealed")
        return decode(self._sealed[question.text])

    def _call_other(self, question: CallOther) -> Any:
        if self._others is None:
            raise refuse(Code.GUEST_ERROR, NO_USES)
        other = self._others.get(question.service)
        if other is None:
            raise refuse(Code.GUEST_ERROR, f"context.call: casemate.toml has no [uses.{question.service}]")
        return {"result": _copied(other(question.operation, decode(question.arguments)))}

    def _use_key(self, question: UseKey) -> Any:
        if not self._keys:
            raise refuse(Code.GUEST_ERROR, NO_KEYS)
        rules = rules_for(question, self._keys)
        ring = self._rings.setdefault(rules.name, KeyRing.new(rules.algorithm))
        said: Any
        match question.use:
            case KeyUse.ROTATE:
                self._rings[rules.name], said = ring.rotated(rules)
            case KeyUse.RETIRE:
                self._rings[rules.name], said = ring.retired(rules, question.version)
            case _:
                said = use_key(question, rules, ring)
        return base64.b64encode(said).decode() if isinstance(said, bytes) else said

    def _answer_of_verifier(self, question: DrawNonce | Appraise | SealFor | OpenSecret) -> Any:
        match question:
            case OpenSecret(text):
                if text not in self._secrets:
                    raise refuse(Code.CANNOT_OPEN, "not sealed for this launch of this enclave, or changed since")
                return decode(self._secrets[text])
            case SealFor(_, value):
                sealed = base64.b64encode(os.urandom(96)).decode()
                self._secrets[sealed] = value
                return sealed
        if self._appraises is None:
            raise refuse(Code.GUEST_ERROR, NO_APPRAISE)
        if isinstance(question, DrawNonce):
            drawn = os.urandom(32).hex()
            self._nonces.add(drawn)
            return drawn
        evidence, policy, nonce = decode(question.text)
        if nonce is not None and nonce not in self._nonces:
            got, want = "a nonce that waits for no evidence", "one of context.nonce()"
            raise AppraisalError(f"nonce.drawn: got {got}, want {want}", "nonce.drawn", got, want)
        self._nonces.discard(nonce)
        return {"claims": _copied(self._appraises(evidence, policy)), "number": 0}

    def _run(self, question: Run) -> Any:
        if self._runs is None:
            raise refuse(Code.GUEST_ERROR, NO_RUN)
        asked = decode(question.text)
        engine, code = asked[:2]
        main = "main.py" if engine == PYTHON.name else "main.js"
        sources: dict[str, str] = {main: code} if isinstance(code, str) else code
        told = {
            "code_sha256": sha256_of({path: source.encode() for path, source in sources.items()}),
            "metrics": {"wall_us": 0, "cpu_us": None, "peak_kib": None},
        }
        return {"result": _copied(self._runs(*asked)), **told}

    @contextmanager
    def _calling(self, function: Callable[..., Any], caller: str | KnownCaller | None) -> Iterator[CallContext]:
        call = self._call = _Call()
        known = KnownCaller(caller, key_of(caller)) if isinstance(caller, str) else caller
        about = {"trace": os.urandom(TRACE_SIZE).hex(), "timeMs": _TIME_MS, "config": json.dumps(self.configuration)}
        head = {"entry": function.__name__, "caller": known and known._asdict(), **about}
        console = Console(self.printed.append, lambda: self._call is call)
        console.granted = "log" in self._grants.permissions
        try:
            with redirect_stdout(cast("Any", console)), redirect_stderr(cast("Any", console)):
                try:
                    yield context_of(self, call.number, head, self._limits, self._grants)
                finally:
                    console.end()
            call.commit()
        except Refusal as refusal:
            refusal_of(refusal, self._limits, self._grants)
            raise
        finally:
            self._call = None


_TIME_MS = 1000
"""What a function is told that it may take: the default of ``limits.time_ms``."""


class _Call:
    """A call under way."""

    def __init__(self) -> None:
        self.number = os.urandom(8)
        self._transaction: Transaction | None = None
        self._doom: FaultError | None = None

    def answer(self, question: StateQuestion, store: "_Store | None") -> Any:
        """The state's answer. After a refusal that leaves the state unknown, each further question is refused."""
        try:
            if self._doom is not None:
                raise self._doom
            if store is None:
                words = "this function keeps no state: add [state] with policy, recovery and max_kib to casemate.toml"
                raise refuse(Code.STATE_REFUSED, words)
            if self._transaction is None:
                self._transaction = Transaction(store, limit=store.limit)
            answer = answer_of(self._transaction, question)
        except FaultError as error:
            if error.fault.code not in (Code.STATE_LIMIT, Code.GUEST_ERROR):
                self._doom = error
            raise
        return decode(answer) if answer else ABSENT

    def commit(self) -> None:
        """Keeps the changes, or raises."""
        if self._doom is not None:
            raise EnclaveError(self._doom.fault.code.value, self._doom.fault.reason)
        if self._transaction is not None:
            _at_once(self._transaction.commit(0.0))


class _Store:
    """The committed state."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.state = State()
        self.mark = StateMark(0, 0)

    async def commit(self, transaction: Transaction, _deadline: float) -> StateMark:
        self.state.apply(transaction.changes)
        self.mark = StateMark(self.mark.epoch + 1, 0)
        return self.mark


def _at_once(coroutine: Coroutine[Any, Any, object]) -> None:
    """Runs what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("a commit in memory waits for nobody")


def _copied(value: object) -> Any:
    """A JSON value as another party would get it."""
    return decode(text_of(value, 64 * 1024 * 1024, "the value"))
