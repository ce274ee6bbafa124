import re

from tests.rigs.docs.markdown import ROOT, anchors, table

from casemate.testing.hostile.outcome import AttackOutcome
from casemate.testing.hostile.table import TABLE
from casemate.wire.snp.mode import VmMode

PAGE = (ROOT / "docs" / "vm-attacks.md").read_text()
RESULTS, WORDS = PAGE.split("## The attacks", 1)


def test_the_table_is_the_one_that_tests_hold_true() -> None:
    assert table(RESULTS, "attack") == [[attack.name, attack.way, *row] for attack, row in TABLE.items()]
    assert f"| attack | path | {' | '.join(VmMode)} |" in RESULTS


def test_each_attack_is_explained_and_each_outcome_too() -> None:
    assert [row[0] for row in table(WORDS, "attack")] == list(dict.fromkeys(attack.name for attack in TABLE))
    assert all(f"**{outcome}**" in RESULTS for outcome in AttackOutcome)


def test_each_mode_has_its_section() -> None:
    assert set(VmMode) <= anchors(PAGE)


def test_each_paper_is_cited_and_each_citation_is_listed() -> None:
    text, papers = PAGE.split("## Papers", 1)
    cited = set(re.findall(r"\[(\d+)\](?!\()", text))
    assert cited == set(re.findall(r"^(\d+)\. ", papers, re.MULTILINE))
