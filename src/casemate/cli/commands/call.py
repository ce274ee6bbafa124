"""`casemate call`: one attested, encrypted call of an enclave."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import (
    CaFile,
    CallerFile,
    InputFile,
    Json,
    Metrics,
    OptionalPolicyFile,
    OutputFile,
    Quiet,
    ReceiptFile,
    State,
    StreamIn,
    StreamOut,
    TeeOption,
    TokenFile,
    Url,
)
from casemate.cli.output import Screen
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import Endpoint
    from casemate.verifier import AnyPolicy

Target = Annotated[
    str,
    typer.Argument(
        metavar="N|NAME|IMAGE",
        help="An enclave's number or name on the running machine, or an image to launch for this call.",
    ),
]
Entry = Annotated[str, typer.Argument(metavar="ENTRY", help="The entry point.")]
MrEnclave = Annotated[
    list[str] | None,
    typer.Option(
        "--mr-enclave",
        metavar="HEX",
        help="Instead of a policy: trust this code on this very machine. May be given several times.",
    ),
]

_DIGEST_SIZE = 32


def call(
    target: Target,
    entry: Entry,
    *,
    input_file: InputFile,
    policy: OptionalPolicyFile = None,
    mr_enclave: MrEnclave = None,
    tee: TeeOption = Tee.SGX,
    caller: CallerFile = None,
    output: OutputFile = None,
    receipt: ReceiptFile = None,
    stream_in: StreamIn = None,
    stream_out: StreamOut = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    metrics: Metrics = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Challenge an enclave, appraise it, and call it, end to end encrypted.

    A policy is required: --policy FILE, or --mr-enclave for code whose
    measurement you know, on your own machine. Nothing is sent before the
    evidence has satisfied it.

    Example:
        casemate call 1 search --input input.json --policy policy.toml
        casemate call hello.sgxs greet -i input.json --mr-enclave 4f0c...
        casemate call 1 search -i input.json --policy policy.toml --metrics
        casemate call 1 redact -i how.json --policy policy.toml --stream-in letters.txt --stream-out redacted.txt
    """
    from casemate.cli.calling import attest_and_call, read_question, show
    from casemate.cli.endpoints import EndpointOptions, enclave_or_image, endpoint_of, launched
    from casemate.cli.images import image_of
    from casemate.cli.metrics_text import metrics_of_failure
    from casemate.cli.policies import policy_in, weaknesses
    from casemate.cli.progress import Progress
    from casemate.cli.streams import stream_files

    screen = Screen(as_json=as_json, quiet=quiet)
    progress = Progress(screen)
    measurements = _measurements(policy, mr_enclave or [])
    given = None if policy is None else policy_in(policy)
    stream = stream_files(stream_in, stream_out, input_file=input_file, as_json=as_json)
    question = read_question(input_file, caller, output, receipt, stream=stream)
    endpoint = endpoint_of(EndpointOptions(state, url, token_file, ca))
    demands, said = (given, str(policy)) if given is not None else _made(measurements, endpoint)
    with ExitStack() as stack:
        client = stack.enter_context(endpoint.connect())
        number = enclave_or_image(client, target)
        if number is None:
            image = image_of(Path(target), screen)
            with progress.step("launching", "launch") as found:
                number = stack.enter_context(launched(endpoint, client, image, tee))
                found.append(f"enclave {number}")
        with metrics_of_failure(progress.console, wanted=metrics and not as_json):
            answered = attest_and_call(client, number, demands, question, entry=entry, progress=progress)
        show(screen, answered, question, progress, f"{said}; gives up: {weaknesses(demands)}", with_metrics=metrics)


def _measurements(policy: Path | None, given: list[str]) -> frozenset[bytes]:
    """The values of ``--mr-enclave``, which replaces a policy file."""
    if (policy is None) == (not given):
        raise typer.BadParameter(
            "give --policy FILE, or --mr-enclave HEX: there is no default, and one of them is enough"
        )
    found = set()
    for text in given:
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) != _DIGEST_SIZE:
            raise typer.BadParameter(
                f"{text[:80]!r} is no measurement, want 64 hexadecimal digits", param_hint="--mr-enclave"
            )
        found.add(digest)
    return frozenset(found)


def _made(measurements: frozenset[bytes], endpoint: "Endpoint") -> tuple["AnyPolicy", str]:
    """The policy that ``--mr-enclave`` stands for, and what to call it."""
    from casemate.cli.policies import PinnedEnclave, policy_of, root_of

    machine = endpoint.own_machine()
    if machine is None:
        raise typer.BadParameter(
            "it trusts this very machine, whose root your own supervisor names; a gateway's is its operator's word: "
            "give --policy FILE (`casemate policy` makes one)",
            param_hint="--mr-enclave",
        )
    made = policy_of(PinnedEnclave(measurements, root_of(machine), seeded=machine.status.seeded, debug=False))
    return made, "--mr-enclave, on this very machine"
