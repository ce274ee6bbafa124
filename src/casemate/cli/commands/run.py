"""`casemate run`: the whole journey in one command."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.group import report
from casemate.cli.handlers_log import HandlersLog
from casemate.cli.images import build_time, developer_key, image_of, is_source, lock, source_manifest
from casemate.cli.metrics_text import metrics_of_failure
from casemate.cli.options import (
    FLAG,
    CallerFile,
    DeveloperKey,
    InputFile,
    Json,
    Layers,
    Metrics,
    Ocalls,
    OptionalPolicyFile,
    OutputFile,
    Quiet,
    ReceiptFile,
    Relock,
    Seed,
    State,
    TeeOption,
)
from casemate.cli.output import Screen
from casemate.wire.errors import CasemateError
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.log_reader import Console
    from casemate.cli.progress import Progress
    from casemate.client.local import LocalMachine, StartingMachine
    from casemate.images.image import Image
    from casemate.images.keys import DeveloperKey as Key
    from casemate.wire.protocol.manifest import Manifest

NEEDED_LATER = ("casemate.client.sync", "casemate.images.functions.build", "casemate.cli.snp.policies")
"""Modules whose import takes long, and which are needed once the machine is ready."""

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml, or an image's file.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", metavar=FLAG, help="Run a debug copy: show its exceptions, their lines, and its console."),
]
Entry = Annotated[
    str | None, typer.Option("--entry", metavar="NAME", help="The entry point. Default: the only one there is.")
]


def run(
    folder: Folder,
    *,
    input_file: InputFile,
    entry: Entry = None,
    debug: Debug = False,
    caller: CallerFile = None,
    output: OutputFile = None,
    receipt: ReceiptFile = None,
    policy: OptionalPolicyFile = None,
    state: State = None,
    seed: Seed = None,
    layer: Layers = None,
    key: DeveloperKey = None,
    relock: Relock = False,
    tee: TeeOption = Tee.SGX,
    ocalls: Ocalls = None,
    metrics: Metrics = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Build, launch, attest and call a function, in one command.

    Uses the machine that runs on the state directory, or else one that ends
    with the last call that uses it. The result goes to standard output; what vouches for it,
    to standard error.

    Without --policy it trusts exactly what it has just built, on this very
    machine, with an up-to-date TCB, and says so. Others who call your
    function need a policy of their own: `casemate policy` prints one.

    With --debug it builds a copy that is a debug enclave, whose measurement
    differs; DIR stays as it is. It shows what the function prints while it
    runs, and of an exception its words, place and line of source.

    Example:
        casemate run hello --input hello/input.json --receipt receipt.json
        casemate run hello --input hello/input.json --debug --metrics
        casemate run hello --input hello/input.json --ocalls hello/handlers.py
    """
    from casemate.cli.calling import attest_and_call, read_question, show
    from casemate.cli.endpoints import LocalEndpoint, launched
    from casemate.cli.functions.debugging import debug_report, is_debug
    from casemate.cli.log_reader import Console, followed
    from casemate.cli.own_machine import state_directory
    from casemate.cli.policies import own_policy, policy_in, weaknesses
    from casemate.cli.progress import Progress
    from casemate.client.local import starting_machine

    screen = Screen(as_json=as_json, quiet=quiet)
    progress = Progress(screen)
    given = None if policy is None else policy_in(policy)
    question = read_question(input_file, caller, output, receipt)
    if debug and not is_source(folder):
        raise typer.BadParameter("an image is as it is: name the folder that it was built from", param_hint="--debug")
    source = _source(folder, screen, progress)
    called = _entry(source.manifest, entry)
    place = state_directory(state)
    layers = tuple(layer or ())
    ignored = [name for name, value in (("--layer", layers), ("--ocalls", ocalls)) if value]
    with ExitStack() as stack:
        log = None if ocalls is None else stack.enter_context(closing(HandlersLog(place, from_end=True)))
        starting = stack.enter_context(starting_machine(place, seed=seed, layers=layers, ocalls=ocalls))
        # While the machine starts, this process does what it can do without one.
        for module in NEEDED_LATER:
            import_module(module)
        if source.image is None:
            developer = developer_key(key, screen)
            machine = _machine(starting, progress, place, ignored, screen)
            build = _build_debug if debug else partial(_build, relock=relock)
            image = build(folder, developer, machine, progress, screen)
        else:
            machine, image = _machine(starting, progress, place, ignored, screen), source.image
        client = stack.enter_context(LocalEndpoint(machine).connect())
        demands, said = (given, str(policy)) if given is not None else own_policy(image, machine, tee)
        console = Console(screen.console_line)
        try:
            with progress.step("launching", "launch") as found:
                number = stack.enter_context(launched(LocalEndpoint(machine), client, image, tee))
                found.append(f"enclave {number}")
            with (
                metrics_of_failure(progress.console, wanted=metrics and not as_json),
                _told_by_handlers(None if machine.joined else log, screen),
                followed(LocalEndpoint(machine), number, console) if is_debug(image) else nullcontext(),
            ):
                answered = attest_and_call(client, number, demands, question, entry=called, progress=progress)
        except (CasemateError, OSError) as error:
            if not is_debug(image):
                raise
            _warn_of_printing(source.manifest, console, screen)
            told = debug_report(error, folder if is_source(folder) else None, console.document())
            report(told, as_json=as_json)
            raise typer.Exit(told.exit_code) from None
        _warn_of_printing(source.manifest, console, screen)
        lines = console.document() if is_debug(image) else None
        show(
            screen,
            answered,
            question,
            progress,
            f"{said}; gives up: {weaknesses(demands)}",
            console=lines,
            with_metrics=metrics,
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """What the user named to run."""

    manifest: "Manifest"
    image: "Image | None"
    """None where it is a folder to build."""


def _source(folder: Path, screen: Screen, progress: "Progress") -> _Source:
    """What is to run, read as far as that is possible before the machine's runtime is known."""
    if is_source(folder):
        return _Source(source_manifest(folder), None)
    with progress.step("reading", "build") as found:
        image = image_of(folder, screen)
        found.append(_named(image))
    return _Source(image.contents().manifest, image)


def _build(
    folder: Path, developer: "Key", machine: "LocalMachine", progress: "Progress", screen: Screen, *, relock: bool
) -> "Image":
    """The image of a folder, locked to the runtime of this computer."""
    from casemate.images.functions.build import build

    with progress.step("building", "build") as found:
        # A machine that ran already may be of an earlier installation, and have another runtime.
        lock(folder, screen, relock=relock, machine=None if machine.joined else machine)
        image = build(folder, developer, epoch=build_time()[0])
        found.append(_named(image))
    return image


def _build_debug(
    folder: Path, developer: "Key", machine: "LocalMachine", progress: "Progress", screen: Screen
) -> "Image":
    """A debug copy of a folder, for this computer alone."""
    from casemate.cli.functions.copies import Copies

    with progress.step("building", "build") as found:
        image = Copies(folder, machine, developer).build(source_manifest(folder).engine, {})
        found.append(_named(image))
    screen.note("a debug copy: its MRENCLAVE is not the folder's, and whoever runs it reads along", style="yellow")
    return image


@contextmanager
def _told_by_handlers(log: HandlersLog | None, screen: Screen) -> Iterator[None]:
    """Shows, when the block ends, what the handlers of OCALLs have printed, and what went wrong in them."""
    try:
        yield
    finally:
        for line in () if log is None else log.new():
            screen.console_line(line.text, of="ocalls")


def _warn_of_printing(manifest: "Manifest", console: "Console", screen: Screen) -> None:
    """Says so where a function has printed that may do it in a debug enclave alone: elsewhere its calls fail."""
    warning = console.warning(manifest)
    if warning is not None:
        screen.say(warning, style="yellow")


def _named(image: "Image") -> str:
    return f"{image.name}, MRENCLAVE {image.mr_enclave.hex()}"


def _machine(
    starting: "StartingMachine", progress: "Progress", place: Path, ignored: list[str], screen: Screen
) -> "LocalMachine":
    """The machine on the state directory, once it is ready; one that runs already ignores the options ``ignored``."""
    with progress.step("starting a machine", "machine") as found:
        machine = starting.wait()
        found.append("running already," if machine.joined else "started for this call,")
        for option in ignored if machine.joined else ():
            screen.say(f"{option} is not heeded: the machine runs already", style="yellow")
        found.append(f"state in {place}")
    return machine


def _entry(manifest: "Manifest", wanted: str | None) -> str:
    """The entry point that the user named, or the only one."""
    names = [entry.name for entry in manifest.entries]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        said = "several entry points" if wanted is None else f"no entry point {wanted!r}"
        raise typer.BadParameter(f"the image has {said}, it has {', '.join(names)}", param_hint="--entry")
    return wanted
