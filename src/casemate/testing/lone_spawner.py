"""The spawner of enclaves and guests without a chip, for tests of guests, the watchdog and confinement.

Its enclaves run a stub in place of the enclave runtime. The stub takes orders over the host's socket, loads code into
guests, calls it, and reports outcomes. :class:`LoneSpawner` is used by tests; the stub runs in the enclave's process.
"""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cryptography

from casemate.engines.command import GuestProgram
from casemate.engines.conversation import Conversation
from casemate.engines.errors import GuestMisbehavedError
from casemate.engines.frames import CALL_SIZE, OVERHEAD, Asked, Failed, Printed, Returned
from casemate.engines.registry import engine_named
from casemate.link.channel import Channel, Frame
from casemate.link.errors import TimedOutError
from casemate.link.frame_assembler import FrameAssembler
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.leaf import OptionalPart
from casemate.wire.messages.spawner import (
    Configure,
    Exited,
    GuestGiven,
    GuestGone,
    Kill,
    LoadPart,
    NeedGuest,
    Spawn,
    Spawned,
    SpawnerReady,
    Unwatch,
    Watch,
)
from casemate.wire.protocol.faults import Code, Fault
from casemate.wire.protocol.image_index import Link
from casemate.wire.protocol.sandbox_layers import Layer, LayerRequest

OUTPUT_LIMIT = 256 * 1024
"""Longest result of a guest here (bytes)."""

MAX_FRAME = OVERHEAD + OUTPUT_LIMIT
"""Longest frame that is accepted from a guest here (bytes)."""

PATIENCE = 15.0
"""Seconds without an answer after which a test fails."""

_START = """
import sys
sys.path += {paths!r}
from casemate.testing.lone_spawner import run_spawner
run_spawner()
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a call."""

    code: str
    """A ``Code`` of ``wire.protocol.faults``, or ``ok``."""
    text: str
    """The result, or the error's message."""
    seconds: float
    """Duration of the call, seen by the test."""
    printed: tuple[str, ...] = ()


class LoneEnclave:
    """A stub enclave as tests control it."""

    def __init__(self, number: int, pid: int, orders: Channel, chip: socket.socket) -> None:
        self.number = number
        self.pid = pid
        self._orders = orders
        self._chip = chip

    def order(self, **order: Any) -> Any:
        """Sends an order to the stub; returns its answer."""
        self._orders.send(json.dumps(order).encode(), timeout=PATIENCE)
        return json.loads(self._orders.receive(timeout=60.0).payload)

    def need_guest(self, memory_mib: int = 64) -> dict[str, Any]:
        """Has the stub take a guest: ``pid``, ``layers`` as name and state, and ``seconds``; or ``refused``."""
        answer: dict[str, Any] = self.order(do="guest", memory_mib=memory_mib)
        return answer

    def load(self, source: str, *, entries: Sequence[str] = ("main",), time_ms: int = 2000) -> Outcome:
        """Loads one module into the guest."""
        return self.load_modules({"guest/main.js": source}, entries=entries, time_ms=time_ms)

    def load_modules(
        self,
        modules: dict[str, str],
        *,
        links: Sequence[Link] = (),
        entries: Sequence[str] = ("main",),
        time_ms: int = 2000,
    ) -> Outcome:
        """Loads modules into the guest; the last is the main one."""
        linked = [[link.importer, link.specifier, link.target, link.start, link.end] for link in links]
        answer = self.order(do="load", modules=modules, links=linked, entries=list(entries), time_ms=time_ms)
        return Outcome(**answer)

    def call(self, entry: str = "main", arguments: Any = None, *, time_ms: int = 1000) -> Outcome:
        """Calls a function of the guest. OCALLs are answered with their own arguments."""
        return Outcome(**self.order(do="call", entry=entry, arguments=json.dumps(arguments), time_ms=time_ms))

    def close(self) -> None:
        """Closes the connection, which ends the stub."""
        self._orders.close()
        self._chip.close()


