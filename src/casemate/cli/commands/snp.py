"""`casemate snp ...`: a machine's SEV-SNP processor: its maker's levers, and its host's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import FLAG, Json, State
from casemate.cli.output import Screen, facts
from casemate.wire.snp.vlek import MAX_CSP_ID

if TYPE_CHECKING:
    from casemate.client.snp.processor import SnpLevers
    from casemate.wire.messages.snp_firmware import PlatformIs

Advisory = Annotated[
    str, typer.Option("--advisory", metavar="ID", help="The bulletin that the recovery answers, such as AMD-SB-99001.")
]
NoCommit = Annotated[
    bool,
    typer.Option("--no-commit", metavar=FLAG, help="Run it provisionally: it can be rolled back, and reports say so."),
]
ReportedTcb = Annotated[
    str | None,
    typer.Option("--reported-tcb", metavar="HEX", help="8 bytes, between committed and current. Default: the current."),
]
MaskChipId = Annotated[
    bool, typer.Option("--mask-chip-id", metavar=FLAG, help="Reports name no chip. Default: they name it.")
]
Provider = Annotated[str, typer.Argument(metavar="PROVIDER", help="A cloud provider's name, such as CN=cloud.example.")]
OfProvider = Annotated[
    str, typer.Option("--provider", metavar="NAME", help="The key of this cloud provider (VLEK), not the chip's own.")
]
Issuer = Annotated[
    bool,
    typer.Option("--issuer", metavar=FLAG, help="The issuer of such keys instead, and with it all that it signed."),
]
RootFile = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="Put the root's certificate there, in PEM.")
]
ListFile = Annotated[
    Path | None, typer.Option("--revocation-list", metavar="FILE", help="Put the root's revocation list there, in DER.")
]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def status(*, state: State = None, as_json: Json = False) -> None:
    """Show the processor: product, firmware, TCB versions, and by which key its reports are signed."""
    _show(Screen(as_json=as_json), _levers(state).status())


@app.command()
def root(*, output: RootFile, revocation_list: ListFile = None, state: State = None, as_json: Json = False) -> None:
    """Write the maker's root for this processor (ARK) to a file, for verifiers, and its revocation list.

    Example:
        casemate snp root -o ark.pem --revocation-list ark.crl
    """
    import hashlib

    from casemate.cli.files import write_file
    from casemate.wire.encodings.pem import encode_chain

    found = _levers(state).root()
    write_file(output, encode_chain(found.root_certificate), what="root certificate")
    if revocation_list is not None:
        write_file(revocation_list, found.revocation_list, what="revocation list")
    digest = hashlib.sha256(found.root_certificate).hexdigest()
    said = {
        "product": str(found.product),
        "root": str(output),
        "root_sha256": digest,
        "revocation_list": None if revocation_list is None else str(revocation_list),
        "newest_tcb": found.newest_tcb.hex(),
        "chip_id": found.chip_id.hex(),
    }
    Screen(as_json=as_json).show(
        said,
        lambda console: facts(
            console,
            [
                ("root", f"{output}: ARK-{found.product}, SIMULATED"),
                ("SHA-256", digest),
                *([] if revocation_list is None else [("revocation list", str(revocation_list))]),
                ("newest TCB", found.newest_tcb.hex()),
                ("chip", found.chip_id.hex()),
            ],
        ),
    )


@app.command(name="recover-tcb")
def recover_tcb(advisory: Advisory, *, state: State = None, as_json: Json = False) -> None:
    """Have the maker publish firmware of a higher TCB: policies that demand it refuse this machine until it is updated.

    Example:
        casemate snp recover-tcb --advisory AMD-SB-99001
    """
    _done(Screen(as_json=as_json), _levers(state).recover_tcb(advisory))


@app.command(name="update-firmware")
def update_firmware(*, no_commit: NoCommit = False, state: State = None, as_json: Json = False) -> None:
    """Bring the processor to the newest firmware that its maker has published, and commit it; guests run on."""
    _done(Screen(as_json=as_json), _levers(state).update_firmware(commit=not no_commit))


@app.command()
def commit(*, state: State = None, as_json: Json = False) -> None:
    """Commit the firmware that runs: none that is older from now, and reports name its TCB."""
    _show(Screen(as_json=as_json), _levers(state).commit())


@app.command()
def configure(
    *, reported_tcb: ReportedTcb = None, mask_chip_id: MaskChipId = False, state: State = None, as_json: Json = False
) -> None:
    """Set what reports say of the platform, as its host may: which TCB, and whether they name the chip.

    Example:
        casemate snp configure --mask-chip-id
    """
    tcb = bytes(8) if reported_tcb is None else _tcb(reported_tcb)
    _show(Screen(as_json=as_json), _levers(state).configure(tcb, mask_chip_id=mask_chip_id))


@app.command(name="load-vlek")
def load_vlek(provider: Provider, *, state: State = None, as_json: Json = False) -> None:
    """Have reports signed by a cloud provider's key (VLEK) instead of the chip's own, until the chip's next start.

    Example:
        casemate snp load-vlek CN=cloud.example
    """
    if not provider:
        raise typer.BadParameter("a provider has a name", param_hint="PROVIDER")
    name = _provider(provider)
    _show(Screen(as_json=as_json), _levers(state).load_vlek(name))


@app.command()
def revoke(*, provider: OfProvider = "", issuer: Issuer = False, state: State = None, as_json: Json = False) -> None:
    """Have the maker revoke every certificate of this chip's key: nobody who reads its list accepts them any more.

    Example:
        casemate snp revoke
    """
    name = _provider(provider)
    _done(Screen(as_json=as_json), _levers(state).revoke(provider=name, issuer=issuer))


def _levers(state: Path | None) -> "SnpLevers":
    from casemate.cli.own_machine import machine_on

    return machine_on(state).snp


def _provider(name: str) -> str:
    if len(name) > MAX_CSP_ID or not name.isascii() or not name.isprintable():
        raise typer.BadParameter(f"{name[:80]!r} is no provider's name, want up to {MAX_CSP_ID} of printable ASCII")
    return name


def _tcb(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 8:
        raise typer.BadParameter(
            f"{text[:80]!r} is no TCB version, want 16 hexadecimal digits", param_hint="--reported-tcb"
        )
    return found


def _done(screen: Screen, said: str) -> None:
    screen.show({"done": said}, lambda console: facts(console, [("done", said)]))


def _show(screen: Screen, now: "PlatformIs") -> None:
    firmware = f"{now.api_major}.{now.api_minor}.{now.build}"
    document = {
        "product": now.product,
        "firmware": firmware,
        "current_tcb": now.current_tcb.hex(),
        "committed_tcb": now.committed_tcb.hex(),
        "reported_tcb": now.reported_tcb.hex(),
        "mask_chip_id": now.mask_chip_id,
        "report_version": now.report_version,
        "provider": now.provider or None,
        "guests": now.guests,
    }
    provisional = "" if now.current_tcb == now.committed_tcb else ", provisional: not committed"
    key = f"VLEK of {now.provider}" if now.provider else "VCEK, the chip's own"
    screen.show(
        document,
        lambda console: facts(
            console,
            [
                ("product", now.product),
                ("firmware", f"{firmware}{provisional}"),
                ("current TCB", _parts(now.product, now.current_tcb)),
                ("committed TCB", _parts(now.product, now.committed_tcb)),
                ("reported TCB", _parts(now.product, now.reported_tcb)),
                ("reports", f"version {now.report_version}, chip id {'hidden' if now.mask_chip_id else 'shown'}"),
                ("signed by", key),
                ("guests", str(now.guests)),
            ],
        ),
    )


def _parts(product: str, tcb: bytes) -> str:
    """A TCB version in hexadecimal, and part by part by the names that policies use."""
    from casemate.wire.snp.tcb import Product, TcbVersion

    return TcbVersion.parse(Product(product), tcb).shown()
