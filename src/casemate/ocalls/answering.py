"""Answers OCALLs by the operator's handlers: each within its time, and checked by the image's schema.

Functions run in threads, coroutines in an event loop of their own, which is not the one that serves the links: what the
operator's code does to either, those who ask get an answer in time.
"""

import asyncio
import contextlib
import functools
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.schemas import InboundSchema, SchemaError, inbound_schema
from casemate.ocalls.asked import Asked
from casemate.ocalls.handlers import Handler, trace_of
from casemate.wire.encodings.json_text import encode_json, parse_json
from casemate.wire.errors import WireError
from casemate.wire.messages.entry import MAX_OCALL
from casemate.wire.messages.ocalls import AT_ONCE, AskHandler
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest_table import MAX_SCHEMA

MOST_RUNNING = 3 * AT_ONCE
"""Handlers that may run, those included whose time is up and which nothing else can end; one more ends this process,
which is then started anew."""

_CACHED_SCHEMAS = 256
"""Compiled schemas that are kept: some for each image that asks."""

_log = logging.getLogger(__name__)


class _HandlerError(Exception):
    """A handler gave no answer that could be passed on; ``trace`` shows where, or is empty."""

    def __init__(self, why: str, trace: str = "") -> None:
        super().__init__(why)
        self.trace = trace


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a handler returned, or raised."""

    answer: Any = None
    error: BaseException | None = None


class Answering:
    """Answers OCALLs by ``handlers``.

    Args:
        handlers: by the OCALLs' names.
        path: the module that they were loaded from: tracebacks begin with its lines.
        on_too_many: called when too many handlers hang; it ends this process.
    """

    def __init__(self, handlers: Mapping[str, Handler], path: Path, on_too_many: Callable[[], None]) -> None:
        self._handlers = handlers
        self._path = path
        self._on_too_many = on_too_many
        self._running = 0
        self._coroutines = asyncio.new_event_loop()
        self._coroutines_thread = threading.Thread(target=self._coroutines.run_forever, name="coroutines", daemon=True)
        self._coroutines_thread.start()

    @property
    def names(self) -> tuple[str, ...]:
        """The OCALLs that are answered, in rising order."""
        return tuple(sorted(self._handlers))

    async def answer(self, question: AskHandler) -> bytes:
        """The JSON of a handler's answer, which fits the schema of the question.

        Raises:
            FaultError: ``ocall-refused``. Its words are the operator's; the log has them, too, with a traceback.
        """
        asking = question.asking
        asked = Asked(
            ocall=question.name,
            enclave=asking.enclave,
            name=asking.name,
            mr_enclave=asking.mr_enclave,
            mr_signer=asking.mr_signer,
            product_id=asking.product_id,
            security_version=asking.security_version,
            debug=asking.debug,
        )
        try:
            return _checked(await self._answer(question, asked), question.schema)
        except _HandlerError as error:
            _log.error("OCALL %s of %s: %s", question.name, asked, error)
            for line in error.trace.splitlines():
                _log.error("    %s", line)
            raise refuse(Code.OCALL_REFUSED, f"the handler of OCALL {question.name!r}: {error}") from None

    async def check_alive(self) -> None:
        """Returns once the coroutines' loop has had a turn. It never does where one of them blocks that loop."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_nothing(), self._coroutines))

    async def _answer(self, question: AskHandler, asked: Asked) -> Any:
        handler = self._handlers.get(question.name)
        if handler is None:
            raise _HandlerError(f"there is none, there are: {', '.join(self.names)}")
        try:
            argument = parse_json("the argument", question.arguments, limit=MAX_OCALL, round_integers=True)
        except WireError as error:
            raise _HandlerError(str(error)) from None
        outcome = await self._run(handler, (argument, asked) if handler.takes_asked else (argument,), question.time_ms)
        if outcome.error is not None:
            what = f"{type(outcome.error).__name__} was raised"
            raise _HandlerError(what, trace_of(outcome.error, self._path))
        return outcome.answer

    async def _run(self, handler: Handler, arguments: tuple[Any, ...], time_ms: int) -> _Outcome:
        if self._running >= MOST_RUNNING:
            self._on_too_many()
        ended = functools.partial(_call_in, asyncio.get_running_loop(), self._one_ended)
        self._running += 1
        if handler.is_async:
            thread = self._coroutines_thread
            work = _awaited(handler, arguments, ended)
            answering = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._coroutines))
        else:
            answering = asyncio.get_running_loop().create_future()
            thread = _thread(handler, arguments, answering, ended)
            try:
                thread.start()
            except RuntimeError as error:  # the system gives this process no more threads
                self._running -= 1
                raise _HandlerError(str(error)) from None
        done, _ = await asyncio.wait({answering}, timeout=time_ms / 1000)
        if not done:
            answering.cancel()
            raise _HandlerError(f"no answer within {time_ms} ms, the time limit of the call", self._place(thread))
        return answering.result()

    def _place(self, thread: threading.Thread) -> str:
        """Where a thread is in the operator's code, as lines of a traceback; empty if it is not there."""
        frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, in spite of its name
        stack = traceback.extract_stack(frame) if frame is not None else traceback.StackSummary()
        own = [at for at, line in enumerate(stack) if line.filename == str(self._path)]
        return "it is here:\n" + "".join(traceback.format_list(stack[own[0] :])) if own else ""

    def _one_ended(self) -> None:
        self._running -= 1


async def _awaited(handler: Handler, arguments: tuple[Any, ...], ended: Callable[[], object]) -> _Outcome:
    try:
        return _Outcome(await handler.function(*arguments))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit would end the loop, and with it every other coroutine
        return _Outcome(error=error)
    finally:
        ended()


def _thread(
    handler: Handler, arguments: tuple[Any, ...], answering: "asyncio.Future[_Outcome]", ended: Callable[[], object]
) -> threading.Thread:
    """The thread, not yet started, in which a function answers."""
    loop = asyncio.get_running_loop()

    def settle(outcome: _Outcome) -> None:
        if not answering.done():  # its time may be up
            answering.set_result(outcome)

    def work() -> None:
        try:
            outcome = _Outcome(handler.function(*arguments))
        except BaseException as error:  # SystemExit, too: it is one answer that fails
            outcome = _Outcome(error=error)
        _call_in(loop, settle, outcome)
        ended()

    return threading.Thread(target=work, name=f"ocall {handler.name}", daemon=True)


def _checked(answer: Any, schema: bytes) -> bytes:
    """The JSON of an answer, read as strictly as the enclave will read it."""
    try:
        text = encode_json(answer)
        value = parse_json("the answer", text, limit=MAX_OCALL)
        _compiled(schema).check(value)
    except SchemaMismatchError as error:
        raise _HandlerError(f"the answer does not fit the manifest's schema: {error}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise _HandlerError(f"the answer is not JSON: {error}") from None
    except WireError as error:
        raise _HandlerError(str(error)) from None
    return text


@functools.lru_cache(_CACHED_SCHEMAS)
def _compiled(schema: bytes) -> InboundSchema:
    try:
        return inbound_schema(parse_json("schema", schema, limit=MAX_SCHEMA, round_integers=True))
    except SchemaError as error:
        raise _HandlerError(f"the image's schema is not one: {error}") from None


def _call_in(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *arguments: object) -> None:
    """Has another thread's loop call a function; a loop that is closed does not need to know any more."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *arguments)


async def _nothing() -> None:
    """For a turn of the loop."""