class LoneSpawner:
    """A spawner process; see :func:`lone_spawner`."""

    def __init__(self, process: subprocess.Popen[bytes], control: Channel) -> None:
        self.process = process
        self.control = control
        self._last = 0
        self._sockets: list[socket.socket] = []

    def load(self, part: OptionalPart) -> object:
        """Has the spawner load a part of the enclave's code; returns its reply."""
        self.control.send(encode_message(LoadPart(part)), timeout=PATIENCE)
        reply: object = parse_message(self.control.receive(timeout=PATIENCE).payload, SpawnerReady, Fault)
        return reply

    def spawn(self) -> LoneEnclave:
        """A new stub enclave.

        Raises:
            AssertionError: the spawner refused; the text is that of its FaultError.
        """
        self._last += 1
        chip, chip_theirs = socket.socketpair()
        host, host_theirs = socket.socketpair()
        self._sockets += (chip, host)
        with chip_theirs, host_theirs:
            descriptors = (chip_theirs.fileno(), host_theirs.fileno())
            self.control.send(encode_message(Spawn(self._last)), descriptors, timeout=PATIENCE)
        answer: object = parse_message(self.control.receive(timeout=PATIENCE).payload, Spawned, Fault)
        if not isinstance(answer, Spawned):
            raise AssertionError(f"the spawner refused: {answer}")  # noqa: TRY004 - a test's failure
        return LoneEnclave(self._last, answer.pid, Channel(host), chip)

    def close(self) -> None:
        """Closes the connections to the spawner and to every enclave."""
        self.control.close()
        for sock in self._sockets:
            sock.close()

    def kill(self, enclave: LoneEnclave) -> Exited:
        """Has the spawner end an enclave."""
        self.control.send(encode_message(Kill(enclave.number)), timeout=PATIENCE)
        return self.exited()

    def exited(self) -> Exited:
        """Waits for the next end of an enclave."""
        return parse_message(self.control.receive(timeout=PATIENCE).payload, Exited)


@contextmanager
def lone_spawner(
    engine: Path,
    *,
    layers: tuple[LayerRequest, ...] = (),
    pool: int = 1,
    user: int | None = None,
    python: str = sys.executable,
) -> Iterator[LoneSpawner]:
    """Runs a spawner process during the context; afterwards it and all its children are gone.

    Args:
        engine: a binary that every user may run: see :func:`shared_engine`.
        layers: the sandbox layers to apply.
        pool: number of warm guests to keep.
        user: the user id it runs as if this process is root.
        python: an interpreter that this user may run.
    """
    ours, theirs = socket.socketpair()
    environment = {"PATH": os.defpath}
    paths = [str(Path(__file__).resolve().parents[2]), str(Path(cryptography.__file__).parents[1])]

    def become() -> None:
        os.dup2(theirs.fileno(), 3, inheritable=True)
        if user is not None:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)

    with theirs:
        process = subprocess.Popen(
            [python, "-I", "-S", "-B", "-c", _START.format(paths=paths)],
            close_fds=False,
            preexec_fn=become,  # noqa: PLW1509 - tests start it from one thread
            env=environment,
        )
    control = Channel(ours)
    spawner = LoneSpawner(process, control)
    try:
        control.send(encode_message(Configure(layers, str(engine), pool)), timeout=PATIENCE)
        ready: object = parse_message(control.receive(timeout=PATIENCE).payload, SpawnerReady, Fault)
        if not isinstance(ready, SpawnerReady):
            raise AssertionError(f"the spawner did not start: {ready}")  # noqa: TRY004 - a test's failure
        yield spawner
    finally:
        spawner.close()
        try:
            process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            raise


def run_spawner() -> None:
    """Runs the spawner in this process, with the stub as its enclaves' code."""
    from casemate.spawner.start import run_process

    run_process(lambda: stub_enclave)


