"""`casemate lock ...`: the runtimes that an image may run on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.options import FLAG, Json
from casemate.cli.output import Screen, facts, printable, table
from casemate.wire.protocol.runtime_lock import CORE, Record, RuntimeLock

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.cli.images import PlatformRuntime
    from casemate.cli.locks import Locked

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders with casemate.toml.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml.")]
Targets = Annotated[
    list[Path], typer.Argument(metavar="DIR|IMAGE...", help="Folders with casemate.toml, or images' files.")
]
OptionalTargets = Annotated[
    list[Path] | None,
    typer.Argument(metavar="DIR|IMAGE...", help="Folders with casemate.toml, or images' files. Default: none."),
]
Words = Annotated[
    list[str], typer.Argument(metavar="PLATFORM|DIGEST...", help="A platform, or the first digits of a digest.")
]
Told = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A colleague's runtime: what `casemate lock show --json` printed there. May be given several times.",
    ),
]
Common = Annotated[
    bool, typer.Option("--common", metavar=FLAG, help="Interpreters of this platform that many computers have.")
]

CHANGED = (
    "MRENCLAVE changes with casemate.lock: build again (`casemate build DIR`), and give out the policies that name the "
    "old one anew (`casemate policy IMAGE`)"
)

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def show(targets: OptionalTargets = None, *, as_json: Json = False) -> None:
    """Show this computer's runtime, and which runtimes locks accept.

    With --json, the output is what a colleague gives to `lock add --from`.

    Example:
        casemate lock show hello
        casemate lock show --json > mine.json
    """
    from casemate.cli.images import runtime
    from casemate.cli.locks import locked, owner, runtime_document

    screen = Screen(as_json=as_json)
    found, here = [locked(target, screen) for target in targets or ()], runtime()
    document = {
        "runtime": runtime_document(here),
        "locks": [
            {
                "path": printable(str(of.path)),
                "engine": of.engine,
                "records": [
                    {
                        "component": record.component,
                        "platform": record.platform,
                        "digest": record.digest.hex(),
                        "used": record.component in (CORE, of.engine),
                        "known_as": owner(record, here),
                    }
                    for record in of.lock.records
                ],
            }
            for of in found
        ],
    }
    screen.show(document, lambda console: _show(console, found, here))


@app.command()
def add(folders: Folders, *, told: Told = None, common: Common = False, as_json: Json = False) -> None:
    """Accept further runtimes: this computer's, or those that are named.

    Nothing is taken out of the locks. What is added is the core and the
    folder's own engine: an update of another engine concerns no lock.

    --common adds the interpreters that this version of Casemate knows, each
    with the packages and the Casemate that are installed here.

    Example:
        casemate lock add hello
        casemate lock add hello --from colleague.json --common
    """
    from casemate.cli.images import runtime
    from casemate.cli.locks import (
        THIS_COMPUTER,
        common_runtime,
        differences,
        needed,
        read_told,
        source_lock,
    )
    from casemate.images.lock import write_lock

    screen = Screen(as_json=as_json)
    found, others = [source_lock(folder) for folder in folders], [(path, read_told(path)) for path in told or ()]
    here = runtime()
    for path, theirs in others:
        for words in differences(theirs, here):
            screen.note(f"runtime {path} {words}")
    if common and not here.common:
        screen.say(f"no common interpreters of {here.platform} are known", style="yellow")
    changes: list[tuple[Locked, RuntimeLock]] = []
    for of in found:
        lock = of.lock
        for path, theirs in others:
            lock = lock.accepting(theirs.platform, needed(theirs.parts, of.engine, where=f"runtime {path}"))
        if common:
            lock = lock.accepting(here.platform, common_runtime(here, of.engine))
        elif not others:
            lock = lock.accepting(here.platform, needed(here.parts, of.engine, where=THIS_COMPUTER))
        changes.append((of, lock))
    for of, lock in changes:
        if lock != of.lock:
            write_lock(of.path, lock)
    _say_changes(screen, "added", [(of, _beyond(lock, of.lock)) for of, lock in changes])


@app.command()
def drop(folder: Folder, words: Words, *, as_json: Json = False) -> None:
    """Take runtimes out of a lock: all of a platform, or those of a digest.

    Example:
        casemate lock drop hello linux-x86_64-cp311
        casemate lock drop hello 52037566
    """
    from casemate.cli.locks import matching, source_lock
    from casemate.images.lock import write_lock

    of = source_lock(folder)
    lock = of.lock.without([record for word in words for record in matching(of.lock, word)])
    write_lock(folder, lock)
    _say_changes(Screen(as_json=as_json), "dropped", [(of, _beyond(of.lock, lock))])


@app.command()
def check(targets: Targets, *, as_json: Json = False) -> None:
    """Check that this computer would run each folder or image; exit code 1 if not.

    Also refused: a platform without a line for the core or for the engine,
    on which nobody could run it, and an image in a folder that was built
    with another lock.

    Example:
        casemate lock check hello
    """
    from casemate.cli.images import runtime
    from casemate.cli.locks import locked, problems

    screen = Screen(as_json=as_json)
    found, here = [locked(target, screen) for target in targets], runtime()
    results = [(of, list(problems(of, here))) for of in found]
    document = {
        "accepted": not any(complaints for _, complaints in results),
        "locks": [{"path": printable(str(of.path)), "problems": complaints} for of, complaints in results],
    }

    def show_results(console: "Console") -> None:
        for of, complaints in results:
            facts(console, [(str(of.path), complaint) for complaint in complaints or ["runs on this computer"]])

    screen.show(document, show_results)
    if not document["accepted"]:
        raise typer.Exit(ExitCode.FAILED)


def _beyond(lock: RuntimeLock, other: RuntimeLock) -> list[Record]:
    """The records of a lock that another one does not have."""
    return [record for record in lock.records if record not in other.records]


def _say_changes(screen: Screen, verb: str, changes: "list[tuple[Locked, list[Record]]]") -> None:
    from casemate.cli.locks import short

    changed = any(records for _, records in changes)
    document = {
        "changed": changed,
        "locks": [
            {
                "path": printable(str(of.path)),
                verb: [
                    {"component": record.component, "platform": record.platform, "digest": record.digest.hex()}
                    for record in records
                ],
            }
            for of, records in changes
        ],
    }
    rows = [
        (verb, f"{of.path}: {record.component} {record.platform} {short(record.digest)}")
        for of, records in changes
        for record in records
    ]
    rows += [("as it was", str(of.path)) for of, records in changes if not records]
    if changed:
        rows.append(("next", CHANGED))
    screen.show(document, lambda console: facts(console, rows))


def _show(console: "Console", found: "list[Locked]", here: "PlatformRuntime") -> None:
    from casemate.cli.locks import THIS_COMPUTER, owner, short

    facts(
        console,
        [
            (THIS_COMPUTER, here.platform),
            *((part.component, part.digest.hex()) for part in here.parts),
        ],
    )
    for of in found:
        rows = table("part", "platform", "digest", "whose", title=printable(f"{of.path}, engine {of.engine}"))
        for record in of.lock.records:
            note = owner(record, here) if record.component in (CORE, of.engine) else f"unused: not {of.engine}"
            rows.add_row(record.component, record.platform, short(record.digest), note)
        console.print(rows)
