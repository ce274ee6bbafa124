"""`casemate deploy` and `casemate rollback`: one version of a function takes another's place while calls come in."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import (
    FLAG,
    CaFile,
    DeveloperKey,
    Json,
    OptionalPolicyFile,
    Quiet,
    Relock,
    State,
    TeeOption,
    TokenFile,
    Url,
)
from casemate.cli.output import Screen, facts
from casemate.wire.messages.functions import DRAIN, MAX_DRAIN
from casemate.wire.protocol.function_name import WANT, is_function_name
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import Endpoint
    from casemate.cli.progress import Progress
    from casemate.client.sync import Client
    from casemate.images.image import Image
    from casemate.verifier import AnyPolicy
    from casemate.wire.messages.functions import FunctionIs
    from casemate.wire.messages.host import EnclaveIs

ImagePath = Annotated[Path, typer.Argument(metavar="DIR|IMAGE", help="A folder to build, or an image's file.")]
FunctionName = Annotated[str, typer.Argument(metavar="NAME", help="The function's name: `casemate ps` shows it.")]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What it is called by. Default: the image's name.")
]
Drain = Annotated[
    int,
    typer.Option(
        "--drain",
        metavar="SECONDS",
        min=0,
        max=MAX_DRAIN,
        help="How long the old version may go on with its sessions, at most.",
    ),
]
NewState = Annotated[
    bool,
    typer.Option("--new-state", metavar=FLAG, help="Deploy it although it cannot open the old version's sealed state."),
]


def deploy(
    target: ImagePath,
    *,
    name: Name = None,
    policy: OptionalPolicyFile = None,
    drain: Drain = DRAIN,
    new_state: NewState = False,
    tee: TeeOption = Tee.SGX,
    key: DeveloperKey = None,
    relock: Relock = False,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Put a new version of a function in the place of the one that runs.

    Builds DIR, launches it beside the old version, has it prove itself, and
    only then switches the name. The old version ends the calls that it has,
    goes on with its sessions until they are over, and is stopped. It is kept
    for `casemate rollback`; the version before it is destroyed. Where anything
    fails, the old version goes on serving.

    With --policy the new version has to satisfy your callers' policy before
    the switch. Without it, on your own machine, it has to be what was built.

    Example:
        casemate deploy hello
        casemate call hello greet --input hello/input.json --policy policy.toml
        casemate deploy dist/hello.sgxs --name hello --policy policy.toml
    """
    from casemate.cli.deploying import StateLeftError, check_state, is_same, standing
    from casemate.cli.endpoints import EndpointOptions, endpoint_of
    from casemate.cli.policies import policy_in
    from casemate.cli.progress import Progress

    screen = Screen(as_json=as_json, quiet=quiet)
    progress = Progress(screen)
    demands = None if policy is None else policy_in(policy)
    endpoint = endpoint_of(EndpointOptions(state, url, token_file, ca))
    image = _image(target, name, endpoint, screen, progress, key=key, relock=relock)
    with endpoint.connect() as client:
        before = standing(client, image.name)
        if before.current is not None:
            if is_same(image, tee, before.current):
                screen.note(f"enclave {before.current.enclave} is this very version, and runs", style="yellow")
                _show(screen, progress, client.function(image.name), None)
                return
            try:
                check_state(image, tee, before.current)
            except StateLeftError as error:
                if not new_state:
                    raise
                screen.say(f"warning: {error}: the new version begins with a state of its own", style="bold yellow")
        elif before.bearing > 1:
            screen.say(f"{before.bearing} enclaves are named {image.name}: none of them is replaced", style="yellow")
        replaces = 0 if before.current is None else before.current.enclave
        owner = None if before.current is None else before.current.owner
        switched = _Version(image, tee, endpoint, demands, owner).replace(client, replaces, drain, progress)
        _show(screen, progress, switched, _end(client, progress, replaces, drain))


