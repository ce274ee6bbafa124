"""Every member of a policy says which words it takes: in its error, and in the documents."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.verifier.sgx import policy
from tests.rigs.verifier.snp import strict

from casemate.verifier import (
    AMD_MILAN_ROOT,
    GuestPolicyDemand,
    PolicyError,
    SgxPolicy,
    SnpPolicy,
    parse_policy,
    parse_snp_policy,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.demands import Member, members_of
from casemate.verifier.policy_text import PolicyFormat, policy_table

DOCS = Path(__file__).resolve().parents[3] / "docs"
NESTED = {"tcb": ("ANY_ADVISORY",), "platform_info": (), "guest_policy": ("UNSAFE_ANY_UNKNOWN_BITS",)}
"""Words that stand within a member's value."""

Parse = Callable[[str], Any]
SGX = ("sgx", parse_policy, print_policy(policy(), PolicyFormat.JSON), SgxPolicy)
SNP = ("snp", parse_snp_policy, print_snp_policy(strict(AMD_MILAN_ROOT), PolicyFormat.JSON), SnpPolicy)
MEMBERS = [
    pytest.param(parse, text, member, id=f"{kind} {member.name}")
    for kind, parse, text, of in (SGX, SNP)
    for member in members_of(of)
]
WORDS = {word for of in (SgxPolicy, SnpPolicy) for member in members_of(of) for word in member.words}


def refusal(parse: Parse, text: str, name: str, value: str) -> str:
    document = json.loads(text)
    document[name] = json.loads(value)
    with pytest.raises(PolicyError) as refused:
        parse(json.dumps(document))
    return str(refused.value)


@pytest.mark.parametrize(("parse", "text", "member"), MEMBERS)
@pytest.mark.parametrize(
    "value", ['"ANY"', '"NO"', "null", "-1", "true", '"ANY_SVN_AT_ALL"', '"UNSAFE_ANY_UNKNOWN_BITS"']
)
def test_an_error_lists_the_words_of_the_member(parse: Parse, text: str, member: Member, value: str) -> None:
    said = refusal(parse, text, member.name, value)
    assert said.startswith(f"policy.{member.name} is ")
    for word in (*member.words, *NESTED.get(member.name, ())):
        assert word in said
    assert "<" not in said
    assert "one of its words" not in said


@pytest.mark.parametrize(("parse", "text", "member"), MEMBERS)
def test_a_word_of_another_member_is_refused_with_those_of_this_one(parse: Parse, text: str, member: Member) -> None:
    for other in sorted(WORDS - set(member.words)):
        said = refusal(parse, text, member.name, f'"{other}"')
        assert all(word in said for word in member.words)


@pytest.mark.parametrize(("parse", "text", "member"), MEMBERS)
def test_a_member_that_is_missing_is_named_with_its_words_or_means_its_default(
    parse: Parse, text: str, member: Member
) -> None:
    document = json.loads(text)
    document.pop(member.name, None)
    if not member.is_required:
        assert getattr(parse(json.dumps(document)), member.name) == member.default
        return
    with pytest.raises(PolicyError) as refused:
        parse(json.dumps(document))
    assert f"policy.{member.name} is nothing" in str(refused.value)
    assert all(word in str(refused.value) for word in member.words)


@pytest.mark.parametrize("of", [SgxPolicy, SnpPolicy])
def test_what_was_added_later_demands_nothing_by_default_or_is_the_strictest(of: type) -> None:
    for member in members_of(of):
        assert member.is_required or str(member.default).startswith("ANY_") or member.default == GuestPolicyDemand(0), (
            member.name
        )


@pytest.mark.parametrize(("page", "of"), [("cli.md", SgxPolicy), ("snp.md", SnpPolicy)], ids=["sgx", "snp"])
def test_the_documents_have_the_table_of_the_records(page: str, of: type[SgxPolicy | SnpPolicy]) -> None:
    assert policy_table(of) in (DOCS / page).read_text(), "run scripts/policy-tables"
