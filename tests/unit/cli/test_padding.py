"""One rule for padding, whatever way evidence comes in: zero bytes behind it are passed over, others are refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.command_line import Casemate
from tests.rigs.verifier.ra_tls import NOW as THEN
from tests.rigs.verifier.ra_tls import draft, legacy, policy_of, tagged
from tests.rigs.verifier.snp import strict

from casemate.client.binding_file import encode_binding, parse_binding
from casemate.client.core import appraise_answer
from casemate.testing.forge import Forged, Forgery, honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import (
    BoundValues,
    RefusedError,
    SgxEvidence,
    SnpEvidence,
    appraise,
    appraise_certificate,
    appraise_snp,
    print_policy,
    print_snp_policy,
)
from casemate.wire.encodings.pem import encode_chain
from casemate.wire.errors import CasemateError
from casemate.wire.messages.host import EvidenceIs
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.collateral import Collateral

NOW = datetime.now(UTC).replace(microsecond=0)
PADDINGS = {
    "none": (b"", True),
    "one zero": (b"\x00", True),
    "a page of zeros": (bytes(4096), True),
    "a byte": (b"\x01", False),
    "zeros and a byte": (bytes(20) + b"\x01", False),
    "a line end": (b"\n", False),
}


@pytest.fixture(scope="module")
def forgery() -> Forgery:
    return honest(NOW)


@pytest.fixture(scope="module")
def forged(forgery: Forgery) -> Forged:
    return forgery.sign()


def bound_of(forged: Forged) -> BoundValues:
    assert forged.evidence.bound is not None
    return forged.evidence.bound


def outcome(work: Callable[[], object]) -> bool:
    """Whether it was accepted; a refusal is the verifier's."""
    try:
        work()
    except RefusedError as error:
        if error.rule not in ("quote.format", "snp.report-format"):
            raise
        return False
    return True


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_quote_in_python(forged: Forged, padding: str) -> None:
    tail, accepted = PADDINGS[padding]
    evidence = SgxEvidence(forged.evidence.quote + tail, forged.evidence.bound)
    assert outcome(lambda: appraise(evidence, forged.policy, forged.collateral, NOW)) is accepted
    if accepted:
        alone = appraise(forged.evidence, forged.policy, forged.collateral, NOW)
        assert appraise(evidence, forged.policy, forged.collateral, NOW).quote_hash == alone.quote_hash


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_quote_from_a_host(forgery: Forgery, forged: Forged, padding: str) -> None:
    """Over the socket and over HTTP alike: both give this answer to a challenge."""
    tail, accepted = PADDINGS[padding]
    bound = bound_of(forged)
    answer = EvidenceIs(
        tee=Tee.SGX,
        evidence=forged.evidence.quote + tail,
        endorsements=forged.collateral.encode(),
        hpke_key=bound.hpke_key,
        receipt_key=bound.receipt_key,
        layers=bound.layers,
        session=1,
    )
    policy = replace(forged.policy, report_data="FRESH_NONCE")
    assert outcome(lambda: appraise_answer(answer, forgery.nonce, policy, NOW)) is accepted


@pytest.mark.parametrize("form", [tagged, legacy])
@pytest.mark.parametrize("padding", PADDINGS)
def test_a_quote_in_a_tls_certificate(form: Callable[..., list[tuple[str, bytes, bool]]], padding: str) -> None:
    tail, accepted = PADDINGS[padding]
    made = draft()
    made.extensions = form
    which = "forged" if form is tagged else "legacy"
    of = getattr(made, which)
    setattr(made, which, replace(of, evidence=_Raw(of.evidence.quote + tail)))
    policy, collateral, der = policy_of(of), of.collateral, made.sign()
    assert outcome(lambda: appraise_certificate(der, policy, collateral, THEN, layers=None)) is accepted


class _Raw(SgxEvidence):
    """Bytes that are not cut, to be put into a certificate."""

    def __init__(self, quote: bytes) -> None:
        object.__setattr__(self, "quote", quote)
        object.__setattr__(self, "bound", None)


@pytest.mark.parametrize("padding", PADDINGS)
def test_a_report_in_python(padding: str) -> None:
    tail, accepted = PADDINGS[padding]
    evidence, endorsements, root = honest_snp(NOW).sign()
    padded = SnpEvidence(evidence.report + tail)
    assert outcome(lambda: appraise_snp(padded, strict(root), endorsements, NOW)) is accepted


@pytest.mark.parametrize("padding", PADDINGS)
def test_files(casemate: Casemate, forgery: Forgery, forged: Forged, tmp_path: Path, padding: str) -> None:
    """Of a quote, a report, and the documents that belong to them; `inspect` reads what `verify` reads."""
    tail, accepted = PADDINGS[padding]
    evidence, endorsements, root = honest_snp(NOW).sign()
    bound = bound_of(forged)
    binding = ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers)
    contents = {
        "quote": forged.evidence.quote,
        "collateral": forged.collateral.encode(),
        "binding": encode_binding(binding),
        "policy": print_policy(replace(forged.policy, report_data="FRESH_NONCE")).encode(),
        "report": evidence.report,
        "certificates": encode_chain(endorsements.key_certificate) + endorsements.chain,
        "list": endorsements.revocation_list or b"",
        "snp": print_snp_policy(strict(root)).encode(),
    }

    def asked(padded: str) -> tuple[object, ...]:
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content + tail if name == padded else content)
        if padded in ("quote", "collateral", "binding"):
            of_quote = ("--collateral", tmp_path / "collateral", "--binding", tmp_path / "binding")
            return ("verify", tmp_path / "quote", *of_quote, "--policy", tmp_path / "policy")
        of_report = ("--certificates", tmp_path / "certificates", "--revocation-list", tmp_path / "list")
        return ("verify", tmp_path / "report", *of_report, "--policy", tmp_path / "snp")

    for padded in ("quote", "report", "collateral", "binding", "list", "certificates"):
        said = casemate(*asked(padded), *(["--json"] if len(tail) == 1 else []))
        white_space = padded in ("collateral", "binding", "certificates") and padding == "a line end"
        text_around = padded == "certificates"  # which may stand there
        assert (said.code == 0) is (accepted or white_space or text_around), (padded, said)
        if padded in ("quote", "report"):
            assert (casemate("inspect", tmp_path / padded, "--json").code == 0) is accepted, padded


@pytest.mark.parametrize("padding", PADDINGS)
def test_documents_in_python(forgery: Forgery, forged: Forged, padding: str) -> None:
    tail, accepted = PADDINGS[padding]
    bound = bound_of(forged)
    binding = encode_binding(ReportDataBinding(bound.hpke_key, bound.receipt_key, forgery.nonce, bound.layers))
    for parse, content in ((Collateral.parse, forged.collateral.encode()), (parse_binding, binding)):
        try:
            parse(content + tail)
        except CasemateError:
            assert not accepted
        else:
            assert accepted or padding == "a line end"
