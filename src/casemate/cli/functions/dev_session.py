"""The loop of `casemate dev`: changes and keys in, copies and calls out."""

import json
import queue
import sys
import threading
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.files import InputFileError, read_file
from casemate.cli.functions.cases import CASES
from casemate.cli.functions.copies import Copies, caller_changes, manifest_of, named_callers, signing_caller
from casemate.cli.functions.copy_calls import STREAM, Gave, call_copy, read_stream, stream_text
from casemate.cli.functions.debugging import debug_report
from casemate.cli.functions.keyboard import keys
from casemate.cli.functions.watching import Watching, watching_file
from casemate.cli.group import report
from casemate.cli.handlers_log import HandlersLog
from casemate.cli.images import MANIFEST
from casemate.cli.log_reader import Console
from casemate.cli.output import Screen, printable
from casemate.client.caller_keys import CallerKey
from casemate.client.errors import EnclaveRefusedError, FunctionRefusedError
from casemate.images.functions.folder import measured_files
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.call import MAX_ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from casemate.client.local import LocalMachine
    from casemate.client.sync import Enclave
    from casemate.images.keys import DeveloperKey
    from casemate.wire.protocol.call import CallMetrics
    from casemate.wire.protocol.manifest import EntryPoint, Manifest

CHANGED, HANDLERS, AGAIN, ANOTHER, QUIT = "changed", "handlers", "again", "another", "quit"
"""What the session can be told."""

_ENDS_CALLS = frozenset((CHANGED, HANDLERS, QUIT))
"""What a call that is under way is not waited for."""

_KEYS = {"\n": AGAIN, "\r": AGAIN, "r": AGAIN, "e": ANOTHER, "q": QUIT}
_HELP = "Enter or r: call again; e: another example input; q: end. Changes of the folder are watched."

_SHOWN = 16 * 1024
"""Characters of a stream that a person is shown."""


@dataclass(slots=True)
class Wanted:
    """What to call the function with, and who answers it."""

    entry: str | None
    """None for the manifest's first."""
    inputs: list[Path]
    """Files of arguments, the current one first; none for ``null``."""
    caller: CallerKey | None
    """Who signs; None for a key that is made here for the first caller whom the entry point names."""
    stream: Path | None
    """What is streamed in; None for the file beside the arguments that ends in ``.stream``, where there is one."""
    ocalls: Path | None
    """The module that answers OCALLs."""


def inputs_of(folder: Path, given: Path | None) -> list[Path]:
    """The files that hold example inputs, first what the user named, else ``input.json``."""
    found = [folder / "input.json", *sorted(folder.glob("*input*.json")), *sorted(folder.glob(f"{CASES}/*/input.json"))]
    first = [] if given is None else [given]
    return list(dict.fromkeys(first + [path for path in found if path.is_file()]))


class _CallEndedError(Exception):
    """The copy was destroyed during a call: nobody waits for its result any longer."""


