"""`casemate quote`: have an enclave prove itself, and write its evidence to files."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import CaFile, Json, State, TeeOption, TokenFile, Url, nonce_of
from casemate.cli.output import Screen, facts
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.wire.messages.host import EvidenceIs


Target = Annotated[
    str,
    typer.Argument(
        metavar="N|NAME|IMAGE",
        help="An enclave's number or name on the running machine, or an image to launch for it.",
    ),
]
Nonce = Annotated[
    str | None,
    typer.Option("--nonce", metavar="HEX", help="The challenge, 32 bytes in hexadecimal. Default: a fresh one."),
]
NewQuote = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to put the quote.")]
NewCollateral = Annotated[
    Path | None,
    typer.Option("--collateral", metavar="FILE", help="Where to put the collateral. Default: FILE.collateral.json."),
]
NewBinding = Annotated[
    Path | None,
    typer.Option(
        "--binding",
        metavar="FILE",
        help="Where to put what REPORTDATA vouches for: keys, nonce, layers. Default: FILE.binding.json.",
    ),
]


def quote(
    target: Target,
    *,
    output: NewQuote,
    tee: TeeOption = Tee.SGX,
    nonce: Nonce = None,
    collateral: NewCollateral = None,
    binding: NewBinding = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    ca: CaFile = None,
    as_json: Json = False,
) -> None:
    r"""Have an enclave prove itself, and write its evidence to files.

    Nothing is appraised here: give the files to `casemate verify`, or to any
    verifier of SGX quotes. A guest of SEV-SNP gives a report, its key's
    certificates and the revocation list.

    Example:
        casemate quote 1 -o quote.bin
        casemate verify quote.bin --collateral quote.bin.collateral.json \
            --binding quote.bin.binding.json --policy policy.toml
    """
    from casemate.cli.endpoints import EndpointOptions, enclave_or_image, endpoint_of, launched
    from casemate.cli.evidence.files import beside
    from casemate.cli.files import write_file
    from casemate.cli.images import image_of
    from casemate.client.binding_file import encode_binding
    from casemate.client.core import challenge
    from casemate.wire.protocol.report_data import ReportDataBinding

    screen = Screen(as_json=as_json)
    asked = challenge() if nonce is None else nonce_of(nonce)
    endpoint = endpoint_of(EndpointOptions(state, url, token_file, ca))
    with ExitStack() as stack:
        client = stack.enter_context(endpoint.connect())
        number = enclave_or_image(client, target)
        if number is None:
            image = image_of(Path(target), screen)
            number = stack.enter_context(launched(endpoint, client, image, tee))
        said = client.evidence(number, asked)
    bound = ReportDataBinding(said.hpke_key, said.receipt_key, asked, said.layers)
    files = evidence_files(said, output, collateral)
    files["binding"] = (binding or beside(output, ".binding.json"), encode_binding(bound))
    for what, (path, content) in files.items():
        write_file(path, content, what=what)
    screen.show(
        {"enclave": number, "nonce": asked.hex(), **{what: str(path) for what, (path, _) in files.items()}},
        lambda console: facts(
            console,
            [
                *((what, f"{path} ({len(content)} bytes)") for what, (path, content) in files.items()),
                ("nonce", asked.hex()),
            ],
        ),
    )


def evidence_files(said: "EvidenceIs", output: Path, endorsements: Path | None) -> dict[str, tuple[Path, bytes]]:
    """What evidence of its kind comes in, for verifiers of that kind: names of files, and what goes into them."""
    from casemate.cli.evidence.files import beside
    from casemate.wire.encodings.pem import encode_chain
    from casemate.wire.snp.endorsements import CertifiedKey

    if said.tee is Tee.SGX:
        place = endorsements or beside(output, ".collateral.json")
        return {"quote": (output, said.evidence), "collateral": (place, said.endorsements)}
    given = CertifiedKey.parse(said.endorsements)
    chain = endorsements or beside(output, ".pem")
    files = {"report": (output, said.evidence), "certificates": (chain, encode_chain(*given.certificates))}
    if given.revocation_list is not None:
        files["revocation_list"] = (beside(output, ".crl"), given.revocation_list)
    return files
