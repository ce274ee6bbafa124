"""`casemate logs`: what debug enclaves and handlers of OCALLs print, and what happens on a machine."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, CaFile, State, TokenFile, Url
from casemate.cli.options import Json as JsonOption
from casemate.cli.output import Screen

if TYPE_CHECKING:
    from casemate.cli.endpoints import Endpoint
    from casemate.cli.handlers_log import HandlersLine, HandlersLog
    from casemate.client.sync import Client
    from casemate.wire.messages.machine_log import LogEntry

PERIOD = 0.1
"""Seconds between two looks at a log that somebody follows."""

Target = Annotated[
    str | None, typer.Argument(metavar="[N|NAME]", help="Of one enclave: its number, or the name that `ps` shows.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", metavar=FLAG, help="Go on with what comes, until Ctrl-C.")]


def logs(
    target: Target = None,
    *,
    follow: Follow = False,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: JsonOption = False,
) -> None:
    """Show what debug enclaves print, the machine's events, and its OCALL handlers' log.

    Only debug enclaves' lines leave them, behind `|`. The host keeps the last
    2,048 lines and 512 events in memory; all of it is the host's word. What
    the operator's own handlers print and raise stands there, too, on the
    computer that they run on. With --follow and --json it prints one JSON
    document on each line.

    Example:
        casemate logs
        casemate logs -f hello
    """
    from casemate.cli.endpoints import EndpointOptions, endpoint_of

    screen = Screen(as_json=as_json)
    endpoint = endpoint_of(EndpointOptions(state, url, token_file, ca))
    with endpoint.connect() as client:
        wanted = None if target is None else _enclaves(client, target)
    with _handlers_log(endpoint) if wanted is None else nullcontext() as handlers:
        entries = (entry for entry in _entries(endpoint, handlers, follow=follow) if _is_wanted(entry, wanted))
        if as_json and not follow:
            screen.show({"entries": [_document(entry) for entry in entries]}, lambda _: None)
            return
        for entry in entries:
            sys.stdout.write(f"{json.dumps(_document(entry)) if as_json else _line(entry)}\n")
            sys.stdout.flush()


def _handlers_log(endpoint: "Endpoint") -> "AbstractContextManager[HandlersLog | None]":
    """The log of the handlers of OCALLs; None where they are on another computer."""
    from casemate.cli.handlers_log import HandlersLog

    machine = endpoint.own_machine()
    return nullcontext() if machine is None else closing(HandlersLog(machine.state))


def _entries(
    endpoint: "Endpoint", handlers: "HandlersLog | None", *, follow: bool
) -> Iterator["LogEntry | HandlersLine"]:
    """The logs, and with ``follow`` what comes, also where the host is started anew meanwhile."""
    from casemate.cli.log_reader import LogReader
    from casemate.client.errors import NoHostError
    from casemate.link.errors import PeerGoneError

    reader = LogReader()
    while True:
        try:
            with endpoint.connect() as client:
                while True:
                    new = [*reader.new(client.log), *(() if handlers is None else handlers.new())]
                    yield from sorted(new, key=lambda entry: entry.at)
                    if not follow:
                        return
                    time.sleep(PERIOD)
        except NoHostError:
            raise
        except PeerGoneError:
            if not follow:
                raise
        time.sleep(PERIOD)


def _enclaves(client: "Client", target: str) -> frozenset[int]:
    """The numbers that the user means."""
    from casemate.cli.own_machine import enclave_number
    from casemate.wire.protocol.faults import Code, refuse

    number = enclave_number(target)
    if number is not None:
        return frozenset({number})
    there = client.enclaves()
    found = frozenset(each.enclave for each in there if each.name == target)
    if not found:
        names = ", ".join(sorted({each.name for each in there})) or "none"
        raise refuse(Code.UNKNOWN_ENCLAVE, f"no enclave is named {target!r}, there are: {names}")
    return found


def _is_wanted(entry: "LogEntry | HandlersLine", wanted: frozenset[int] | None) -> bool:
    return wanted is None or entry.enclave in wanted


def _document(entry: "LogEntry | HandlersLine") -> dict[str, object]:
    from casemate.cli.log_reader import time_text

    return {
        "at": time_text(entry.at),
        "source": str(entry.source),
        "enclave": entry.enclave or None,
        "text": entry.text,
    }


def _line(entry: "LogEntry | HandlersLine") -> str:
    """One line: text with line ends of its own cannot look like another entry."""
    from casemate.cli.handlers_log import SOURCE
    from casemate.cli.log_reader import time_text
    from casemate.process.log_file import one_line
    from casemate.wire.messages.machine_log import LogSource

    who = f"enclave {entry.enclave}" if entry.enclave else "ocalls" if entry.source == SOURCE else "machine"
    mark = "| " if entry.source in (LogSource.CONSOLE, SOURCE) else ""
    return f"{time_text(entry.at)}  {who:<10}  {mark}{one_line(entry.text)}"
