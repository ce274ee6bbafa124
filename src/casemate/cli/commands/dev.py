"""`casemate dev`: builds, launches and calls a function anew whenever its folder changes."""

import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.interruption import interrupted_by_signals
from casemate.cli.options import CallerFile, DeveloperKey, Ocalls, Quiet
from casemate.cli.options import Json as JsonOption
from casemate.cli.output import Screen
from casemate.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from casemate.client.local import LocalMachine

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml.")]
Input = Annotated[
    Path | None,
    typer.Option("--input", "-i", metavar="FILE", help="The arguments, as JSON. Default: DIR/input.json."),
]
Entry = Annotated[
    str | None, typer.Option("--entry", metavar="NAME", help="The entry point. Default: the manifest's first.")
]


StreamIn = Annotated[
    Path | None,
    typer.Option(
        "--stream-in",
        metavar="FILE",
        help="What is streamed in. Default: input.stream beside input.json, if it is there.",
    ),
]


def dev(
    folder: Folder,
    *,
    input_file: Input = None,
    entry: Entry = None,
    stream_in: StreamIn = None,
    caller: CallerFile = None,
    ocalls: Ocalls = None,
    key: DeveloperKey = None,
    quiet: Quiet = False,
    as_json: JsonOption = False,
) -> None:
    """Run a function while you write it.

    Builds a debug copy, launches it on a machine of its own, and calls it:
    first, after each change of a file in DIR, and when you press a key. Shows
    the result, what the function prints, what it throws and where, and what
    the call has used. What cannot be built or called is shown, too, and the
    next change is waited for. Ctrl-C ends it.

    Keys: Enter or r calls it again, e with the next example input (DIR's
    *.json files and tests/cases/*/input.json), q ends it. Without a
    terminal there are no keys. With --json it prints one document a line.

    With --ocalls it shows what your handlers print and raise, too, and the
    machine starts anew when that file changes.

    Example:
        casemate dev hello
        casemate dev hello --ocalls hello/handlers.py
        casemate dev hello --input hello/input.json --json
    """
    from casemate.cli.functions.dev_session import DevSession, Wanted, inputs_of
    from casemate.cli.images import MANIFEST, developer_key, is_source
    from casemate.client.caller_keys import read_caller_key
    from casemate.client.local import local_machine
    from casemate.images.errors import FolderError

    screen = Screen(as_json=as_json, quiet=quiet)
    if not is_source(folder):
        raise FolderError(f"{folder} holds no {MANIFEST}: it is no enclave's folder")
    signer = None if caller is None else read_caller_key(caller)
    wanted = Wanted(entry, inputs_of(folder, input_file), signer, stream_in, ocalls)
    developer = developer_key(key, screen)

    @contextmanager
    def machine() -> "Iterator[LocalMachine]":
        with ExitStack() as stack:
            with Progress(screen).step("starting a machine", "machine") as found:
                started = stack.enter_context(local_machine(state, pool=2, ocalls=ocalls))
                found.append("started for this session")
            yield started

    try:
        with interrupted_by_signals(), tempfile.TemporaryDirectory(prefix="casemate-function-") as place:
            state = Path(place, "state")
            DevSession(folder, developer, machine=machine, state=state, wanted=wanted, screen=screen).run()
    except KeyboardInterrupt:
        screen.note("ended")
        sys.stdout.flush()
