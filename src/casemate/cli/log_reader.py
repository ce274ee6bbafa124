"""Reads a machine's log on from where it was read before."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from casemate.wire.errors import CasemateError
from casemate.wire.messages.machine_log import LogEntry, LogIs, LogSource

if TYPE_CHECKING:
    from casemate.cli.endpoints import Endpoint
    from casemate.wire.protocol.manifest import Manifest

LIVE_PERIOD = 0.03
"""Seconds between two looks at the log while a call runs."""

MAX_PAGES = 32
"""Most answers of the host that are read in one go: a function may print as fast as anybody reads."""


class LogReader:
    """Where in a machine's log its reader is."""

    def __init__(self) -> None:
        self._host: int | None = None
        self._after = 0

    def new(self, read: Callable[[int], LogIs]) -> Iterator[LogEntry]:
        """The entries since the last one that this gave. Where the host was started anew, all that it has.

        Args:
            read: gives the entries after a number, such as :meth:`casemate.client.Client.log`.
        """
        for _ in range(MAX_PAGES):
            said = read(self._after)
            if said.host != self._host and self._after:
                self._after = 0
                said = read(0)
            self._host = said.host
            if not said.entries:
                return
            self._after = said.entries[-1].number
            yield from said.entries


class Console:
    """What the functions of debug enclaves have printed since this was made."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.lines: list[LogEntry] = []

    def take(self, entries: Iterator[LogEntry], enclave: int) -> None:
        """Keeps and shows the lines of one enclave."""
        for entry in entries:
            if entry.source is LogSource.CONSOLE and entry.enclave == enclave:
                self.lines.append(entry)
                self._tell(entry.text)

    def warning(self, manifest: "Manifest") -> str | None:
        """Words for who has printed what only a debug enclave may; None where nothing was, or others may."""
        from casemate.wire.protocol.manifest import Permission

        if not self.lines or Permission.LOG in manifest.permissions:
            return None
        line = 'permissions = ["log", ...]'
        return (
            f"only a debug copy may print: elsewhere that is an exception, without {line} in [enclave] of casemate.toml"
        )

    def document(self) -> list[dict[str, object]]:
        """The lines for ``--json``."""
        return [{"at": time_text(line.at), "text": line.text} for line in self.lines]


@contextmanager
def followed(endpoint: "Endpoint", enclave: int, console: Console) -> Iterator[Callable[[], None]]:
    """Shows what an enclave prints, by a connection of its own, as it comes; when the block ends, all of it.

    Yields a function that returns once everything has been shown that was printed before it was called. A host that
    does not answer ends the following: what the block does says so better.
    """
    wishes: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
    last, over = threading.Event(), threading.Event()

    def follow() -> None:
        try:
            with endpoint.connect() as client:
                reader = LogReader()
                while not last.is_set():
                    wish = None
                    with suppress(queue.Empty):
                        wish = wishes.get(timeout=LIVE_PERIOD)
                    console.take(reader.new(client.log), enclave)
                    if wish is not None:
                        wish.set()
        except CasemateError:
            return
        finally:
            over.set()

    def catch_up(wish: threading.Event) -> None:
        wishes.put(wish)
        while not (wish.wait(LIVE_PERIOD) or over.is_set()):
            pass

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield lambda: catch_up(threading.Event())
    finally:
        catch_up(last)
        follower.join()


def time_text(at: int) -> str:
    """A time in milliseconds since 1970 as RFC 3339 has it, in this computer's time zone."""
    return datetime.fromtimestamp(at / 1000).astimezone().isoformat(timespec="milliseconds")
