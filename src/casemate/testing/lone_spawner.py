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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

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
    GuestRefused,
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
from casemate.wire.protocol.manifest import Permission
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

    def need_guest(
        self, memory_mib: int = 64, *, beside: bool = False, engine: str = "javascript", copy_of: int = 0
    ) -> dict[str, Any]:
        """Has the stub take a guest: ``guest``, ``pid``, ``layers`` as name and state, and ``seconds``; or ``refused``.

        Args:
            memory_mib: its size.
            beside: whether the last one is kept; it is given up otherwise.
            engine: its engine.
            copy_of: the guest that it is to be a copy of, which is loaded; 0 for none.
        """
        answer: dict[str, Any] = self.order(
            do="guest", memory_mib=memory_mib, beside=beside, engine=engine, copy_of=copy_of
        )
        return answer

    def inherit(self, guest: int | None = None, *, time_ms: int = 2000) -> Outcome:
        """Waits until a copy says that it is loaded; the last guest, if no number is given."""
        return Outcome(**self.order(do="inherit", time_ms=time_ms, guest=guest))

    def tell(self, *messages: object) -> None:
        """Has the stub send the spawner messages, all at once."""
        self.order(do="tell", messages=[encode_message(message).hex() for message in messages])

    def hear(self, count: int, *, seconds: float = PATIENCE) -> list[GuestGiven | GuestRefused | GuestGone]:
        """What the spawner says next to the stub: so many messages, or fewer if no more come in time.

        Pipes that come along stay open while the stub lives, and are not used.
        """
        frames = self.order(do="hear", count=count, seconds=seconds)
        return [_of_spawner(bytes.fromhex(frame)) for frame in frames]

    def load(
        self, source: str, *, entries: Sequence[str] = ("main",), time_ms: int = 2000, guest: int | None = None
    ) -> Outcome:
        """Loads one module into a guest; the last one, if no number is given."""
        return self.load_modules({"guest/main.js": source}, entries=entries, time_ms=time_ms, guest=guest)

    def load_modules(
        self,
        modules: dict[str, str],
        *,
        links: Sequence[Link] = (),
        entries: Sequence[str] = ("main",),
        time_ms: int = 2000,
        guest: int | None = None,
    ) -> Outcome:
        """Loads modules into a guest; the last is the main one."""
        linked = [[link.importer, link.specifier, link.target, link.start, link.end] for link in links]
        program = {"modules": modules, "links": linked, "entries": list(entries)}
        return Outcome(**self.order(do="load", program=program, time_ms=time_ms, guest=guest))

    def call(
        self, entry: str = "main", arguments: Any = None, *, time_ms: int = 1000, guest: int | None = None
    ) -> Outcome:
        """Calls a function of a guest. OCALLs are answered with their own arguments."""
        text = json.dumps(arguments)
        return Outcome(**self.order(do="call", entry=entry, arguments=text, time_ms=time_ms, guest=guest))

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
    bootstrap: str = "",
    folder: Path | None = None,
) -> Iterator[LoneSpawner]:
    """Runs a spawner process during the context; afterwards it and all its children are gone.

    Args:
        engine: a binary that every user may run: see :func:`shared_engine`.
        layers: the sandbox layers to apply.
        pool: number of warm guests to keep.
        user: the user id it runs as if this process is root.
        python: an interpreter that this user may run.
        bootstrap: statements that the base of Python guests executes before anything else.
        folder: its working directory; None for this process's.
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
            cwd=folder,
        )
    control = Channel(ours)
    spawner = LoneSpawner(process, control)
    runner = _base_runner(python, paths, bootstrap)
    try:
        control.send(encode_message(Configure(layers, str(engine), str(runner), pool)), timeout=PATIENCE)
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
        runner.unlink()


def _base_runner(python: str, paths: Sequence[str], bootstrap: str) -> Path:
    """A program that starts rooms as the runtime copy's interpreter would, from where this source is."""
    descriptor, name = tempfile.mkstemp(prefix="casemate-python-")
    lines = (
        f"#!{python} -ISB",
        "import runpy, sys",
        f"sys.path += {list(paths)!r}",
        bootstrap,
        "sys.argv = sys.argv[:1] + sys.argv[6:]",
        'runpy.run_module("casemate.zygote", run_name="__main__", alter_sys=True)',
    )
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(lines))
    Path(name).chmod(0o755)
    return Path(name)


