"""Verifiers that others wrote, behind one function each: evidence in, a status out, or a refusal."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from scripts.site.npm import installed
from tests.rigs.independent_verifiers import GO, RUST, Ask, running

from casemate.testing.independent import Judge, Judgement, dcap_qvl, intel_qvl, intel_runs_here
from casemate.wire.sgx.collateral import Collateral

NPM = Path(__file__).parent / "npm"


@pytest.fixture(scope="session")
def node_program() -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The npm verifier, installed from its lock file into a cache and kept running."""
    if shutil.which("node") is None:
        pytest.fail("node is missing: run scripts/system-packages, or install nodejs and npm")
    folder = installed(NPM, "verify.js")
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
    return dcap_qvl


@pytest.fixture(scope="session")
def intel() -> Judge:
    """Intel's own Quote Verification Library, C++."""
    if not intel_runs_here():
        pytest.skip("Intel's library is built for Linux on x86-64 and Python up to 3.11 alone")
    return intel_qvl


@pytest.fixture(params=["phala_rust", "phala_js", "intel"])
def judge(request: pytest.FixtureRequest) -> Judge:
    """Each of them."""
    found: Judge = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def judges() -> Iterator[Ask]:
    """go-sev-guest, and go-tdx-guest's parser of PCK certificates."""
    with running(Path(__file__).parent / "go", GO) as ask:
        yield ask


@pytest.fixture(scope="session")
def sev_crate() -> Iterator[Ask]:
    """virtee's `sev` crate."""
    with running(Path(__file__).parent / "rust", RUST) as ask:
        yield ask
