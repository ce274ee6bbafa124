"""`casemate verify --ra-tls`: a certificate with evidence in it, from a file or from whoever answers at a port."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from casemate.cli.output import Screen

if TYPE_CHECKING:
    from casemate.verifier import SgxPolicy
    from casemate.wire.protocol.sandbox_layers import SandboxLayers
    from casemate.wire.sgx.collateral import Collateral

_MAX_PORT = 0xFFFF


@dataclass(frozen=True, slots=True)
class Asked:
    policy: Path
    collateral: "Collateral | None"
    nonce: bytes | None
    at: str | None
    explain: bool
    as_json: bool


def verify_certificate(source: str, asked: Asked) -> None:
    """Appraises the certificate and prints the verdict; exits with 3 where it is refused."""
    from casemate.cli.evidence.findings import sgx_document
    from casemate.cli.evidence.verdicts import Appraisal, show_verdict
    from casemate.cli.policies import policy_for_certificate, time_of, weaknesses
    from casemate.verifier import appraise_certificate, explain_certificate
    from casemate.verifier.ra_tls import unverified_quote
    from casemate.verifier.sgx.findings import find_sgx

    screen = Screen(as_json=asked.as_json)
    policy, now = policy_for_certificate(asked.policy), time_of(asked.at)
    if asked.nonce is not None:
        policy = policy.with_nonce(asked.nonce)
    place = None if Path(source).exists() else _place(source)
    if policy.weaknesses():
        screen.say(f"the policy gives up: {weaknesses(policy)}", style="yellow")
    certificate, layers = _heard(place, policy, asked) if place else (_certificate_in(Path(source)), None)
    quote = unverified_quote(certificate)
    appraisal = Appraisal(
        lambda: appraise_certificate(certificate, policy, asked.collateral, now, layers=layers).enclave,
        lambda: explain_certificate(certificate, policy, asked.collateral, now, layers=layers),
        lambda verified: sgx_document(find_sgx(quote, asked.collateral), verified=verified),
    )
    show_verdict(screen, appraisal, explain=asked.explain)


def _heard(place: tuple[str, int], policy: "SgxPolicy", asked: Asked) -> "tuple[bytes, SandboxLayers | None]":
    """The certificate of the server at an address; and what that says of its sandbox, if it passes the appraisal."""
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
        if not asked.explain and not asked.as_json:
            raise
        return certificate_of(*place), None  # to show what was found in it; its checks refuse it again
    connection.close()
    return connection.certificate.der, connection.certificate.layers


def _place(source: str) -> tuple[str, int] | None:
    """Host and port of HOST:PORT; None for other text, which then is taken for a file's name."""
    host, _, port = source.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= _MAX_PORT:
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


def _certificate_in(path: Path) -> bytes:
    """The first certificate of a file, PEM or DER."""
    from casemate.cli.evidence.files import read_certificate_file

    return read_certificate_file(path, what="certificate")[0]