def rollback(
    name: FunctionName,
    *,
    drain: Drain = DRAIN,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go back to the version that the last deploy has replaced.

    Starts it again, has it answer a challenge, and switches the name; the
    newer version ends as the older one did, and a second rollback goes
    forward to it again. Where it does not start, the name stays where it is.

    Callers appraise it by their policies, which have to accept it still.

    Example:
        casemate rollback hello
    """
    from casemate.cli.deploying import NoEarlierVersionError, switch
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.progress import Progress
    from casemate.wire.protocol.function_name import checked_name

    screen = Screen(as_json=as_json, quiet=quiet)
    progress = Progress(screen)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        found = client.function(checked_name(name))
        if found.previous is None:
            raise NoEarlierVersionError(f"{name} is enclave {found.current.enclave}, and no earlier version is kept")
        if found.previous.isv_svn < found.current.isv_svn:
            older, newer = found.previous.isv_svn, found.current.isv_svn
            screen.say(
                f"warning: security version {older} cannot open what {newer} has sealed, and policies may refuse it",
                style="bold yellow",
            )
        with progress.step("switching", "switch") as said:
            back, replaces = found.previous.enclave, found.current.enclave
            switched = switch(client, name, back, replaces=replaces, drain=drain)
            said.append(f"{name} is enclave {back} again, in place of {replaces}")
        _show(screen, progress, switched, _end(client, progress, replaces, drain))


def _image(
    target: Path,
    name: str | None,
    endpoint: "Endpoint",
    screen: Screen,
    progress: "Progress",
    *,
    key: Path | None,
    relock: bool,
) -> "Image":
    """What is to be deployed, under the name that it is called by."""
    from casemate.cli.images import image_of, is_source, lock

    with progress.step("building" if is_source(target) else "reading", "build") as found:
        machine = endpoint.own_machine()
        if is_source(target) and (machine is not None or relock):
            lock(target, screen, relock=relock)
        image = image_of(target, screen, key=key)
        found.append(f"{image.name}, MRENCLAVE {image.mr_enclave.hex()}")
    called = name or image.name
    if not is_function_name(called):
        raise typer.BadParameter(f"{called[:80]!r} can be no function's name, want {WANT}", param_hint="--name")
    return replace(image, name=called)


@dataclass(frozen=True, slots=True)
class _Version:
    """A new version, and where it is to run."""

    image: "Image"
    tee: Tee
    endpoint: "Endpoint"
    demands: "AnyPolicy | None"
    """What it has to satisfy before the switch; None where the user gave no policy."""
    owner: bytes | None
    """The old version's: another's would begin with a state of its own."""

    def replace(self, client: "Client", replaces: int, drain: int, progress: "Progress") -> "FunctionIs":
        """Launches it, has it prove itself, and switches to it."""
        from casemate.cli.deploying import candidate, switch

        with ExitStack() as stack:
            with progress.step("launching", "launch") as found:
                number = stack.enter_context(candidate(self.endpoint, client, self.image, self.tee, self.owner))
                found.append(f"enclave {number}, beside {replaces}" if replaces else f"enclave {number}")
            with progress.step("challenging and appraising", "attest") as found:
                found.append(self._prove(client, number))
            with progress.step("switching", "switch") as found:
                switched = switch(client, self.image.name, number, replaces=replaces, drain=drain)
                found.append(f"{self.image.name} is enclave {number} now")
        return switched

    def _prove(self, client: "Client", number: int) -> str:
        """Has it prove itself; what it has satisfied."""
        from casemate.cli.policies import own_policy
        from casemate.client.core import challenge

        if self.demands is not None:
            client.attest(number, self.demands)
            return "satisfies the policy"
        machine = self.endpoint.own_machine()
        if machine is None:
            client.evidence(number, challenge())
            return "answers, and was not appraised: --policy FILE has it appraised before the switch"
        client.attest(number, own_policy(self.image, machine, self.tee)[0])
        return "is what was built, on this very machine"


def _end(client: "Client", progress: "Progress", replaced: int, drain: int) -> "EnclaveIs | None":
    """Waits for the end of the replaced enclave, if there is one."""
    from casemate.cli.deploying import wait_for_end

    if not replaced:
        return None
    with progress.step(f"letting enclave {replaced} finish", "finish") as found:
        ended = wait_for_end(client, replaced, drain)
        found.append(f"enclave {replaced} is {'gone' if ended is None else ended.state}")
    return ended


def _show(screen: Screen, progress: "Progress", found: "FunctionIs", replaced: "EnclaveIs | None") -> None:
    current = found.current
    document: dict[str, object] = {
        "name": found.name,
        "enclave": current.enclave,
        "mr_enclave": current.mr_enclave.hex(),
        "mr_signer": current.mr_signer.hex(),
        "security_version": current.isv_svn,
        "tee": str(current.tee),
        "replaced": None if replaced is None else {"enclave": replaced.enclave, "state": str(replaced.state)},
        "previous": None if found.previous is None else found.previous.enclave,
        "timings_ms": progress.document(),
    }
    rows = [("name", found.name), ("enclave", str(current.enclave)), ("MRENCLAVE", current.mr_enclave.hex())]
    if found.previous is not None:
        rows.append(("before", f"enclave {found.previous.enclave}: `casemate rollback {found.name}` goes back to it"))
    screen.show(document, lambda console: facts(console, rows))
