"""`casemate policy`: a policy for an image, to be kept and edited."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, CaFile, Json, State, TeeOption, TokenFile, Url
from casemate.cli.output import Screen
from casemate.wire.errors import WireError
from casemate.wire.protocol.caller_key import parse_caller_key
from casemate.wire.protocol.deployment import config_id, deployment_id
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import EndpointOptions
    from casemate.images.image import Image as LoadedImage
    from casemate.verifier import SgxPolicy


Image = Annotated[
    Path | None, typer.Argument(metavar="IMAGE|DIR", help="An image's file, or a folder with casemate.toml.")
]
OfLearner = Annotated[
    bool,
    typer.Option("--learner", metavar=FLAG, help="Instead of IMAGE: the functions that come with the gateway."),
]
AllOf = Annotated[
    bool,
    typer.Option(
        "--all-of",
        metavar=FLAG,
        help="For a quote and a report of the image together: what runs as an enclave and as a guest is this one code.",
    ),
]
RootFile = Annotated[
    Path | None,
    typer.Option("--root", metavar="FILE", help="The maker's root certificate. Default: that of the running machine."),
]
TrustOnFirstUse = Annotated[
    bool,
    typer.Option(
        "--trust-on-first-use",
        metavar=FLAG,
        help="Take the root that a gateway names, though it is the operator's word.",
    ),
]
Owner = Annotated[
    str | None,
    typer.Option(
        "--owner",
        metavar="KEY",
        help="Demand this owner's deployment: the public key that `casemate keygen` prints, ed25519:...",
    ),
]
Deployment = Annotated[
    str | None,
    typer.Option("--deployment", metavar="NAME", help="With --owner: the deployment's name. Default: the image's."),
]
_ALL_OF_HEADER = """\
# A Casemate policy for a quote of SGX and an SEV-SNP report together: each member accepts one of them, and both are of
# the code with these two digests. `casemate docs cli` explains it.
"""


def policy(
    image: Image = None,
    *,
    learner: OfLearner = False,
    tee: TeeOption = Tee.SGX,
    all_of: AllOf = False,
    owner: Owner = None,
    deployment: Deployment = None,
    root: RootFile = None,
    trust_on_first_use: TrustOnFirstUse = False,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Print a policy for an image, to be kept and edited.

    It accepts exactly this code, under the root of the running machine or of
    --root, at a TCB that is up to date, confined by the sandbox layers that
    every Linux has. Every member is there: read them. With --tee snp it is for
    reports of the same image as a guest, on your own machine. With --all-of it
    is for both together, from one launch as each.

    A gateway's word for its root is the operator's word. With
    --trust-on-first-use it is taken all the same, this once: compare its
    fingerprint with one that came to you by another way.

    With --owner it accepts that owner's deployment of the image alone: the one
    that was launched with the same key and name.

    With --learner it is for what the gateway's form runs, as the Casemate that
    is installed here makes it: nothing is read from the machine's folders.

    Example:
        casemate policy hello/hello.sgxs > policy.toml
        casemate policy hello --owner ed25519:d75a... --deployment hello-prod
    """
    from casemate.cli.endpoints import EndpointOptions
    from casemate.cli.images import image_of
    from casemate.cli.learner_image import installed_learner_image
    from casemate.cli.policies import POLICY_HEADER, PinnedEnclave, policy_of, root_at, root_in
    from casemate.verifier import print_policy

    screen = Screen(as_json=as_json)
    if learner == (image is not None):
        raise typer.BadParameter("name an image, or say --learner for the one that comes with Casemate")
    loaded = installed_learner_image() if image is None else image_of(image, screen)
    whose = _deployment_of(loaded, owner, deployment)
    if tee is Tee.SNP or all_of:
        if root is not None or trust_on_first_use:
            raise typer.BadParameter("with --tee snp or --all-of the machine is your own, which names root and TCB")
        text = _machine_policy(loaded, EndpointOptions(state, url, token_file, ca), whose, all_of=all_of)
        digests = {"mr_enclave": loaded.mr_enclave.hex()} if all_of else {}
        digests["launch_digest"] = loaded.launch_digest.hex()
        screen.show(digests | {"policy": text}, lambda console: console.out(text, end=""))
        return
    if root is not None:
        anchor, seeded = root_in(root)
    else:
        named_endpoint = EndpointOptions(state, url, token_file, ca)
        anchor, seeded = root_at(named_endpoint, screen, trust_on_first_use=trust_on_first_use)
    debug = loaded.parse_sigstruct().attributes.debug
    named = PinnedEnclave(frozenset({loaded.mr_enclave}), anchor, seeded=seeded, debug=debug, confined=True)
    text = f"{POLICY_HEADER}{_granted(loaded)}{print_policy(_demanding(policy_of(named), whose))}"
    screen.show({"mr_enclave": loaded.mr_enclave.hex(), "policy": text}, lambda console: console.out(text, end=""))


def _deployment_of(image: "LoadedImage", owner: str | None, name: str | None) -> bytes | None:
    """The identity of the deployment that is demanded; None where any will do, or none has an owner."""
    if owner is None:
        if name is not None:
            raise typer.BadParameter("--deployment names a deployment of the owner that --owner says")
        return None
    try:
        key = parse_caller_key("--owner", owner)
    except WireError as error:
        raise typer.BadParameter(f"{error}; `casemate keygen` prints it") from None
    return deployment_id(key, image.name if name is None else name)


def _demanding(policy: "SgxPolicy", whose: bytes | None) -> "SgxPolicy":
    return policy if whose is None else replace(policy, config_id=frozenset({config_id(whose)}))


def _machine_policy(image: "LoadedImage", named: "EndpointOptions", whose: bytes | None, *, all_of: bool) -> str:
    """The text of a policy for reports of the image as a guest of the user's own machine; or for its quotes as well."""
    from casemate.cli.endpoints import endpoint_of
    from casemate.cli.policies import PinnedEnclave, policy_of, root_of
    from casemate.cli.snp.policies import POLICY_HEADER, function_policy, maker_of
    from casemate.verifier import AllOfPolicy, CodeIdentity, print_any_policy

    machine = endpoint_of(named).own_machine()
    if machine is None:
        raise typer.BadParameter("the machine is to be your own: print the policy there, and hand it on")
    guest = function_policy(image, maker_of(machine), confined=True)
    if whose is not None:
        guest = replace(guest, host_data=frozenset({whose}))
    if not all_of:
        return f"{POLICY_HEADER}{_granted(image)}{print_any_policy(guest)}"
    pinned = PinnedEnclave(
        frozenset({image.mr_enclave}),
        root_of(machine),
        seeded=machine.status.seeded,
        debug=image.parse_sigstruct().attributes.debug,
        confined=True,
    )
    code = frozenset({CodeIdentity(image.mr_enclave, image.launch_digest)})
    both = AllOfPolicy((_demanding(policy_of(pinned), whose), guest), code)
    return f"{_ALL_OF_HEADER}{_granted(image)}{print_any_policy(both)}"


def _granted(image: "LoadedImage") -> str:
    """Comments that say what the manifest of the code lets it do; empty where the image has none that can be read."""
    from casemate.cli.inspection.manifest_facts import manifest_facts, manifest_in

    manifest = manifest_in(image.parse_sgxs().linear_contents())
    if manifest is None:
        return ""
    lines = (f"#   {name}: {value}\n" for name, value in manifest_facts(manifest))
    return f"# The code it accepts, by its manifest:\n{''.join(lines)}"
