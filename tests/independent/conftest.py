"""Verifiers that others wrote, behind one function each: evidence in, a status out, or a refusal."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from casemate.wire.pem import encode_chain, parse_chain
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import Quote

NPM = Path(__file__).parent / "npm"
INSTALL_TIMEOUT = 300


@dataclass(frozen=True)
class Judgement:
    """What a third party says."""

    status: str | None
    """In Intel's words; None where it refuses."""
    advisories: frozenset[str] | None
    """None where this verifier does not tell."""
    complaint: str = ""


Judge = Callable[[bytes, Collateral, bytes, datetime], Judgement]
"""Quote, collateral, trusted root (DER), time."""


@pytest.fixture(scope="session")
def node_program() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The npm verifier, installed from its lock file into a cache and kept running."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("node and npm are missing: run scripts/system-packages, or install nodejs and npm")
    folder = _installed()
    with subprocess.Popen(["node", str(folder / "verify.js")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:  # noqa: S607 - node is found on the path, as above
        assert node.stdin is not None
        assert node.stdout is not None
        pipes = node.stdin, node.stdout

        def ask(question: dict[str, Any]) -> dict[str, Any]:
            pipes[0].write(json.dumps(question).encode() + b"\n")
            pipes[0].flush()
            answer: dict[str, Any] = json.loads(pipes[1].readline())
            return answer

        yield ask
        node.stdin.close()


def _installed() -> Path:
    """The folder with the package, its dependencies as the lock file has them."""
    files = [NPM / name for name in ("package.json", "package-lock.json", "verify.js")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "casemate" / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / digest
    with (cache / f"{digest}.lock").open("w") as lock:  # test processes run in parallel
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path in files:
                shutil.copy(path, folder)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=INSTALL_TIMEOUT)
            if done.returncode != 0:
                pytest.fail(f"npm ci failed: {done.stderr.decode(errors='replace')}")
            (folder / ".complete").touch()
    return folder


@pytest.fixture(scope="session")
def phala_js(node_program: Callable[[dict[str, Any]], dict[str, Any]]) -> Judge:
    """@phala/dcap-qvl: JavaScript."""

    def judge(quote: bytes, collateral: Collateral, root: bytes, now: datetime) -> Judgement:
        answer = node_program(
            {
                "quote": quote.hex(),
                "root": root.hex(),
                "collateral": json.loads(collateral.encode()),
                "now": int(now.timestamp()),
            }
        )
        if "refused" in answer:
            return Judgement(None, None, answer["refused"])
        return Judgement(answer["status"], frozenset(answer["advisories"]))

    return judge


@pytest.fixture(scope="session")
def phala_rust() -> Judge:
    """dcap-qvl: Rust, by its Python binding."""

    def judge(quote: bytes, collateral: Collateral, root: bytes, now: datetime) -> Judgement:
        given = dcap_qvl.QuoteCollateralV3.from_json(collateral.encode().decode())
        try:
            report = dcap_qvl.verify_with_root_ca(quote, given, root, int(now.timestamp()))
        except ValueError as error:
            return Judgement(None, None, str(error))
        return Judgement(report.status, frozenset(report.advisory_ids))

    return judge


@pytest.fixture(scope="session")
def intel() -> Judge:
    """Intel's own Quote Verification Library, C++, by sgx-dcap-quote-verify-python."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("Intel's library is built for Linux on x86-64 alone")
    from sgx_dcap_quote_verify import verify

    def judge(quote: bytes, collateral: Collateral, root: bytes, now: datetime) -> Judgement:
        try:
            chain = parse_chain("chain", Quote.parse(quote).signature_data.certification_data.data)
            result = verify(
                trusted_root_ca_certificate=encode_chain(root).decode(),
                pck_certificate=encode_chain(chain[0].der).decode(),
                pck_signing_chain=encode_chain(*(block.der for block in chain[1:])).decode(),
                root_ca_crl=_pem_crl(collateral.root_ca_crl),
                intermediate_ca_crl=_pem_crl(collateral.pck_crl),
                tcb_info=_signed("tcbInfo", collateral.tcb_info, collateral.tcb_info_signature),
                tcb_signing_chain=collateral.tcb_info_issuer_chain.decode(),
                quote=quote,
                qe_identity=_signed("enclaveIdentity", collateral.qe_identity, collateral.qe_identity_signature),
                expiration_date=now.astimezone(UTC).replace(tzinfo=None),
            )
        except (ValueError, RuntimeError) as error:
            return Judgement(None, None, str(error))
        statuses = [
            status.name
            for status in (
                result.pck_certificate_status,
                result.tcb_info_status,
                result.qe_identity_status,
                result.quote_status,
            )
        ]
        if statuses[:3] != ["STATUS_OK"] * 3 or statuses[3] not in _INTELS_WORDS:
            return Judgement(None, None, ", ".join(statuses))
        return Judgement(_INTELS_WORDS[statuses[3]], None)

    return judge


_INTELS_WORDS = {
    "STATUS_OK": "UpToDate",
    "STATUS_TCB_SW_HARDENING_NEEDED": "SWHardeningNeeded",
    "STATUS_TCB_CONFIGURATION_NEEDED": "ConfigurationNeeded",
    "STATUS_TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED": "ConfigurationAndSWHardeningNeeded",
    "STATUS_TCB_OUT_OF_DATE": "OutOfDate",
    "STATUS_TCB_OUT_OF_DATE_CONFIGURATION_NEEDED": "OutOfDateConfigurationNeeded",
}


def _pem_crl(der: bytes) -> str:
    return x509.load_der_x509_crl(der).public_bytes(Encoding.PEM).decode()


def _signed(name: str, document: bytes, signature: bytes) -> str:
    return f'{{"{name}":{document.decode()},"signature":"{signature.hex()}"}}'


@pytest.fixture(params=["phala_rust", "phala_js", "intel"])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Each of them."""
    found: Judge = request.getfixturevalue(request.param)
    return found
