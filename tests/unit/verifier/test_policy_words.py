"""Every member of a policy says which words it takes: in its error, and in the documents."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.verifier.sgx import policy
from tests.rigs.verifier.snp import strict

from casemate.verifier import (
    AMD_MILAN_ROOT,
    PolicyError,
    SgxPolicy,
    SnpPolicy,
    parse_policy,
    parse_snp_policy,
    print_policy,
    print_snp_policy,
)
from casemate.verifier.sgx.policy import Absence
from casemate.verifier.sgx.policy import words_of as sgx_words
from casemate.verifier.sgx.policy_file import PolicyFormat
from casemate.verifier.snp.policy import SnpAbsence
from casemate.verifier.snp.policy import words_of as snp_words

DOCS = Path(__file__).resolve().parents[3] / "docs"
NESTED = {"tcb": ("ANY_ADVISORY",), "platform_info": (), "guest_policy": ("UNSAFE_ANY_UNKNOWN_BITS",)}
"""Words that stand within a member's value."""

Parse = Callable[[str], Any]
SGX = ("sgx", parse_policy, print_policy(policy(), PolicyFormat.JSON), sgx_words)
SNP = ("snp", parse_snp_policy, print_snp_policy(strict(AMD_MILAN_ROOT), PolicyFormat.JSON), snp_words)
MEMBERS = [
    pytest.param(parse, text, words, field.name, id=f"{kind} {field.name}")
    for (kind, parse, text, words), of in ((SGX, SgxPolicy), (SNP, SnpPolicy))
    for field in fields(of)
]


def refusal(parse: Parse, text: str, name: str, value: str) -> str:
    document = json.loads(text)
    document[name] = json.loads(value)
    with pytest.raises(PolicyError) as refused:
        parse(json.dumps(document))
    return str(refused.value)


@pytest.mark.parametrize(("parse", "text", "words", "name"), MEMBERS)
@pytest.mark.parametrize(
    "value", ['"ANY"', '"NO"', "null", "-1", "true", '"ANY_SVN_AT_ALL"', '"UNSAFE_ANY_UNKNOWN_BITS"']
)
def test_an_error_lists_the_words_of_the_member(
    parse: Parse, text: str, words: Callable[[str], tuple[str, ...]], name: str, value: str
) -> None:
    said = refusal(parse, text, name, value)
    assert said.startswith(f"policy.{name} is ")
    for word in (*words(name), *NESTED.get(name, ())):
        assert word in said
    assert "<" not in said
    assert "one of its words" not in said


@pytest.mark.parametrize(("parse", "text", "words", "name"), MEMBERS)
def test_a_word_of_another_member_is_refused_with_those_of_this_one(
    parse: Parse, text: str, words: Callable[[str], tuple[str, ...]], name: str
) -> None:
    others = {word.value for word in (*Absence, *SnpAbsence)} - set(words(name))
    for other in sorted(others):
        said = refusal(parse, text, name, f'"{other}"')
        assert all(word in said for word in words(name))


@pytest.mark.parametrize(("parse", "text", "words", "name"), MEMBERS)
def test_a_member_that_is_missing_is_named_with_its_words(
    parse: Parse, text: str, words: Callable[[str], tuple[str, ...]], name: str
) -> None:
    document = json.loads(text)
    del document[name]
    if name == "guest_policy":
        assert parse(json.dumps(document)) == parse(text)
        return
    with pytest.raises(PolicyError) as refused:
        parse(json.dumps(document))
    assert f"policy.{name} is nothing" in str(refused.value)
    assert all(word in str(refused.value) for word in words(name))


def rows(page: str) -> dict[str, str]:
    """The table of members, by member."""
    found: dict[str, str] = {}
    text = (DOCS / page).read_text()
    table = text[text.index("| member | values |") :].split("\n\n")[0]
    for line in table.splitlines()[2:]:
        names, values = line.strip("| ").split(" | ", 1)
        for name in re.findall(r"`(\w+)`", names):
            found[name] = values
    return found


@pytest.mark.parametrize(
    ("page", "of", "words"), [("cli.md", SgxPolicy, sgx_words), ("snp.md", SnpPolicy, snp_words)], ids=["sgx", "snp"]
)
def test_the_documents_have_every_member_and_word_and_no_other(
    page: str, of: type[SgxPolicy | SnpPolicy], words: Callable[[str], tuple[str, ...]]
) -> None:
    table = rows(page)
    assert list(table) == [field.name for field in fields(of)]
    known = {word.value for word in (*Absence, *SnpAbsence)}
    known |= {"INTEL_SGX_ROOT", "AMD_MILAN_ROOT", "AMD_GENOA_ROOT", "AMD_TURIN_ROOT"}
    for name, values in table.items():
        assert all(f'`"{word}"`' in values for word in (*words(name), *NESTED.get(name, ()))), name
        assert set(re.findall(r'`"([A-Z][A-Z_]+_[A-Z_]+)"`', values)) <= known
