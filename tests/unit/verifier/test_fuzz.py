"""Hostile evidence gives a verdict or a refusal, and nothing else; explaining it never raises."""

import contextlib
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from casemate.testing.forge import Forged, honest
from casemate.verifier import BoundValues, RefusedError, Rule, SgxEvidence, SgxPolicy, appraise, explain
from casemate.wire.encodings.pem import encode_chain, parse_chain
from casemate.wire.errors import WireError
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import Quote

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@lru_cache(maxsize=1)
def forged() -> Forged:
    return honest(NOW).sign()


def judge(evidence: SgxEvidence, collateral: Collateral | None) -> bool:
    """Whether the evidence is accepted; appraisal and explanation agree."""
    return judged_by(forged().policy, evidence, collateral)


def judged_by(policy: SgxPolicy, evidence: SgxEvidence, collateral: Collateral | None) -> bool:
    explained = explain(evidence, policy, collateral, NOW).refusal
    refused: Rule | None = None
    try:
        appraise(evidence, policy, collateral, NOW)
    except RefusedError as error:
        refused = error.rule
    assert refused is (None if explained is None else explained.rule)
    return refused is None


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Some bytes changed, dropped, doubled, or put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from("xdi2")):
            case "x" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "d":
                del data[at : at + draw(st.integers(1, 8))]
            case "i":
                data[at:at] = draw(st.binary(max_size=8))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@given(st.binary(max_size=2000))
def test_random_quotes_are_refused(quote: bytes) -> None:
    assert not judge(SgxEvidence(quote, None), forged().collateral)


@given(st.data())
def test_damaged_quotes_are_refused(data: st.DataObject) -> None:
    quote = forged().evidence.quote
    changed = data.draw(damaged(quote))
    accepted = judge(replace(forged().evidence, quote=changed), forged().collateral)
    if accepted:  # white space between certificates, which nobody signs
        assert changed == quote or _ders(changed) == _ders(quote)


@given(st.data())
def test_damaged_certificates_are_refused(data: st.DataObject) -> None:
    quote = Quote.parse(forged().evidence.quote)
    ders = list(_ders(forged().evidence.quote))
    at = data.draw(st.integers(0, len(ders) - 1))
    honest_der = ders[at]
    ders[at] = data.draw(damaged(honest_der).filter(lambda der: der not in (honest_der, b"")))
    chain = replace(quote.signature_data.certification_data, data=encode_chain(*ders))
    changed = replace(quote, signature_data=replace(quote.signature_data, certification_data=chain))
    assert not judge(replace(forged().evidence, quote=changed.encode()), forged().collateral)


@given(
    st.sampled_from([field.name for field in fields(Collateral) if field.name != "pck_certificate_chain"]), st.data()
)
def test_damaged_collateral_is_refused(name: str, data: st.DataObject) -> None:
    good: bytes = getattr(forged().collateral, name)
    changed = data.draw(damaged(good))
    accepted = judge(forged().evidence, replace(forged().collateral, **{name: changed}))
    if accepted and changed != good:
        assert name.endswith("_chain")
        assert [block.der for block in parse_chain("", changed)] == [block.der for block in parse_chain("", good)]


@given(st.data())
def test_damaged_collateral_files_give_collateral_or_a_wire_error(data: st.DataObject) -> None:
    with contextlib.suppress(WireError):
        judge(forged().evidence, Collateral.parse(data.draw(damaged(forged().collateral.encode()))))


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["tcb_info", "qe_identity"]), st.data())
def test_documents_of_a_mad_maker_are_judged_all_the_same(which: str, data: st.DataObject) -> None:
    forgery = honest(NOW)
    document: dict[str, Any] = getattr(forgery, which)
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(json_values)
    mad = forgery.sign()
    judged_by(mad.policy, mad.evidence, mad.collateral)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_bound_values_of_any_size_are_refused(hpke_key: bytes, receipt_key: bytes) -> None:
    told = forged().evidence.bound
    assert told is not None
    bound = BoundValues(hpke_key, receipt_key, told.layers)
    assert not judge(replace(forged().evidence, bound=bound), forged().collateral)


def _ders(quote: bytes) -> list[bytes]:
    chain = Quote.parse(quote).signature_data.certification_data.data
    return [block.der for block in parse_chain("chain", chain)]