def stub_enclave(_chip_fd: int, host_fd: int, spawner_fd: int, layers: tuple[Layer, ...]) -> None:
    """Runs the stub in a confined enclave until its connection is closed."""
    orders = Channel(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=host_fd))
    stub = _Stub(Channel(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=spawner_fd)), layers)
    while True:
        order = json.loads(orders.receive().payload)
        try:
            answer = getattr(stub, "do_" + order.pop("do"))(**order)
        except _GoneError as error:
            answer = error.outcome
        orders.send(json.dumps(answer).encode())


class _GoneError(Exception):
    """The guest is gone and cannot answer."""

    def __init__(self, code: str, text: str, since: float) -> None:
        super().__init__(code)
        self.outcome = {"code": code, "text": text, "seconds": time.monotonic() - since, "printed": []}


@dataclass(frozen=True, slots=True)
class _Module:
    path: str
    source: bytes
    links: tuple[Link, ...]


class _Stub:
    def __init__(self, spawner: Channel, layers: tuple[Layer, ...]) -> None:
        self._spawner = spawner
        self._layers = layers
        self._pipes: tuple[int, int] | None = None
        self._talk = Conversation(engine_named("javascript"))
        self._frames = FrameAssembler(MAX_FRAME)
        self._heard: deque[bytes | None] = deque()

    def do_layers(self) -> list[list[str]]:
        return [[layer.name, layer.state, layer.detail] for layer in self._layers]

    def do_try(self, what: str) -> str:
        """Executes a test's statement; returns the name of the exception's type."""
        try:
            exec(what, {"os": os, "socket": socket})  # noqa: S102 - the test's own
        except Exception as error:
            return type(error).__name__
        return "done"

    def do_send_to_spawner(self, text: str) -> str:
        """Sends the spawner a message that no honest enclave sends."""
        self._spawner.send(text.encode())
        return "sent"

    def do_guest(self, memory_mib: int) -> dict[str, Any]:
        start = time.monotonic()
        if self._pipes is not None:
            for descriptor in self._pipes:
                os.close(descriptor)
        self._pipes = None
        self._spawner.send(encode_message(NeedGuest("javascript", memory_mib)))
        while True:
            frame: Frame = self._spawner.receive()
            answer: object = parse_message(frame.payload, GuestGiven, GuestGone, Fault)
            if isinstance(answer, Fault):
                return {"refused": answer.code, "reason": answer.reason}
            if isinstance(answer, GuestGiven):
                break
        self._pipes = (frame.descriptors[0], frame.descriptors[1])
        for descriptor in self._pipes:
            os.set_blocking(descriptor, False)
        self._talk = Conversation(engine_named("javascript"))
        self._frames, self._heard = FrameAssembler(MAX_FRAME), deque()
        layers = [[layer.name, layer.state, layer.detail] for layer in answer.layers]
        return {"pid": answer.pid, "layers": layers, "seconds": time.monotonic() - start}

    def do_load(
        self, modules: dict[str, str], links: list[list[Any]], entries: list[str], time_ms: int
    ) -> dict[str, Any]:
        linked = [Link(*link) for link in links]
        sources = [
            _Module(path, source.encode(), tuple(link for link in linked if link.importer == path))
            for path, source in modules.items()
        ]
        program = GuestProgram(sources, tuple(entries), OUTPUT_LIMIT, OUTPUT_LIMIT)
        return self._until(self._talk.load(program), time_ms)

    def do_call(self, entry: str, arguments: str, time_ms: int) -> dict[str, Any]:
        number = os.urandom(CALL_SIZE)
        return self._until(self._talk.call(entry, arguments.encode(), None, number=number), time_ms)

    def do_rest(self, seconds: float) -> dict[str, Any]:
        """Waits, and returns what the spawner reports meanwhile."""
        self._watch_spawner(time.monotonic(), seconds)
        return {"code": "ok", "text": "", "seconds": seconds, "printed": []}

    def do_end(self) -> dict[str, Any]:
        """Has the guest killed; returns the spawner's reason for its end."""
        self._spawner.send(encode_message(Watch(0)))
        return self.do_rest(PATIENCE)

    def _until(self, payload: bytes, time_ms: int) -> dict[str, Any]:
        start = time.monotonic()
        printed: list[str] = []
        self._spawner.send(encode_message(Watch(time_ms)))
        self._say(payload, start)
        while True:
            try:
                said = self._talk.heard(self._hear(start))
            except GuestMisbehavedError as error:
                self._spawner.send(encode_message(Watch(0)))
                raise _GoneError(Code.GUEST_CRASHED, str(error), start) from None
            match said:
                case Printed(text):
                    printed.append(text)
                    continue
                case Asked(_, arguments):
                    self._say(self._talk.answer(arguments), start)
                    continue
                case Failed(failure, name, message):
                    code, text = str(failure), f"{name}: {message}"
                case Returned(result):
                    code, text = "ok", result.decode()
                case _:
                    code, text = "ok", ""
            self._spawner.send(encode_message(Unwatch()))
            return {"code": code, "text": text, "seconds": time.monotonic() - start, "printed": printed}

    def _say(self, payload: bytes, start: float) -> None:
        view = memoryview(len(payload).to_bytes(4, "little") + payload)
        while view:
            try:
                view = view[os.write(self._guest()[0], view) :]
            except BlockingIOError:
                self._wait(start, self._guest()[0], select.POLLOUT)
            except BrokenPipeError:
                self._watch_spawner(start, PATIENCE)

    def _hear(self, start: float) -> bytes | None:
        while not self._heard:
            try:
                piece = os.read(self._guest()[1], 1 << 18)
            except BlockingIOError:
                self._wait(start, self._guest()[1], select.POLLIN)
                continue
            if not piece:
                self._watch_spawner(start, PATIENCE)
            self._heard += self._frames.feed(piece)
        return self._heard.popleft()

    def _guest(self) -> tuple[int, int]:
        if self._pipes is None:
            raise _GoneError(Code.WRONG_STATE, "there is no guest", time.monotonic())
        return self._pipes

    def _wait(self, start: float, descriptor: int, events: int) -> None:
        poll = select.poll()
        poll.register(descriptor, events)
        poll.register(self._spawner.fileno(), select.POLLIN)
        ready = dict(poll.poll(PATIENCE * 1000))
        if not ready:
            raise _GoneError(Code.TIMED_OUT, "neither guest nor spawner said anything", start)
        if descriptor not in ready:
            self._watch_spawner(start, PATIENCE)

    def _watch_spawner(self, start: float, seconds: float) -> None:
        """Raises :class:`_GoneError` with the spawner's reason, if the spawner reports the guest's end in time."""
        try:
            gone = parse_message(self._spawner.receive(timeout=seconds).payload, GuestGone)
        except (TimedOutError, WireError):
            return
        raise _GoneError(gone.code, gone.reason, start)


def late() -> float:
    """Permitted delay of an outcome after its time limit (seconds): half a second if a processor is idle.

    The spawner kills a quarter of a second after the limit. If more processes want to run than there are processors,
    scheduling adds to that.
    """
    return 0.5 if os.getloadavg()[0] < (os.cpu_count() or 1) else 3.0


def shared_engine() -> Path:
    """The engine's binary in a place where every user may run it, since each guest has its own user id."""
    import deno

    binary = Path(deno.find_deno_bin()).resolve()
    if all(folder.stat().st_mode & stat.S_IXOTH for folder in binary.parents) and binary.stat().st_mode & stat.S_IXOTH:
        return binary
    made = binary.stat()
    folder = Path(tempfile.gettempdir()) / f"casemate-engine-{os.getuid()}-{made.st_size}-{made.st_mtime_ns}"
    folder.mkdir(mode=0o755, exist_ok=True)
    copy = folder / binary.name
    if not copy.exists():
        temporary = folder / f"{binary.name}.{os.getpid()}"
        temporary.write_bytes(binary.read_bytes())
        temporary.chmod(0o755)
        temporary.rename(copy)
    return copy
