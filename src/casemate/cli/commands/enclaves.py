"""`casemate launch`, `ps`, `start`, `stop`, `destroy`: enclaves on a running machine, in its host's words."""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import CaFile, Json, State, TeeOption, TokenFile, Url, number_or_name
from casemate.cli.output import Screen, facts, printable, table
from casemate.wire.protocol.caller_key import caller_key_text
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.client.sync import Client
    from casemate.wire.messages.host import EnclaveIs

ImagePath = Annotated[Path, typer.Argument(metavar="IMAGE|DIR", help="An image's file, or a folder to build.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="N|NAME", parser=number_or_name, help="The enclave's number, or its name: `casemate ps` lists them."
    ),
]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What `ps` shows. Default: the image's name.")]

Owner = Annotated[
    Path | None,
    typer.Option("--owner", metavar="KEYFILE", help="Whose deployment it is: a key of `casemate keygen`."),
]


def launch(
    image: ImagePath,
    *,
    name: Name = None,
    tee: TeeOption = Tee.SGX,
    owner: Owner = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Launch an image on the running machine.

    Prints the enclave's number. Nothing is known of it until it is attested:
    `casemate call` does that before it sends anything.

    With --tee snp the same image runs as a paravirtual SEV-SNP guest: its
    evidence is an attestation report. What it seals is another's.

    With --owner the deployment has an identity of its own, made of that key and
    the name: evidence shows it, and the state of others is not its state.

    Example:
        casemate launch hello/hello.sgxs
        casemate launch hello/hello.sgxs --tee snp
        casemate launch hello/hello.sgxs --owner alice.pem
    """
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.images import image_of
    from casemate.client.caller_keys import read_caller_key

    screen = Screen(as_json=as_json)
    key = None if owner is None else read_caller_key(owner).public_key
    loaded = image_of(image, screen)
    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        number = client.launch(loaded if name is None else replace(loaded, name=name), tee=tee, owner=key)
        found = [each for each in client.enclaves() if each.enclave == number]
    if found:
        _show_one(screen, found[0])
    else:
        screen.show({"enclave": number}, lambda console: facts(console, [("enclave", str(number))]))


def ps(
    *, state: State = None, url: Url = None, token_file: TokenFile = None, ca: CaFile = None, as_json: Json = False
) -> None:
    """List the machine's enclaves.

    One that is deployed answers to its name, whatever else bears it. All of
    it is the host's word: `casemate quote` and `casemate call` ask the
    enclave itself.
    """
    from casemate.cli.endpoints import EndpointOptions, connected

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        found = client.enclaves()
        deployed = _deployed(client)
    Screen(as_json=as_json).show(
        {"enclaves": [_document(each) | {"deployed": each.enclave in deployed} for each in found]},
        lambda console: _show_all(console, found, deployed),
    )


def start(
    target: Target,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """Start a stopped enclave again, with fresh keys."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.own_machine import enclave_of

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        _show_one(Screen(as_json=as_json), client.start(enclave_of(target)))


def stop(
    target: Target,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """End an enclave's process; its pages stay loaded."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.own_machine import enclave_of

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        _show_one(Screen(as_json=as_json), client.stop(enclave_of(target)))


def destroy(
    target: Target,
    *,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    """End an enclave and remove its pages."""
    from casemate.cli.endpoints import EndpointOptions, connected
    from casemate.cli.own_machine import enclave_of

    with connected(EndpointOptions(state, url, token_file, ca)) as client:
        _show_one(Screen(as_json=as_json), client.destroy(enclave_of(target)))


def _deployed(client: "Client") -> frozenset[int]:
    """The enclaves that were deployed under a name; none where a gateway is of a version without names."""
    from casemate.client.errors import GatewayRefusedError

    try:
        return frozenset(each.current.enclave for each in client.functions())
    except GatewayRefusedError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return frozenset()


def _document(found: "EnclaveIs") -> dict[str, object]:
    return {
        "enclave": found.enclave,
        "name": found.name,
        "state": str(found.state),
        "reason": found.reason,
        "mr_enclave": found.mr_enclave.hex(),
        "mr_signer": found.mr_signer.hex(),
        "product_id": found.isv_prod_id,
        "security_version": found.isv_svn,
        "debug": found.debug,
        "ra_tls_port": found.ra_tls_port,
        "tee": str(found.tee),
        "paravirtual": found.tee is Tee.SNP,
        "launch_digest": None if found.launch_digest is None else found.launch_digest.hex(),
        "owner": None if found.owner is None else caller_key_text(found.owner),
        "deployment": found.deployment.hex(),
    }


def _tee(found: "EnclaveIs") -> str:
    return "snp, paravirtual" if found.tee is Tee.SNP else str(found.tee)


def _show_one(screen: Screen, found: "EnclaveIs") -> None:
    screen.show(
        _document(found),
        lambda console: facts(
            console,
            [
                ("enclave", str(found.enclave)),
                ("name", found.name),
                ("state", f"{found.state} {found.reason}".strip()),
                ("TEE", _tee(found)),
                ("MRENCLAVE", found.mr_enclave.hex()),
                *([] if found.launch_digest is None else [("launch digest", found.launch_digest.hex())]),
                ("MRSIGNER", found.mr_signer.hex()),
                *([] if found.owner is None else [("owner", caller_key_text(found.owner))]),
                *([] if found.owner is None else [("deployment", found.deployment.hex())]),
                *([] if found.ra_tls_port is None else [("RA-TLS", f"port {found.ra_tls_port}")]),
            ],
        ),
    )


def _show_all(console: "Console", found: Sequence["EnclaveIs"], deployed: frozenset[int]) -> None:
    if not found:
        console.print("no enclaves; `casemate launch IMAGE` launches one")
        return
    rows = table("N", "name", "TEE", "state", "measurement", "product", "SVN", "debug", "reason")
    for each in found:
        rows.add_row(
            str(each.enclave),
            printable(each.name) + (", deployed" if each.enclave in deployed else ""),
            _tee(each),
            str(each.state) if each.ra_tls_port is None else f"{each.state}, RA-TLS on port {each.ra_tls_port}",
            (each.launch_digest or each.mr_enclave).hex(),
            str(each.isv_prod_id),
            str(each.isv_svn),
            "yes" if each.debug else "no",
            printable(each.reason),
        )
    console.print(rows)
