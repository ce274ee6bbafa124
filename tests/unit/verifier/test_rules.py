from pathlib import Path

from casemate.verifier.rules import RULES, Rule, rules_page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "verifier-rules.md"


def test_every_rule_has_its_text() -> None:
    assert list(RULES) == list(Rule)
    assert all(text.demand.endswith(".") and text.source for text in RULES.values())


def test_page_is_that_of_the_table() -> None:
    assert PAGE.read_text() == rules_page(), "run scripts/verifier-rules"