def _of_spawner(frame: bytes) -> GuestGiven | GuestRefused | GuestGone:
    said: object = parse_message(frame, GuestGiven, GuestRefused, GuestGone)
    return cast("GuestGiven | GuestRefused | GuestGone", said)  # mypy knows the type of one class's messages only


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


@dataclass(slots=True)
class _Guest:
    """A guest as its stub knows it."""

    number: int
    pipes: tuple[int, int]
    talk: Conversation
    frames: FrameAssembler = field(default_factory=lambda: FrameAssembler(MAX_FRAME))
    heard: deque[bytes | None] = field(default_factory=deque)
    gone: GuestGone | None = None


class _Stub:
    def __init__(self, spawner: Channel, layers: tuple[Layer, ...]) -> None:
        self._spawner = spawner
        self._layers = layers
        self._guests: dict[int, _Guest] = {}
        self._last = 0

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

    def do_tell(self, messages: list[str]) -> None:
        for message in messages:
            self._spawner.send(bytes.fromhex(message))

    def do_hear(self, count: int, seconds: float) -> list[str]:
        frames: list[str] = []
        deadline = time.monotonic() + seconds
        while len(frames) < count:
            try:
                frame = self._spawner.receive(timeout=max(0.0, deadline - time.monotonic()))
            except TimedOutError:
                break
            frames.append(frame.payload.hex())
        return frames

    def do_guest(self, memory_mib: int, *, beside: bool, engine: str, copy_of: int) -> dict[str, Any]:
        start = time.monotonic()
        if self._last in self._guests and not beside:
            for descriptor in self._guests.pop(self._last).pipes:
                os.close(descriptor)
            self._spawner.send(encode_message(Watch(self._last, 0)))
        self._last += 1
        self._spawner.send(encode_message(NeedGuest(self._last, engine, memory_mib, copy_of)))
        while True:
            frame: Frame = self._spawner.receive()
            answer: object = parse_message(frame.payload, GuestGiven, GuestGone, GuestRefused)
            match answer:
                case GuestGone():
                    self._note(answer)
                case GuestRefused(_, refusal):
                    return {"refused": refusal.code, "reason": refusal.reason}
                case GuestGiven():
                    break
        pipes = (frame.descriptors[0], frame.descriptors[1])
        for descriptor in frame.descriptors[2:]:
            os.close(descriptor)
        for descriptor in pipes:
            os.set_blocking(descriptor, False)
        self._guests[self._last] = _Guest(self._last, pipes, Conversation(engine_named(engine)))
        layers = [[layer.name, layer.state, layer.detail] for layer in answer.layers]
        return {"guest": answer.guest, "pid": answer.pid, "layers": layers, "seconds": time.monotonic() - start}

    def do_load(self, program: dict[str, Any], time_ms: int, guest: int | None) -> dict[str, Any]:
        linked = [Link(*link) for link in program["links"]]
        sources = [
            _Module(path, source.encode(), tuple(link for link in linked if link.importer == path))
            for path, source in program["modules"].items()
        ]
        of = self._guest(guest)
        return self._until(
            of,
            of.talk.load(
                GuestProgram(
                    sources, tuple(program["entries"]), OUTPUT_LIMIT, OUTPUT_LIMIT, permissions=frozenset(Permission)
                )
            ),
            time_ms,
        )

    def do_inherit(self, time_ms: int, guest: int | None) -> dict[str, Any]:
        of = self._guest(guest)
        of.talk.inherit(GuestProgram((), (), OUTPUT_LIMIT, OUTPUT_LIMIT))
        return self._until(of, None, time_ms)

    def do_call(self, entry: str, arguments: str, time_ms: int, guest: int | None) -> dict[str, Any]:
        of, number = self._guest(guest), os.urandom(CALL_SIZE)
        return self._until(of, of.talk.call(entry, arguments.encode(), None, number=number), time_ms)

    def do_rest(self, seconds: float, guest: int | None = None) -> dict[str, Any]:
        """Waits, and returns what the spawner reports meanwhile."""
        self._watch_spawner(self._guest(guest), time.monotonic(), seconds)
        return {"code": "ok", "text": "", "seconds": seconds, "printed": []}

    def do_end(self, guest: int | None = None) -> dict[str, Any]:
        """Has a guest killed; returns the spawner's reason for its end."""
        self._spawner.send(encode_message(Watch(self._guest(guest).number, 0)))
        return self.do_rest(PATIENCE, guest)

    def _until(self, guest: _Guest, payload: bytes | None, time_ms: int) -> dict[str, Any]:
        start = time.monotonic()
        printed: list[str] = []
        self._spawner.send(encode_message(Watch(guest.number, time_ms)))
        if payload is not None:
            self._say(guest, payload, start)
        while True:
            try:
                said = guest.talk.heard(self._hear(guest, start))
            except GuestMisbehavedError as error:
                self._spawner.send(encode_message(Watch(guest.number, 0)))
                raise _GoneError(Code.GUEST_CRASHED, str(error), start) from None
            match said:
                case Printed(text):
                    printed.append(text)
                    continue
                case Asked(_, arguments):
                    self._say(guest, guest.talk.answer(arguments), start)
                    continue
                case Failed(failure, name, message):
                    code, text = str(failure), f"{name}: {message}"
                case Returned(result):
                    code, text = "ok", result.decode()
                case _:
                    code, text = "ok", ""
            self._spawner.send(encode_message(Unwatch(guest.number)))
            return {"code": code, "text": text, "seconds": time.monotonic() - start, "printed": printed}

    def _say(self, guest: _Guest, payload: bytes, start: float) -> None:
        view = memoryview(len(payload).to_bytes(4, "little") + payload)
        while view:
            try:
                view = view[os.write(guest.pipes[0], view) :]
            except BlockingIOError:
                self._wait(guest, start, guest.pipes[0], select.POLLOUT)
            except BrokenPipeError:
                self._watch_spawner(guest, start, PATIENCE)

    def _hear(self, guest: _Guest, start: float) -> bytes | None:
        while not guest.heard:
            try:
                piece = os.read(guest.pipes[1], 1 << 18)
            except BlockingIOError:
                self._wait(guest, start, guest.pipes[1], select.POLLIN)
                continue
            if not piece:
                self._watch_spawner(guest, start, PATIENCE)
            guest.heard += guest.frames.feed(piece)
        return guest.heard.popleft()

    def _guest(self, number: int | None) -> _Guest:
        """The guest of this number; the last one if None."""
        try:
            return self._guests[self._last if number is None else number]
        except KeyError:
            raise _GoneError(Code.WRONG_STATE, "there is no guest", time.monotonic()) from None

    def _wait(self, guest: _Guest, start: float, descriptor: int, events: int) -> None:
        poll = select.poll()
        poll.register(descriptor, events)
        poll.register(self._spawner.fileno(), select.POLLIN)
        ready = dict(poll.poll(PATIENCE * 1000))
        if not ready:
            raise _GoneError(Code.TIMED_OUT, "neither guest nor spawner said anything", start)
        if descriptor not in ready:
            self._watch_spawner(guest, start, 0.0)

    def _watch_spawner(self, guest: _Guest, start: float, seconds: float) -> None:
        """Raises :class:`_GoneError` with the spawner's reason, if the spawner reports this guest's end in time."""
        deadline = time.monotonic() + seconds
        while guest.gone is None:
            try:
                payload = self._spawner.receive(timeout=max(0.0, deadline - time.monotonic())).payload
                self._note(parse_message(payload, GuestGone))
            except (TimedOutError, WireError):
                return
        raise _GoneError(guest.gone.code, guest.gone.reason, start)

    def _note(self, gone: GuestGone) -> None:
        """Remembers the end of a guest, unless that has been given up."""
        guest = self._guests.get(gone.guest)
        if guest is not None:
            guest.gone = gone


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
