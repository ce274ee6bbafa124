import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from casemate.cli.output import json_text, printable


@given(st.text())
def test_nothing_printable_can_steer_a_terminal(text: str) -> None:
    for character in printable(text):
        assert character in "\n\t" or not unicodedata.category(character).startswith("C")


def test_printable_text_stays_as_it_is() -> None:
    assert printable("größer, 漢字, ✓\n") == "größer, 漢字, ✓\n"


def test_escapes_are_written_out() -> None:
    assert printable("\x1b[31mred\x9b\u202e\U000e0001") == "\\x1b[31mred\\x9b\\u202e\\U000e0001"


@given(st.dictionaries(st.text(), st.text()))
def test_json_is_ascii_and_means_the_same(document: dict[str, str]) -> None:
    text = json_text(document)
    assert text.isascii()
    assert json.loads(text) == document