class DevSession:
    """One session. It ends by the key q, or by KeyboardInterrupt, and ends all that it has started.

    Args:
        folder: the function's.
        developer: signs the copies.
        machine: starts a machine that ends with the block, on the same state each time.
        state: that machine's state directory.
        wanted: what to call.
        screen: where all of it is shown.
    """

    def __init__(
        self,
        folder: Path,
        developer: "DeveloperKey",
        *,
        machine: "Callable[[], AbstractContextManager[LocalMachine]]",
        state: Path,
        wanted: Wanted,
        screen: Screen,
    ) -> None:
        self._folder = folder
        self._developer = developer
        self._start = machine
        self._handlers_log = HandlersLog(state)
        self._wanted = wanted
        self._screen = screen
        self._news: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        self._keys: dict[str, CallerKey] = {}
        self._machine = ExitStack()
        self._copies: Copies | None = None
        self._running = ExitStack()
        self._enclave: Enclave | None = None
        self._catch_up: Callable[[], None] = lambda: None
        self._manifest: Manifest | None = None
        self._lock = threading.Lock()
        self._called: Enclave | None = None
        """The copy in which a call is under way; None also as soon as news have ended it."""
        self._console = Console(self._printed)
        self._has_warned = False

    def run(self) -> None:
        """Builds and calls, now and whenever it is told to.

        Raises:
            NoMachineError: no machine starts here, or none with these handlers.
        """
        with ExitStack() as stack:
            stack.callback(self._handlers_log.close)
            stack.callback(self._end_machine)
            self._start_machine()
            stack.enter_context(Watching(self._folder, lambda: self._tell(CHANGED)))
            if self._wanted.ocalls is not None:
                stack.enter_context(watching_file(self._wanted.ocalls, lambda: self._tell(HANDLERS)))
            has_keys = stack.enter_context(keys(self._on_key))
            self._anew(time.monotonic())
            if has_keys:
                self._screen.note(_HELP, style="dim")
            self._say({"event": "watching", "folder": str(self._folder)})
            while self._heed(*self._news_since()):
                pass

    def _start_machine(self) -> None:
        with ExitStack() as stack:
            self._copies = Copies(self._folder, stack.enter_context(self._start()), self._developer)
            self._machine = stack.pop_all()

    def _end_machine(self) -> None:
        self._drop_copy()
        self._copies = None
        self._machine.close()
        self._tell_handlers()

    def _drop_copy(self) -> None:
        self._enclave = None
        self._running.close()

    def _tell(self, what: str) -> None:
        """Called in other threads. Ends a call that is under way where what comes next does not need its result."""
        self._news.put((what, time.monotonic()))
        with self._lock:
            if self._called is not None and self._copies is not None and what in _ENDS_CALLS:
                self._copies.end(self._called)
                self._called = None

    def _on_key(self, key: str) -> None:
        if key in _KEYS:
            self._tell(_KEYS[key])

    def _news_since(self) -> tuple[list[str], float]:
        """All that has come since this was last asked, at least one, and when the last of it came."""
        news = [self._news.get()]
        while not self._news.empty():
            news.append(self._news.get())
        return [what for what, _ in news], news[-1][1]

    def _heed(self, news: list[str], since: float) -> bool:
        """Does what has become necessary, once however often it was asked for; False where the session is to end."""
        if QUIT in news:
            return False
        inputs = self._wanted.inputs
        for _ in range(news.count(ANOTHER) % max(1, len(inputs))):
            inputs.append(inputs.pop(0))
        if HANDLERS in news:
            self._screen.note("the handlers have changed: the machine starts anew", style="dim")
            self._end_machine()
        if {HANDLERS, CHANGED} & set(news) or self._copies is None:
            self._anew(since)
        else:
            self._call(since)
        return True

    def _anew(self, since: float) -> None:
        """Builds and launches the folder as it is now beside what runs, which then ends; and calls it."""
        try:
            if self._copies is None:
                self._start_machine()
            self._launch(since)
        except (CasemateError, OSError) as error:
            self._fail(error)
            return
        self._call(since)

    def _launch(self, since: float) -> None:
        copies = self._copies
        if copies is None:
            return
        files = measured_files(self._folder)
        for name in named_callers(files[MANIFEST]):
            self._keys.setdefault(name, CallerKey.generate())
        changes = caller_changes(self._keys) if self._wanted.caller is None else {}
        manifest = manifest_of(files, changes)
        image = copies.build(manifest.engine, changes)
        with ExitStack() as stack:
            console = Console(self._printed)
            enclave, catch_up = stack.enter_context(copies.running(image, console))
            before, self._running = self._running, stack.pop_all()
            self._enclave, self._catch_up, self._manifest = enclave, catch_up, manifest
            self._console = console
        before.close()
        took = time.monotonic() - since
        self._say({"event": "launched", "mr_enclave": image.mr_enclave.hex(), "seconds": round(took, 3)})
        self._screen.note(f"built and launched in {took * 1000:.0f} ms", style="dim")

    def _call(self, since: float) -> None:
        enclave, manifest = self._enclave, self._manifest
        if enclave is None or manifest is None:
            return
        begin = time.monotonic()
        try:
            entry = _entry(manifest, self._wanted.entry)
            arguments, pieces = self._arguments()
            with self._calling(enclave):
                gave = call_copy(enclave, entry, arguments, pieces, self._caller(entry))
        except _CallEndedError:
            self._drop_copy()
            self._screen.note("the call was not waited for", style="dim")
        except (CasemateError, OSError) as error:
            self._catch_up()
            self._tell_handlers()
            self._warn_of_printing(manifest)
            self._fail(error)
        else:
            took = time.monotonic() - begin
            self._catch_up()
            self._tell_handlers()
            self._warn_of_printing(manifest)
            self._show(entry, gave, took, time.monotonic() - since)

    @contextmanager
    def _calling(self, enclave: "Enclave") -> "Iterator[None]":
        """Has news end the call that the block makes; ``_CallEndedError`` where they did, whatever it has given."""
        with self._lock:
            self._called = enclave
        failure: CasemateError | OSError | None = None
        try:
            yield
        except (CasemateError, OSError) as error:
            failure = error
        with self._lock:
            was_ended, self._called = self._called is None, None
        if was_ended:
            raise _CallEndedError
        if failure is not None:
            raise failure

    def _arguments(self) -> tuple[Any, tuple[bytes, ...]]:
        """The arguments, and what is streamed in."""
        value, stream = None, self._wanted.stream
        if self._wanted.inputs:
            path = self._wanted.inputs[0]
            text = read_file(path, what="input", limit=MAX_ARGUMENTS)
            value = parse_json(f"input {path}", text, limit=MAX_ARGUMENTS)
            beside = path.with_suffix(STREAM)
            stream = beside if stream is None and beside.is_file() else stream
        return value, () if stream is None else (read_stream(stream),)

    def _caller(self, entry: "EntryPoint") -> CallerKey | None:
        if self._wanted.caller is not None:
            return self._wanted.caller
        name = signing_caller(entry)
        return None if name is None else self._keys[name]

    def _show(self, entry: "EntryPoint", gave: Gave, took: float, since_change: float) -> None:
        used = gave.result.metrics
        document = {
            "event": "result",
            "entry": entry.name,
            "input": str(self._wanted.inputs[0]) if self._wanted.inputs else None,
            "result": gave.result.value,
            "stream": None
            if gave.stream is None
            else {"bytes_in": gave.sent, "bytes_out": len(gave.stream), "text": stream_text(gave.stream[:_SHOWN])},
            "call_ms": round(took * 1000, 3),
            "total_ms": round(since_change * 1000, 3),
            "cpu_ms": None if used.cpu_us is None else round(used.cpu_us / 1000, 3),
            "peak_kib": used.peak_kib,
            "cold": used.cold,
        }
        if self._screen.as_json:
            self._say(document)
            return
        self._show_stream(gave)
        sys.stdout.write(printable(json.dumps(gave.result.value, indent=2, ensure_ascii=False)) + "\n")
        sys.stdout.flush()
        shown = f", {document['input']}" if document["input"] else ""
        said = [f"{took * 1000:.1f} ms", *_used(used)]
        said += [] if gave.stream is None else [f"{gave.sent} bytes in, {len(gave.stream)} out"]
        said.append(f"{since_change * 1000:.0f} ms since the change or key")
        self._screen.note(f"{entry.name}{shown}: {', '.join(said)}", style="dim")

    def _show_stream(self, gave: Gave) -> None:
        if not gave.stream:
            return
        text = stream_text(gave.stream[:_SHOWN])
        sys.stdout.write(printable(text) + ("" if text.endswith("\n") else "\n"))
        if len(gave.stream) > _SHOWN:
            self._screen.note(f"... and {len(gave.stream) - _SHOWN} bytes more", style="dim")

    def _printed(self, text: str) -> None:
        if self._screen.as_json:
            self._say({"event": "console", "text": text})
        else:
            self._screen.console_line(text)

    def _tell_handlers(self) -> None:
        """Shows what the handlers of OCALLs have printed meanwhile, and what went wrong in them."""
        for line in self._handlers_log.new():
            if self._screen.as_json:
                self._say({"event": "ocalls", "text": line.text})
            else:
                self._screen.console_line(line.text, of="ocalls")

    def _warn_of_printing(self, manifest: "Manifest") -> None:
        """Says so once where a function has printed that may do it in a debug enclave alone."""
        warning = None if self._has_warned else self._console.warning(manifest)
        if warning is None:
            return
        self._has_warned = True
        if self._screen.as_json:
            self._say({"event": "warning", "text": warning})
        else:
            self._screen.say(warning, style="yellow")

    def _fail(self, error: CasemateError | OSError) -> None:
        """Shows what went wrong; the session goes on."""
        told = debug_report(error, self._folder, [])
        if self._screen.as_json:
            self._say({"event": "error", **told.document()})
            return
        report(told, as_json=False)
        if isinstance(error, EnclaveRefusedError | FunctionRefusedError) and error.metrics is not None:
            words = [f"{error.metrics.wall_us / 1000:.1f} ms", *_used(error.metrics)]
            self._screen.note(f"the call used {', '.join(words)}", style="dim")

    def _say(self, document: dict[str, object]) -> None:
        if self._screen.as_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()


def _used(metrics: "CallMetrics") -> list[str]:
    """What a call used beside its time."""
    said = [] if metrics.cpu_us is None else [f"{metrics.cpu_us / 1000:.1f} ms of CPU"]
    return said + ([] if metrics.peak_kib is None else [f"{metrics.peak_kib / 1024:.1f} MiB of memory at most"])


def _entry(manifest: "Manifest", wanted: str | None) -> "EntryPoint":
    found = manifest.entries[0] if wanted is None else manifest.entry(wanted)
    if found is None:
        known = ", ".join(entry.name for entry in manifest.entries)
        raise InputFileError(f"the manifest has no entry point {wanted!r}, it has {known}")
    return found
