"""Streams: generators that the enclave steps through.

A stream runs while a step of it is under way, and rests between steps. An asynchronous one has an event loop of its
own, so what it does by timers in between waits for its own next step, and other calls' tasks never run in its turn.
"""

import inspect
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from casemate.engines.frames import FrameKind
from casemate.engines.python.bootstrap.calls import end_turn, tell_failure
from casemate.engines.python.bootstrap.context import CallContext, Ending, context_of
from casemate.engines.python.bootstrap.event_loop import GuestLoop, Report
from casemate.engines.python.bootstrap.json_text import UntellableError, decode, text_of
from casemate.engines.python.bootstrap.limits import BROKEN_FRAME, MAX_PIECE, MAX_YIELD, STEP_TIME
from casemate.engines.python.bootstrap.line import Frame
from casemate.engines.python.bootstrap.program import Program
from casemate.wire.protocol.faults import Code


class Output:
    """What a stream has yielded: up to ``MAX_PIECE`` bytes go out with each step, the rest waits for the next."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._room = MAX_PIECE
        self._rest = b""

    @property
    def is_full(self) -> bool:
        """Whether something is left for the next step."""
        return bool(self._rest)

    def put(self, value: object) -> None:
        """Adds a yielded value; :class:`UntellableError` where it is neither bytes nor text, or too long."""
        self._fill(piece_of(value))

    def taken(self) -> bytes:
        """The output of the step that ends now."""
        data = b"".join(self._pieces)
        self._pieces, self._room = [], MAX_PIECE
        return data

    def refill(self) -> None:
        """A step begins: what was left goes out first."""
        self._fill(self._rest)

    def _fill(self, data: bytes) -> None:
        if len(data) <= self._room:
            self._pieces.append(data)
            self._room -= len(data)
            self._rest = b""
        else:
            self._pieces.append(data[: self._room])
            self._rest = data[self._room :]
            self._room = 0


def piece_of(value: object) -> bytes:
    """The bytes of a yielded value, copied: the program may go on to change its array."""
    if isinstance(value, str):
        if len(value) <= MAX_YIELD:
            try:
                data = value.encode()
            except UnicodeEncodeError:
                words = "a stream yields text with a lone surrogate, which UTF-8 does not have"
                raise UntellableError(Code.RESULT_REFUSED, words) from None
            if len(data) <= MAX_YIELD:
                return data
    elif isinstance(value, bytes | bytearray | memoryview):
        if memoryview(value).nbytes <= MAX_YIELD:
            return bytes(value)
    else:
        words = f"a stream yields bytes and texts, and this is neither: {type(value).__name__}"
        raise UntellableError(Code.RESULT_REFUSED, words)
    raise UntellableError(Code.OUTPUT_LIMIT, f"a stream yields more than {MAX_YIELD} bytes at once")


class Running(Protocol):
    """A stream's generator, and its input."""

    @property
    def wants_input(self) -> bool:
        """Whether it cannot go on without the next piece."""

    def result(self, limit: int) -> bytes:
        """JSON of its result, once it has ended.

        Args:
            limit: longest text (bytes).

        Raises:
            UntellableError: the result is not JSON, or longer.
        """

    def advance(self, enough: float) -> bool:
        """Runs up to a pause (true) or its end (false), or raises what it raises.

        Args:
            enough: when a step that could go on ends all the same (monotonic clock).
        """

    def feed(self, piece: bytes) -> None:
        """Gives it a piece of input."""

    def leave(self) -> None:
        """There is no more input."""

    def close(self) -> None:
        """Ends it: its ``finally`` runs, and is not heard."""


class WaitingError(RuntimeError):
    """A generator wants two pieces of input without a yield between them."""

    def __init__(self) -> None:
        super().__init__(
            "a generator can wait for input only at a yield: take one piece, then yield, if only b''; or write an "
            "asynchronous generator, which waits by itself"
        )


