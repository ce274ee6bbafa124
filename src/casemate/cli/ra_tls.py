"""`casemate verify --ra-tls`: a certificate with evidence in it, from a file or from whoever answers at a port."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.errors import ExitCode
from casemate.cli.output import Screen

if TYPE_CHECKING:
    from casemate.verifier import SgxPolicy
    from casemate.wire.protocol.sandbox_layers import SandboxLayers
    from casemate.wire.sgx.collateral import Collateral

_MAX_PORT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command."""

    policy: Path
    collateral: "Collateral | None"
    nonce: bytes | None
    at: str | None
    explain: bool
    as_json: bool


def verify_certificate(source: str, asked: Asked) -> None:
    """Appraises and shows; ends the command where it is refused."""
    from casemate.cli.appraisals import show_refusal, show_verdict
    from casemate.cli.policies import sgx_policy_in, time_of, weaknesses
    from casemate.verifier import RefusedError, appraise_certificate, explain_certificate

    screen = Screen(as_json=asked.as_json)
    policy, now = sgx_policy_in(asked.policy), time_of(asked.at)
    if asked.nonce is not None:
        policy = policy.with_nonce(asked.nonce)
    place = None if Path(source).exists() else _place(source)
    tree = None
    if policy.weaknesses():
        screen.say(f"the policy gives up: {weaknesses(policy)}", style="yellow")
    try:
        certificate, layers = _heard(place, policy, asked) if place else (_certificate_in(Path(source)), None)
        if asked.explain:
            tree = explain_certificate(certificate, policy, asked.collateral, now, layers=layers)
        verified = appraise_certificate(certificate, policy, asked.collateral, now, layers=layers)
    except RefusedError as error:
        if tree is None:
            raise
        show_refusal(screen, error, tree)
        raise typer.Exit(ExitCode.REFUSED) from None
    show_verdict(screen, verified.enclave, tree)


def _heard(place: tuple[str, int], policy: "SgxPolicy", asked: Asked) -> "tuple[bytes, SandboxLayers | None]":
    """The certificate of whoever answers there, and what it says of its confinement, if it may be asked."""
    from casemate.cli.policies import time_of
    from casemate.client.ra_tls import RaTlsConnection, certificate_of
    from casemate.verifier import RefusedError

    if asked.collateral is None:
        raise typer.BadParameter("there is no judging a TCB without the maker's word", param_hint="--collateral")
    now = time_of(asked.at)
    connection = RaTlsConnection(*place, policy=policy, collateral=asked.collateral, now=lambda: now)
    try:
        connection.connect()
    except RefusedError:
        if not asked.explain:
            raise
        return certificate_of(*place), None  # whose checks are shown, and refuse it again
    connection.close()
    return connection.certificate.der, connection.certificate.layers


def _place(source: str) -> tuple[str, int] | None:
    """HOST:PORT; None for what does not look like it, which is then a file that is not there."""
    host, _, port = source.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


def _certificate_in(path: Path) -> bytes:
    """The first certificate of a file, PEM or DER."""
    from casemate.cli.evidence_files import read_certificate_file

    return read_certificate_file(path, what="certificate")[0]
