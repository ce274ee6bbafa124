"""`casemate run`: the whole journey in one command."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.images import image_of, is_source, lock
from casemate.cli.options import (
    CallerFile,
    DeveloperKey,
    InputFile,
    Json,
    Layers,
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
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.progress import Progress
    from casemate.client.local import LocalMachine
    from casemate.images.image import Image
    from casemate.verifier import AnyPolicy

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder with casemate.toml, or an image's file.")]
Entry = Annotated[
    str | None, typer.Option("--entry", metavar="NAME", help="The entry point. Default: the only one there is.")
]


def run(
    folder: Folder,
    *,
    input_file: InputFile,
    entry: Entry = None,
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

    Example:
        casemate run hello --input hello/input.json --receipt receipt.json
    """
    from casemate.cli.calling import attest_and_call, read_question, show
    from casemate.cli.endpoints import LocalEndpoint, launched
    from casemate.cli.policies import policy_in, weaknesses
    from casemate.cli.progress import Progress

    screen = Screen(as_json=as_json, quiet=quiet)
    progress = Progress(screen)
    given = None if policy is None else policy_in(policy)
    question = read_question(input_file, caller, output, receipt)
    image = _build(folder, screen, progress, key=key, relock=relock)
    called = _entry(image, entry)
    with ExitStack() as stack:
        machine = _machine(stack, progress, Wanted(state, seed, tuple(layer or ())), screen)
        client = stack.enter_context(LocalEndpoint(machine).connect())
        demands, said = (given, str(policy)) if given is not None else _made(image, machine, tee)
        with progress.step("launching", "launch") as found:
            number = stack.enter_context(launched(LocalEndpoint(machine), client, image, tee))
            found.append(f"enclave {number}")
        answered = attest_and_call(client, number, demands, question, entry=called, progress=progress)
        show(screen, answered, question, progress, f"{said}; gives up: {weaknesses(demands)}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The machine that the user wants."""

    state: Path | None
    seed: str | None
    layers: tuple[str, ...]


def _build(folder: Path, screen: Screen, progress: "Progress", *, key: Path | None, relock: bool) -> "Image":
    """The image, from a folder or from its files."""
    with progress.step("building", "build") as found:
        if is_source(folder):
            lock(folder, screen, relock=relock)
        image = image_of(folder, screen, key=key)
        found.append(f"{image.name}, MRENCLAVE {image.mr_enclave.hex()}")
    return image


def _machine(stack: ExitStack, progress: "Progress", wanted: Wanted, screen: Screen) -> "LocalMachine":
    """The machine on the state directory; one that is started for this ends with ``stack``."""
    from casemate.cli.own_machine import state_directory
    from casemate.client.local import local_machine

    place = state_directory(wanted.state)
    with progress.step("starting a machine", "machine") as found:
        machine = stack.enter_context(local_machine(place, seed=wanted.seed, layers=wanted.layers))
        found.append("running already," if machine.joined else "started for this call,")
        if machine.joined and wanted.layers:
            screen.say("--layer is not heeded: the machine runs already", style="yellow")
        found.append(f"state in {place}")
    return machine


def _entry(image: "Image", wanted: str | None) -> str:
    """The entry point that the user named, or the only one."""
    names = [entry.name for entry in image.contents().manifest.entries]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        said = "several entry points" if wanted is None else f"no entry point {wanted!r}"
        raise typer.BadParameter(f"the image has {said}, it has {', '.join(names)}", param_hint="--entry")
    return wanted


def _made(image: "Image", machine: "LocalMachine", tee: Tee) -> tuple["AnyPolicy", str]:
    """The policy for the image that was just built, and what to call it."""
    from casemate.cli.policies import PinnedEnclave, policy_of, root_of
    from casemate.cli.snp.policies import function_policy, maker_of

    said = "made for this run: this very code, this very machine"
    if tee is Tee.SNP:
        return function_policy(image, maker_of(machine), confined=False), said
    debug = image.parse_sigstruct().attributes.debug
    named = PinnedEnclave(frozenset({image.mr_enclave}), root_of(machine), seeded=machine.status.seeded, debug=debug)
    return policy_of(named), said