class Pieces:
    """The input of a generator; see :class:`casemate.guest.Chunks`."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self.is_over = False
        self.is_wanted = False

    def __iter__(self) -> "Pieces":
        return self

    def __next__(self) -> bytes:
        if self._pieces:
            return self._pieces.popleft()
        if self.is_over:
            raise StopIteration
        if self.is_wanted:
            raise WaitingError
        self.is_wanted = True
        return b""

    def add(self, piece: bytes) -> None:
        """For the stream: the next piece has come."""
        self._pieces.append(piece)
        self.is_wanted = False


class GeneratorStream:
    """A stream that is a generator."""

    def __init__(self, output: Output, pieces: Pieces, generator: Generator[object, None, object]) -> None:
        self._output = output
        self._pieces = pieces
        self._generator = generator
        self._returned: object = None

    @property
    def wants_input(self) -> bool:
        """Whether it was given an empty piece since the last real one."""
        return self._pieces.is_wanted

    def advance(self, enough: float) -> bool:
        """Runs it from yield to yield."""
        while not (self._output.is_full or self._pieces.is_wanted):
            if time.monotonic() >= enough:
                return True
            try:
                value = next(self._generator)
            except StopIteration as end:
                self._returned = end.value
                return False
            try:
                self._output.put(value)
            except UntellableError as wrong:
                with suppress(StopIteration):
                    self._generator.throw(wrong)  # so that it is raised by a line of the program's
                raise
        return True

    def feed(self, piece: bytes) -> None:
        """Gives it a piece of input."""
        self._pieces.add(piece)

    def leave(self) -> None:
        """There is no more input."""
        self._pieces.is_over, self._pieces.is_wanted = True, False

    def result(self, limit: int) -> bytes:
        """JSON of what it returned."""
        return text_of(self._returned, limit, "the result")

    def close(self) -> None:
        """Ends it."""
        self._generator.close()


class AsyncPieces:
    """The input of an asynchronous generator; see :class:`casemate.guest.AsyncChunks`."""

    def __init__(self) -> None:
        self._waiting: deque[Any] = deque()
        self._is_over = False
        self.loop: GuestLoop | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for the next piece."""
        while self._waiting and self._waiting[0].done():  # whoever waited has given up
            self._waiting.popleft()
        return bool(self._waiting)

    def __aiter__(self) -> "AsyncPieces":
        return self

    async def __anext__(self) -> bytes:
        if not self._is_over and self.loop is not None:
            future = self.loop.create_future()
            self._waiting.append(future)
            piece: bytes | None = await future
            if piece is not None:
                return piece
        raise StopAsyncIteration

    def add(self, piece: bytes) -> None:
        """For the stream: the next piece has come. It is dropped where nobody waits for it any more."""
        if self.is_wanted:
            self._waiting.popleft().set_result(piece)

    def leave(self) -> None:
        """For the stream: there is no more input."""
        self._is_over = True
        while self.is_wanted:
            self._waiting.popleft().set_result(None)


class FinishedError(RuntimeError):
    """An asynchronous generator yields after it has given its result."""

    def __init__(self) -> None:
        super().__init__("a stream yields after context.finish: give the result after the last yield")


