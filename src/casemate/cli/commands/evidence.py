"""`casemate quote`, `casemate verify`, `casemate policy`: evidence, and what to demand of it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, CaFile, Json, PolicyFile, State, TeeOption, Time, TokenFile, Url
from casemate.cli.output import Screen, facts
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.cli.endpoints import EndpointOptions
    from casemate.cli.snp.reports import Challenge as SnpChallenge
    from casemate.images.image import Image as LoadedImage
    from casemate.verifier import AnyPolicy
    from casemate.wire.messages.host import EvidenceIs
    from casemate.wire.protocol.report_data import ReportDataBinding
    from casemate.wire.sgx.collateral import Collateral

Target = Annotated[
    str,
    typer.Argument(metavar="N|IMAGE", help="An enclave's number on the running machine, or an image to launch for it."),
]
EvidenceFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="QUOTE...",
        help="The quote, or hexadecimal or base64 text of it; zero bytes behind it are passed over. Several: pieces of "
        "evidence for an all_of policy, each with the files beside it that `casemate quote` writes.",
    ),
]
Image = Annotated[
    Path | None, typer.Argument(metavar="IMAGE|DIR", help="An image's file, or a folder with casemate.toml.")
]
OfLearner = Annotated[
    bool,
    typer.Option("--learner", metavar=FLAG, help="Instead of IMAGE: the functions that come with the gateway."),
]
Nonce = Annotated[
    str | None,
    typer.Option("--nonce", metavar="HEX", help="The challenge, 32 bytes in hexadecimal. Default: a fresh one."),
]
ExpectedNonce = Annotated[
    str | None,
    typer.Option(
        "--nonce", metavar="HEX", help="The challenge that the quote must answer. Default: the binding file's."
    ),
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
CollateralFile = Annotated[Path | None, typer.Option("--collateral", metavar="FILE", help="The maker's word, as JSON.")]
BindingFile = Annotated[
    Path | None, typer.Option("--binding", metavar="FILE", help="What REPORTDATA is said to vouch for, as JSON.")
]
RaTls = Annotated[
    bool,
    typer.Option(
        "--ra-tls",
        metavar=FLAG,
        help="QUOTE is a TLS certificate with evidence in it (PEM or DER), or HOST:PORT to get it from.",
    ),
]
Certificates = Annotated[
    Path | None,
    typer.Option(
        "--certificates",
        metavar="FILE",
        help="QUOTE is an SEV-SNP report, with these of the key's, issuer's and root's certificates, in any order.",
    ),
]
RevocationList = Annotated[
    Path | None, typer.Option("--revocation-list", metavar="FILE", help="SEV-SNP: the root's CRL, in DER or PEM.")
]
ExpectedData = Annotated[
    str | None,
    typer.Option(
        "--report-data",
        metavar="HEX",
        help="SEV-SNP: the challenge, up to 64 bytes, where the policy says FRESH_NONCE.",
    ),
]
Explain = Annotated[
    bool, typer.Option("--explain", metavar=FLAG, help="Every check, with the bytes it looks at and its source.")
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

_NONCE_SIZE = 32

_ALL_OF_HEADER = """\
# A Casemate policy for a quote of SGX and an SEV-SNP report together: each member accepts one of them, and both are of
# the code with these two digests. `casemate docs cli` explains it.
"""


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
    from casemate.cli.endpoints import EndpointOptions, endpoint_of, launched
    from casemate.cli.evidence_files import beside
    from casemate.cli.files import write_file
    from casemate.cli.images import image_of
    from casemate.cli.own_machine import enclave_number
    from casemate.client.binding_file import encode_binding
    from casemate.client.core import challenge
    from casemate.wire.protocol.report_data import ReportDataBinding

    screen = Screen(as_json=as_json)
    asked = challenge() if nonce is None else _nonce(nonce)
    endpoint = endpoint_of(EndpointOptions(state, url, token_file, ca))
    with ExitStack() as stack:
        client = stack.enter_context(endpoint.connect())
        number = enclave_number(target)
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


def verify(
    quote: EvidenceFiles,
    *,
    policy: PolicyFile,
    collateral: CollateralFile = None,
    nonce: ExpectedNonce = None,
    binding: BindingFile = None,
    ra_tls: RaTls = False,
    certificates: Certificates = None,
    revocation_list: RevocationList = None,
    report_data: ExpectedData = None,
    at: Time = None,
    explain: Explain = False,
    as_json: Json = False,
) -> None:
    r"""Appraise a quote, of real hardware or of a simulated machine.

    The verdict is this computer's own: no network, no service. Exit code 3
    where it refuses, with the rule, what it got, and what it wanted.

    A nonce shows freshness only where it was yours: one that came with the
    binding file shows no more than that quote and file belong together.

    Example:
        casemate verify quote.bin --collateral collateral.json \
            --policy policy.toml --explain
        casemate verify --ra-tls 127.0.0.1:8443 --policy policy.toml \
            --collateral collateral.json
        casemate verify report.bin --certificates amd.pem --policy snp.toml
        casemate verify quote.bin report.bin --policy both.toml
    """
    if len(quote) > 1:
        from casemate.cli.pieces import verify_pieces

        if ra_tls or explain or any((collateral, certificates, binding, revocation_list, report_data)):
            raise typer.BadParameter(
                "of several pieces, each has its files beside it, and --explain shows the checks of one: leave out all "
                "but --policy, --nonce, --at and --json",
                param_hint="QUOTE...",
            )
        asked = None if nonce is None else _nonce(nonce)
        verify_pieces(quote, policy, nonce=asked, at=at, screen=Screen(as_json=as_json))
        return
    evidence_file = quote[0]
    if certificates is not None:
        from casemate.cli.snp.reports import ReportFiles, verify_report

        if ra_tls or collateral is not None:
            raise typer.BadParameter("with --certificates there is no --ra-tls and no --collateral")
        files = ReportFiles(evidence_file, certificates, revocation_list, policy)
        verify_report(files, _challenge(report_data, nonce, binding), at=at, explain=explain, as_json=as_json)
        return
    if report_data is not None or revocation_list is not None:
        raise typer.BadParameter("--report-data and --revocation-list are for SEV-SNP reports, with --certificates")
    if ra_tls:
        from casemate.cli.ra_tls import Asked, verify_certificate

        if binding is not None:
            raise typer.BadParameter("a certificate's claims say what it binds", param_hint="--binding")
        challenge = None if nonce is None else _nonce(nonce)
        verify_certificate(str(evidence_file), Asked(policy, _collateral(collateral), challenge, at, explain, as_json))
        return
    from casemate.cli.appraisals import Appraisal, show_verdict
    from casemate.cli.evidence_files import bound_values, read_binding, read_evidence
    from casemate.cli.file_kinds import FileKind
    from casemate.cli.findings import sgx_document
    from casemate.cli.policies import policy_for_quote, time_of, weaknesses
    from casemate.verifier import SgxEvidence, appraise_any, explain_any
    from casemate.verifier.sgx.findings import find_sgx
    from casemate.wire.sgx.quote import MAX_QUOTE

    screen = Screen(as_json=as_json)
    data = read_evidence(evidence_file, screen, what="quote", kind=FileKind.QUOTE, limit=MAX_QUOTE)
    bound = None if binding is None else read_binding(binding)
    demands = _with_nonce(policy_for_quote(policy), nonce, bound)
    evidence = SgxEvidence(data, bound_values(bound))
    endorsements, now = _collateral(collateral), time_of(at)
    if demands.weaknesses():
        screen.say(f"the policy gives up: {weaknesses(demands)}", style="yellow")
    appraisal = Appraisal(
        lambda: appraise_any(evidence, demands, endorsements, now),
        lambda: explain_any(evidence, demands, endorsements, now),
        lambda verified: sgx_document(find_sgx(evidence.quote, endorsements), verified=verified),
    )
    show_verdict(screen, appraisal, explain=explain)


def policy(
    image: Image = None,
    *,
    learner: OfLearner = False,
    tee: TeeOption = Tee.SGX,
    all_of: AllOf = False,
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

    With --learner it is for what the gateway's form runs, as the Casemate that
    is installed here makes it: nothing is read from the machine's folders.

    Example:
        casemate policy hello/hello.sgxs > policy.toml
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
    if tee is Tee.SNP or all_of:
        if root is not None or trust_on_first_use:
            raise typer.BadParameter("with --tee snp or --all-of the machine is your own, which names root and TCB")
        text = _machine_policy(loaded, EndpointOptions(state, url, token_file, ca), all_of=all_of)
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
    text = f"{POLICY_HEADER}{print_policy(policy_of(named))}"
    screen.show({"mr_enclave": loaded.mr_enclave.hex(), "policy": text}, lambda console: console.out(text, end=""))


def _machine_policy(image: "LoadedImage", named: "EndpointOptions", *, all_of: bool) -> str:
    """The text of a policy for reports of the image as a guest of the user's own machine; or for its quotes as well."""
    from casemate.cli.endpoints import endpoint_of
    from casemate.cli.policies import PinnedEnclave, policy_of, root_of
    from casemate.cli.snp.policies import POLICY_HEADER, function_policy, maker_of
    from casemate.verifier import AllOfPolicy, CodeIdentity, print_any_policy

    machine = endpoint_of(named).own_machine()
    if machine is None:
        raise typer.BadParameter("the machine is to be your own: print the policy there, and hand it on")
    guest = function_policy(image, maker_of(machine), confined=True)
    if not all_of:
        return f"{POLICY_HEADER}{print_any_policy(guest)}"
    pinned = PinnedEnclave(
        frozenset({image.mr_enclave}),
        root_of(machine),
        seeded=machine.status.seeded,
        debug=image.parse_sigstruct().attributes.debug,
        confined=True,
    )
    code = frozenset({CodeIdentity(image.mr_enclave, image.launch_digest)})
    return f"{_ALL_OF_HEADER}{print_any_policy(AllOfPolicy((policy_of(pinned), guest), code))}"


