"""The loop of `casemate dev`: changes and keys in, copies and calls out."""

import json
import queue
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.files import InputFileError, read_file
from casemate.cli.functions.cases import CASES
from casemate.cli.functions.copies import Copies, caller_changes, manifest_of, named_callers
from casemate.cli.functions.debugging import debug_report
from casemate.cli.functions.keyboard import keys
from casemate.cli.functions.watching import Watching
from casemate.cli.group import report
from casemate.cli.images import MANIFEST
from casemate.cli.log_reader import Console
from casemate.cli.output import Screen, printable
from casemate.client.caller_keys import CallerKey
from casemate.images.functions.folder import measured_files
from casemate.wire.encodings.json_text import parse_json
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.call import MAX_ARGUMENTS
from casemate.wire.protocol.manifest import ANYONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from casemate.client.core import Result
    from casemate.client.sync import Enclave
    from casemate.wire.protocol.manifest import EntryPoint, Manifest

CHANGED, AGAIN, ANOTHER, QUIT = "changed", "again", "another", "quit"
"""What the session can be told."""

_KEYS = {"\n": AGAIN, "\r": AGAIN, "r": AGAIN, "e": ANOTHER, "q": QUIT}
_HELP = "Enter or r: call again; e: another example input; q: end. Changes of the folder are watched."


@dataclass(slots=True)
class Wanted:
    """What to call the function with."""

    entry: str | None
    """None for the manifest's first."""
    inputs: list[Path]
    """Files of arguments, the current one first; none for ``null``."""
    caller: CallerKey | None
    """Who signs; None for a key that is made here for the first caller whom the entry point names."""


def inputs_of(folder: Path, given: Path | None) -> list[Path]:
    """The files that hold example inputs, first what the user named, else ``input.json``."""
    found = [folder / "input.json", *sorted(folder.glob("*input*.json")), *sorted(folder.glob(f"{CASES}/*/input.json"))]
    first = [] if given is None else [given]
    return list(dict.fromkeys(first + [path for path in found if path.is_file()]))


class DevSession:
    """One session. It ends by the key q, or by KeyboardInterrupt."""

    def __init__(self, copies: Copies, wanted: Wanted, screen: Screen) -> None:
        self._copies = copies
        self._wanted = wanted
        self._screen = screen
        self._news: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        self._keys: dict[str, CallerKey] = {}
        self._running = ExitStack()
        self._enclave: Enclave | None = None
        self._catch_up: Callable[[], None] = lambda: None
        self._manifest: Manifest | None = None

    def run(self) -> None:
        """Builds and calls, now and whenever it is told to."""
        watching = Watching(self._copies.folder, lambda: self._tell(CHANGED))
        try:
            with keys(self._on_key) as has_keys:
                self._anew(time.monotonic())
                if has_keys:
                    self._screen.note(_HELP, style="dim")
                self._say({"event": "watching", "folder": str(self._copies.folder)})
                while (told := self._news.get())[0] != QUIT:
                    self._heed(*told)
        finally:
            watching.close()
            self._running.close()

    def _tell(self, what: str) -> None:
        self._news.put((what, time.monotonic()))

    def _on_key(self, key: str) -> None:
        if key in _KEYS:
            self._tell(_KEYS[key])

    def _heed(self, what: str, since: float) -> None:
        if what == CHANGED:
            self._anew(since)
            return
        if what == ANOTHER and self._wanted.inputs:
            self._wanted.inputs.append(self._wanted.inputs.pop(0))
        self._call(since)

    def _anew(self, since: float) -> None:
        """Builds and launches the folder as it is now beside what runs, which then ends; and calls it."""
        try:
            self._launch(since)
        except (CasemateError, OSError) as error:
            self._fail(error)
            return
        self._call(since)

    def _launch(self, since: float) -> None:
        files = measured_files(self._copies.folder)
        for name in named_callers(files[MANIFEST]):
            self._keys.setdefault(name, CallerKey.generate())
        changes = caller_changes(self._keys) if self._wanted.caller is None else {}
        manifest = manifest_of(files, changes)
        image = self._copies.build(manifest.engine, changes)
        with ExitStack() as stack:
            console = Console(self._printed)
            enclave, catch_up = stack.enter_context(self._copies.running(image, console))
            before, self._running = self._running, stack.pop_all()
            self._enclave, self._catch_up, self._manifest = enclave, catch_up, manifest
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
            result = enclave.call(entry.name, self._arguments(), caller=self._caller(entry))
        except (CasemateError, OSError) as error:
            self._catch_up()
            self._fail(error)
            return
        self._catch_up()
        self._show(entry, result, time.monotonic() - begin, time.monotonic() - since)

    def _arguments(self) -> Any:
        if not self._wanted.inputs:
            return None
        path = self._wanted.inputs[0]
        text = read_file(path, what="input", limit=MAX_ARGUMENTS)
        return parse_json(f"input {path}", text, limit=MAX_ARGUMENTS)

    def _caller(self, entry: "EntryPoint") -> CallerKey | None:
        if self._wanted.caller is not None or entry.callers is ANYONE:
            return self._wanted.caller
        return self._keys[entry.callers[0].name]

    def _show(self, entry: "EntryPoint", result: "Result", took: float, since_change: float) -> None:
        used = result.metrics
        document = {
            "event": "result",
            "entry": entry.name,
            "input": str(self._wanted.inputs[0]) if self._wanted.inputs else None,
            "result": result.value,
            "call_ms": round(took * 1000, 3),
            "total_ms": round(since_change * 1000, 3),
            "cpu_ms": None if used.cpu_us is None else round(used.cpu_us / 1000, 3),
            "peak_kib": used.peak_kib,
            "cold": used.cold,
        }
        if self._screen.as_json:
            self._say(document)
            return
        sys.stdout.write(printable(json.dumps(result.value, indent=2, ensure_ascii=False)) + "\n")
        sys.stdout.flush()
        shown = f", {document['input']}" if document["input"] else ""
        said = [f"{took * 1000:.1f} ms"]
        said += [] if used.cpu_us is None else [f"{used.cpu_us / 1000:.1f} ms of CPU"]
        said += [] if used.peak_kib is None else [f"{used.peak_kib / 1024:.1f} MiB of memory at most"]
        said.append(f"{since_change * 1000:.0f} ms since the change or key")
        self._screen.note(f"{entry.name}{shown}: {', '.join(said)}", style="dim")

    def _printed(self, text: str) -> None:
        if self._screen.as_json:
            self._say({"event": "console", "text": text})
        else:
            self._screen.console_line(text)

    def _fail(self, error: CasemateError | OSError) -> None:
        """Shows what went wrong; the session goes on."""
        told = debug_report(error, self._copies.folder, [])
        if self._screen.as_json:
            self._say({"event": "error", **told.document()})
        else:
            report(told, as_json=False)

    def _say(self, document: dict[str, object]) -> None:
        if self._screen.as_json:
            sys.stdout.write(json.dumps(document) + "\n")
            sys.stdout.flush()


def _entry(manifest: "Manifest", wanted: str | None) -> "EntryPoint":
    found = manifest.entries[0] if wanted is None else manifest.entry(wanted)
    if found is None:
        known = ", ".join(entry.name for entry in manifest.entries)
        raise InputFileError(f"the manifest has no entry point {wanted!r}, it has {known}")
    return found