class AsyncStream:
    """A stream that is an asynchronous generator: one task, which rests where a step has put out enough."""

    def __init__(
        self,
        output: Output,
        pieces: AsyncPieces,
        ending: Ending,
        generator: AsyncGenerator[object, None],
        report: Report,
    ) -> None:
        self._output = output
        self._pieces = pieces
        self._ending = ending
        self._generator = generator
        self._loop = pieces.loop = GuestLoop(report, lambda: self.wants_input)
        self._enough = 0.0
        self._resting: Any = None
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(lambda _task: self._loop.stop())

    @property
    def wants_input(self) -> bool:
        """Whether somebody waits for the next piece."""
        return self._pieces.is_wanted

    def advance(self, enough: float) -> bool:
        """Runs its event loop until it has yielded enough, or nothing can run before more input comes."""
        if self._output.is_full:
            return True
        self._enough = enough
        if self._resting is not None:
            self._resting.set_result(None)
            self._resting = None
        self._loop.run_forever()
        if not self._task.done():
            return True
        self._task.result()
        return False

    def feed(self, piece: bytes) -> None:
        """Gives it a piece of input."""
        self._pieces.add(piece)

    def leave(self) -> None:
        """There is no more input."""
        self._pieces.leave()

    def result(self, limit: int) -> bytes:
        """JSON of what ``context.finish`` was given, which has looked at the limit; null where it was not called."""
        return text_of(None, limit, "the result") if self._ending.text is None else self._ending.text

    def close(self) -> None:
        """Ends it, and what it has begun."""
        self._loop.abandon()

    async def _run(self) -> None:
        async for value in self._generator:
            try:
                if self._ending.text is not None:
                    raise FinishedError
                self._output.put(value)
            except (FinishedError, UntellableError) as wrong:
                with suppress(StopAsyncIteration):
                    await self._generator.athrow(wrong)  # so that it is raised by a line of the program's
                raise
            if self._output.is_full or time.monotonic() >= self._enough:
                self._resting = self._loop.create_future()
                self._loop.stop()
                await self._resting


class Stream(NamedTuple):
    """A stream that is open."""

    running: Running
    output: Output


def opened(function: Callable[..., Any], argument: object, context: CallContext, report: Report) -> Stream:
    """A stream that has not begun to run.

    Args:
        function: a generator function, asynchronous or not.
        argument: the first argument of its call: the caller's.
        context: the second one.
        report: told exceptions that nobody catches.
    """
    output = Output()
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        waiting, ending = AsyncPieces(), Ending()
        generator = function(argument, replace(context, _ending=ending), waiting)
        return Stream(AsyncStream(output, waiting, ending, generator, report), output)
    pieces = Pieces()
    return Stream(GeneratorStream(output, pieces, function(argument, context, pieces)), output)


class Streams:
    """The streams that are open, by the numbers of their calls."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._streams: dict[bytes, Stream] = {}

    def serve(self, frame: Frame) -> None:
        """Works on a step, and tells how it ended."""
        program = self._program
        stream = self._streams.get(frame.call)
        if (stream is None) is not (frame.kind == FrameKind.OPEN):
            os._exit(BROKEN_FRAME)  # the enclave steps through no stream that has ended
        program.enclave.begin(frame.call)
        program.console.begin()
        try:
            if stream is None:
                stream = self._streams[frame.call] = self._opened(frame)
            is_paused = self._advanced(stream, frame)
            text = b"" if is_paused else stream.running.result(program.limits.output)
        except BaseException as thrown:  # also SystemExit and the like: the guest goes on
            end_turn(program)
            self.drop(frame.call)
            tell_failure(program, frame.call, thrown)
            return
        end_turn(program)
        data = stream.output.taken()
        if is_paused:
            is_hungry = stream.running.wants_input and not stream.output.is_full
            program.enclave.line.send(FrameKind.PAUSED, frame.call, bytes((is_hungry,)) + data)
        else:
            self.drop(frame.call)
            program.enclave.line.send(FrameKind.ENDED, frame.call, len(data).to_bytes(4, "little") + data + text)

    def drop(self, call: bytes) -> None:
        """Forgets a stream. What its ``finally`` says is not heard."""
        stream = self._streams.pop(call, None)
        if stream is not None:
            try:
                stream.running.close()
            except BaseException as thrown:  # the program's own
                self._program.report("a stream was ended", thrown)

    def _opened(self, frame: Frame) -> Stream:
        program = self._program
        head, rest = frame.opened()
        context = context_of(program.enclave, frame.call, head, program.limits, program.grants)
        return opened(program.functions[context.entry], decode(rest), context, program.report)

    def _advanced(self, stream: Stream, frame: Frame) -> bool:
        if frame.kind == FrameKind.CHUNK:
            stream.running.feed(frame.body)
        elif frame.kind == FrameKind.END:
            stream.running.leave()
        stream.output.refill()
        return stream.running.advance(time.monotonic() + STEP_TIME)