def evidence_files(said: "EvidenceIs", output: Path, endorsements: Path | None) -> dict[str, tuple[Path, bytes]]:
    """What evidence of its kind comes in, for verifiers of that kind: names of files, and what goes into them."""
    from casemate.cli.evidence_files import beside
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


def _challenge(report_data: str | None, nonce: str | None, binding: Path | None) -> "SnpChallenge":
    """What a report must answer, by what the user gave."""
    from casemate.cli.evidence_files import bound_values, read_binding
    from casemate.cli.snp.reports import Challenge as SnpChallenge
    from casemate.cli.vm.attesting import report_data_of

    if report_data is not None and (nonce is not None or binding is not None):
        raise typer.BadParameter("--report-data is a VM's challenge, --nonce and --binding are a function's: give one")
    if nonce is not None and binding is None:
        raise typer.BadParameter("a function's report comes with --binding: what REPORT_DATA vouches for")
    bound = None if binding is None else read_binding(binding)
    return SnpChallenge(
        report_data=None if report_data is None else report_data_of(report_data),
        nonce=_nonce(nonce) if nonce is not None else None if bound is None else bound.nonce,
        bound=bound_values(bound),
    )


def _nonce(text: str) -> bytes:
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if len(nonce) != _NONCE_SIZE:
        raise typer.BadParameter(f"{text[:80]!r} is no nonce, want 64 hexadecimal digits", param_hint="--nonce")
    return nonce


def _with_nonce(demands: "AnyPolicy", nonce: str | None, bound: "ReportDataBinding | None") -> "AnyPolicy":
    """The policy for this challenge, where it asks for one."""
    from casemate.cli.policies import answering

    if nonce is not None:
        return demands.with_nonce(_nonce(nonce))
    return demands if bound is None else answering(demands, bound.nonce)


def _collateral(path: Path | None) -> "Collateral | None":
    from casemate.cli.evidence_files import read_collateral

    return None if path is None else read_collateral(path)
