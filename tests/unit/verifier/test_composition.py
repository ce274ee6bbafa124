"""Policies that are made of policies, tried with forged evidence of both makers."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.verifier.snp import strict

from casemate.testing.forge import Forged, honest
from casemate.testing.forge_snp import honest_snp
from casemate.verifier import (
    INTEL_SGX_ROOT,
    AllOfPolicy,
    AnyOfPolicy,
    CodeIdentity,
    CompositionRefusedError,
    Piece,
    PolicyError,
    RefusedError,
    Rule,
    SgxPolicy,
    SnpPolicy,
    VerifiedComposite,
    VerifiedSgxEvidence,
    VerifiedSnpEvidence,
    appraise_all,
    appraise_any,
    explain_any,
    parse_any_policy,
    print_any_policy,
)
from casemate.verifier.composition import MAX_CODES, MAX_MEMBERS
from casemate.verifier.policy_text import PolicyFormat
from casemate.wire.sgx.quote import Quote
from casemate.wire.snp.report import SnpReport

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Both:
    """Evidence of two makers, and the policies that accept each."""

    quote: Piece
    report: Piece
    code: CodeIdentity
    sgx: SgxPolicy
    snp: SnpPolicy

    def all_of(self, **changed: Any) -> AllOfPolicy:
        return replace(AllOfPolicy((self.sgx, self.snp), frozenset({self.code})), **changed)


def piece_of(forged: Forged) -> Piece:
    return Piece(forged.evidence, forged.collateral)


@pytest.fixture(scope="module")
def both() -> Both:
    forged = honest(NOW).sign()
    report, endorsements, root = honest_snp(NOW).sign()
    measurement = SnpReport.parse(report.report).measurement
    code = CodeIdentity(Quote.parse(forged.evidence.quote).body.mr_enclave, measurement)
    snp = strict(root, measurement=frozenset({measurement}))
    return Both(piece_of(forged), Piece(report, endorsements), code, forged.policy, snp)


def refused_by(work: Callable[[], object]) -> RefusedError:
    with pytest.raises(RefusedError) as refused:
        work()
    return refused.value


def test_any_of_accepts_what_a_member_accepts_and_keeps_its_type(both: Both) -> None:
    other = replace(both.sgx, mr_enclave=frozenset({bytes(32)}))
    policy = AnyOfPolicy((other, both.snp, both.sgx))
    verified = appraise_any(both.quote.evidence, policy, both.quote.endorsements, NOW)
    assert isinstance(verified, VerifiedSgxEvidence)
    report = appraise_any(both.report.evidence, policy, both.report.endorsements, NOW)
    assert isinstance(report, VerifiedSnpEvidence)


def test_any_of_refuses_with_every_members_rule(both: Both) -> None:
    other = replace(both.sgx, mr_enclave=frozenset({bytes(32)}))
    newer = replace(both.sgx, minimum_svn=9)
    policy = AnyOfPolicy((other, newer, both.snp))
    refusal = refused_by(lambda: appraise_any(both.quote.evidence, policy, both.quote.endorsements, NOW))
    assert isinstance(refusal, CompositionRefusedError)
    assert refusal.rule is Rule.POLICY_ANY_OF
    assert [(name, each.rule) for name, each in refusal.refusals] == [
        ("member 1 (SGX)", Rule.ENCLAVE_MR_ENCLAVE),
        ("member 2 (SGX)", Rule.ENCLAVE_SVN),
        ("member 3 (SEV-SNP)", Rule.EVIDENCE_KIND),
    ]
    assert "member 2 (SGX): enclave.svn: got 3, want 9 or above" in refusal.got
    tree = explain_any(both.quote.evidence, policy, both.quote.endorsements, NOW)
    assert tree.refusal is not None
    assert {group.title.partition(":")[0] for group in tree.groups} == {name for name, _ in refusal.refusals}


def test_the_checks_of_accepted_evidence_are_those_of_the_member_that_accepts(both: Both) -> None:
    policy = AnyOfPolicy((both.snp, both.sgx))
    tree = explain_any(both.quote.evidence, policy, both.quote.endorsements, NOW)
    assert tree.refusal is None
    assert {group.title.partition(":")[0] for group in tree.groups} == {"member 2 (SGX)"}


def test_a_simulated_root_counts_only_where_the_member_that_accepts_names_it(both: Both) -> None:
    real = replace(both.sgx, root=INTEL_SGX_ROOT)
    elsewhere = replace(both.sgx, mr_enclave=frozenset({bytes(32)}))  # names the simulated root, for other code
    refusal = refused_by(
        lambda: appraise_any(both.quote.evidence, AnyOfPolicy((real, elsewhere)), both.quote.endorsements, NOW)
    )
    assert "chain.simulated" in refusal.got
    assert AnyOfPolicy((real, elsewhere)).weaknesses() == ("SIMULATED_ROOT",)


def test_all_of_accepts_pieces_in_any_order_and_gives_them_in_the_members_order(both: Both) -> None:
    for pieces in ((both.quote, both.report), (both.report, both.quote)):
        verified = appraise_all(pieces, both.all_of(), NOW)
        assert [type(part) for part in verified.parts] == [VerifiedSgxEvidence, VerifiedSnpEvidence]
        assert verified.code == both.code
        assert verified.expires_at == min(part.expires_at for part in verified.parts)
    assert appraise_all((both.quote, both.report), both.all_of(code="ANY_CODE"), NOW).code is None


def test_all_of_gives_each_member_a_piece_of_its_own() -> None:
    """The first member accepts both quotes, the second only one: the first must make do with the other."""
    forgery = honest(NOW)
    older = forgery.sign()
    forgery.body = replace(forgery.body, isv_svn=5)
    newer = forgery.sign()
    pieces = (piece_of(newer), piece_of(older))
    version_5 = replace(newer.policy, minimum_svn=5)
    either = AnyOfPolicy((older.policy, newer.policy))
    verified = appraise_all(pieces, AllOfPolicy((either, version_5), "ANY_CODE"), NOW)
    assert [part.report.isv_svn for part in verified.parts if isinstance(part, VerifiedSgxEvidence)] == [3, 5]
    version_4 = replace(newer.policy, minimum_svn=4)
    refusal = refused_by(lambda: appraise_all(pieces, AllOfPolicy((version_4, version_5), "ANY_CODE"), NOW))
    assert refusal.rule is Rule.POLICY_ALL_OF
    assert "accept the same piece" in refusal.got


@pytest.mark.parametrize("number", [0, 1, 3])
def test_all_of_wants_as_many_pieces_as_members(both: Both, number: int) -> None:
    pieces = (both.quote, both.report, piece_of(honest(NOW).sign()))[:number]
    assert refused_by(lambda: appraise_all(pieces, both.all_of(), NOW)).rule is Rule.POLICY_ALL_OF


def test_all_of_counts_no_piece_twice(both: Both) -> None:
    refusal = refused_by(lambda: appraise_all((both.quote, both.quote), both.all_of(), NOW))
    assert refusal.rule is Rule.POLICY_ALL_OF
    assert "1 of them distinct" in refusal.got


def test_all_of_refuses_with_the_rule_of_each_member_without_a_piece(both: Both) -> None:
    policy = both.all_of(members=(replace(both.sgx, minimum_svn=9), both.snp))
    refusal = refused_by(lambda: appraise_all((both.quote, both.report), policy, NOW))
    assert isinstance(refusal, CompositionRefusedError)
    assert refusal.rule is Rule.POLICY_ALL_OF
    assert [each.rule for _, each in refusal.refusals] == [Rule.ENCLAVE_SVN]
    late = refused_by(lambda: appraise_all((both.quote, both.report), both.all_of(), NOW + timedelta(days=9999)))
    assert late.rule is Rule.POLICY_ALL_OF


def test_evidence_of_two_versions_is_not_of_one_code(both: Both) -> None:
    """Each version is accepted by itself; the pair is of none."""
    codes = frozenset({
        CodeIdentity(both.code.mr_enclave, bytes(48)),
        CodeIdentity(bytes(32), both.code.launch_digest),
    })  # fmt: skip
    refusal = refused_by(lambda: appraise_all((both.quote, both.report), both.all_of(code=codes), NOW))
    assert refusal.rule is Rule.POLICY_ONE_CODE
    assert appraise_all((both.quote, both.report), both.all_of(code=codes | {both.code}), NOW).code == both.code


def test_all_of_judges_no_single_piece(both: Both) -> None:
    refusal = refused_by(lambda: appraise_any(both.quote.evidence, both.all_of(), both.quote.endorsements, NOW))
    assert refusal.rule is Rule.POLICY_ALL_OF


def test_one_challenge_is_for_all_members(both: Both) -> None:
    fresh = replace(both.sgx, report_data="FRESH_NONCE")
    policy = AllOfPolicy((fresh, AnyOfPolicy((fresh, replace(fresh, minimum_svn=1)))), "ANY_CODE").with_nonce(b"n" * 32)
    assert "FRESH_NONCE" not in print_any_policy(policy)
    with pytest.raises(PolicyError, match="only FRESH_NONCE"):
        AnyOfPolicy((fresh, both.snp)).with_nonce(b"n" * 32)


def test_verified_composites_are_made_by_appraisal_alone() -> None:
    with pytest.raises(TypeError):
        VerifiedComposite()


@pytest.mark.parametrize("form", list(PolicyFormat))
def test_every_composition_round_trips_through_its_text(both: Both, form: PolicyFormat) -> None:
    any_of = AnyOfPolicy((both.sgx, both.snp, replace(both.sgx, minimum_svn=1)))
    for policy in (
        both.sgx,
        both.snp,
        any_of,
        AllOfPolicy((any_of, both.snp), "ANY_CODE"),
        both.all_of(code=frozenset({both.code, CodeIdentity(bytes(32), bytes(48))})),
    ):
        assert parse_any_policy(print_any_policy(policy, form)) == policy


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ((), "any_of has 0 members"),
        (None, "any_of wants"),
        (["a"], "any_of wants"),
        (("a",), "any_of wants"),
    ],
)
def test_no_composition_of_something_else(members: Any, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        AnyOfPolicy(members)


def test_no_composition_says_the_same_twice_or_too_much(both: Both) -> None:
    with pytest.raises(PolicyError, match="same member twice: numbers 1 and 3"):
        AnyOfPolicy((both.sgx, both.snp, both.sgx))
    with pytest.raises(PolicyError, match="same member twice"):
        AllOfPolicy((both.sgx, both.sgx), "ANY_CODE")
    many = tuple(replace(both.sgx, minimum_svn=number) for number in range(MAX_MEMBERS + 1))
    AnyOfPolicy(many[1:])
    with pytest.raises(PolicyError, match="want 1 to 8"):
        AnyOfPolicy(many)
    with pytest.raises(PolicyError, match="any_of wants"):
        AnyOfPolicy((AnyOfPolicy((both.sgx,)),))  # type: ignore[arg-type] # on purpose
    code: Any
    for code in (frozenset(), frozenset({"x"}), None, "ANY"):
        with pytest.raises(PolicyError, match="code"):
            AllOfPolicy((both.sgx, both.snp), code)
    with pytest.raises(PolicyError, match="want 32"):
        CodeIdentity(bytes(31), bytes(48))


def text_of(both: Both, change: Callable[[dict[str, Any]], None]) -> str:
    plain = json.loads(print_any_policy(both.all_of(), PolicyFormat.JSON))
    change(plain)
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plain: plain.update(all_of=[]), "all_of has 0 members"),
        (lambda plain: plain.update(all_of={}), "an array"),
        (lambda plain: plain.update(all_of="x"), "an array"),
        (lambda plain: plain.update(all_of=[1]), "an object"),
        (lambda plain: plain.update(all_of=plain["all_of"] * 2), "same member twice"),
        (lambda plain: plain.update(all_of=plain["all_of"] * 9), "18 items"),
        (lambda plain: plain.pop("code"), "policy.code"),
        (lambda plain: plain.update(code=[]), "empty set"),
        (lambda plain: plain.update(code="ANY"), "an array"),
        (lambda plain: plain.update(code=plain["code"] * (MAX_CODES + 1)), "65 items"),
        (lambda plain: plain["code"][0].pop("launch_digest"), "launch_digest"),
        (lambda plain: plain["code"][0].update(more=1), "more"),
        (lambda plain: plain.update(root="INTEL_SGX_ROOT"), "root"),
        (lambda plain: plain.update(any_of=plain["all_of"]), "any_of"),
        (lambda plain: plain["all_of"][1].pop("root"), r"all_of\[2\]: policy.root"),
        (lambda plain: plain["all_of"][0].update(debug="NO"), r"all_of\[1\]: policy.debug .* UNSAFE_ALLOW_DEBUG"),
        (lambda plain: plain["all_of"].append({"all_of": [{}]}), "all_of in a member"),
        (lambda plain: plain["all_of"].append({"any_of": [{"any_of": [{}]}]}), "any_of in a member"),
        (lambda plain: plain["all_of"].append({"any_of": []}), "any_of has 0 members"),
        (lambda plain: plain["all_of"].append({"any_of": [{}]}), r"all_of\[3\]: any_of\[1\]: policy.root"),
    ],
)
def test_bad_texts_are_refused_with_the_member_that_is_bad(
    both: Both, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    with pytest.raises(PolicyError, match=words):
        parse_any_policy(text_of(both, change))


@pytest.mark.parametrize(
    "text",
    [
        '{"any_of":' * 10_000,
        '{"any_of":[' * 40 + "]}" * 40,
        "any_of = " + "[" * 10_000,
        "any_of = " + "[{any_of=" * 12 + "1" + "}]" * 12,
        "[[any_of" + ".any_of" * 5000 + "]]",
        "[[any_of]]\n" * 10_000,
        "any_of = [" + "{}," * 60_000 + "]",
        '{"any_of": null}',
        '{"any_of": [null]}',
        "any_of = []\nall_of = []",
    ],
)
def test_bombs_are_refused_and_nothing_else_is_raised(text: str) -> None:
    with pytest.raises(PolicyError):
        parse_any_policy(text)


_NAMES = st.sampled_from(["any_of", "all_of", "code", "root", "measurement"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner),
)


@given(_JSON)
def test_any_json_is_a_policy_or_refused(value: Any) -> None:
    with pytest.raises(PolicyError):
        parse_any_policy(json.dumps(value))
