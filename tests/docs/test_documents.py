"""The documentation says what is so: its commands run, its tables are those of the code, its links lead somewhere."""

import ast
import re
from pathlib import Path

import pytest
from tests.rigs.docs.markdown import PAGES, ROOT, anchors, blocks, links, pinned, table, words_in_code
from tests.rigs.docs.story import LATER, RUNNABLE, Story, matches

import casemate
from casemate.wire.protocol.lifecycle import TRANSITIONS

PACKAGE = Path(casemate.__file__).parent
DOCS = ROOT / "docs"
STORIES = [
    page
    for page in PAGES
    if any(block.language in RUNNABLE and block.mark != "not run" for block in blocks(page.read_text()))
]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
ROOMS = sorted(room.parent.name for room in PACKAGE.glob("*/__init__.py"))


@pytest.mark.machine
@pytest.mark.parametrize("page", STORIES, ids=lambda page: page.name)
def test_what_a_page_has_its_reader_type_does_what_the_page_shows(
    page: Path, tmp_path: Path, warm_commands: Path
) -> None:
    text = page.read_text()
    with Story(tmp_path, warm_commands, pinned(text)) as story:
        for block in blocks(text):
            story.play(block)


def test_what_is_shown_has_to_be_what_is_printed() -> None:
    printed = "✓ call   17 ms  done\nMRENCLAVE  0123456789abcdef\nsecurity version 1\nok\n"
    assert matches(printed, printed)
    assert matches("✓ call 3 ms done\nMRENCLAVE fedcba9876543210\n...\nok\n", printed)
    assert matches("...\nMRENCLAVE 01234567…\nsecurity …\n...\n", printed)
    assert not matches("...\nsecurity version 2\nok\n", printed)
    assert not matches("...\nok\nmore\n", printed)
    assert not matches("✓ call 3 ms done\n", printed)
    assert not matches("", printed)


def test_a_digest_that_is_the_same_everywhere_has_to_be_the_one_that_is_printed() -> None:
    digest, other = "0123456789abcdef", "fedcba9876543210"
    assert matches(f"digest {digest}\nroot {other}\n", f"digest {digest}\nroot 00112233\n", frozenset({digest}))
    assert not matches(f"digest {digest}\n", f"digest {other}\n", frozenset({digest}))
    assert not matches(f"digest {other}\n", f"digest {digest}\n", frozenset({digest}))


@PAGE
def test_each_launch_digest_is_pinned_or_left_out(page: Path) -> None:
    """They follow from a guest's bytes alone, so a page whose digest is out of date shows its reader a false one."""
    text = page.read_text()
    printed = "".join(block.text for block in blocks(text) if block.language == "console")
    shown = set(re.findall(r"\b[0-9a-f]{96}\b", printed)) - {"0" * 96}
    assert shown <= pinned(text)
    assert all(text.count(word) > 1 for word in pinned(text)), "a pinned digest is shown nowhere"


@PAGE
def test_what_a_page_does_not_run_it_says_why(page: Path) -> None:
    for block in blocks(page.read_text()):
        assert block.mark in ("", "file", "background", "not run", *LATER), block.line
        assert bool(block.argument) == (block.mark in ("file", "not run", "key")), block.line


@PAGE
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    for link in links(page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_index_names_every_document() -> None:
    linked = {(DOCS / link).resolve() for link in links((DOCS / "README.md").read_text())}
    assert linked == {page for page in PAGES if page.is_relative_to(DOCS)} - {DOCS / "README.md"}


@PAGE
def test_every_file_that_a_page_mentions_exists(page: Path) -> None:
    text = page.read_text()
    made = " ".join(f"{block.text} {block.argument}" for block in blocks(text))  # by the page's own commands
    for word in words_in_code(text):
        if re.fullmatch(r"[\w@-]+(?:/[\w@.-]+)*\.(?:md|py|js|json|toml|txt|lock|sgxs|sigstruct|bin)", word):
            plain = word.removeprefix("hello/")  # what `casemate init hello` makes
            assert any((place / plain).exists() for place in PLACES) or plain in MADE or plain in made, word
        elif re.match(r"(?:docs|src|tests|examples|scripts|requirements|bench|\.ci)/", word):
            assert (ROOT / word.partition("::")[0]).exists(), word


PLACES = (
    ROOT,
    DOCS,
    PACKAGE,
    PACKAGE / "images" / "functions" / "starter_files" / "hello" / "common",
    PACKAGE / "images" / "functions" / "starter_files" / "hello" / "javascript",
    *sorted((ROOT / "examples").iterdir()),
    *sorted((ROOT / "examples").glob("*/guest")),
    *sorted((ROOT / "examples").glob("*/schemas")),
    *sorted((ROOT / "examples").glob("*/tests/cases/*")),
)
"""Where a path that a page mentions may begin."""
MADE = (
    *(
        "casemate.lock",
        "casemate.schema.json",
        "handlers.py",
        "receipt.json",
        "hello.sgxs",
        "hello.sigstruct",
        "host/host.log",
        "machine.log",
    ),
    *("host/tokens.json", "host/collateral.json", "host/machine.json", "machine.lock", "tokens.lock", "inventory.json"),
)
"""Files that commands and machines make."""


def test_the_lifecycle_on_the_page_is_the_table_that_is_followed() -> None:
    shown = {row[0]: row[1] for row in table((DOCS / "architecture.md").read_text(), "state")}
    assert shown == {
        str(state): ", ".join(f"{event} → {then}" for event, then in events.items()) or "none"
        for state, events in TRANSITIONS.items()
    }


def test_the_lifecycle_that_is_drawn_is_the_table_that_is_followed() -> None:
    drawn = re.findall(r"^  (\w+) --> (\w+): (\w+)$", (DOCS / "architecture.md").read_text(), re.MULTILINE)
    followed = [(state, then, event) for state, events in TRANSITIONS.items() for event, then in events.items()]
    assert drawn == [tuple(map(str, step)) for step in followed]


def test_the_rooms_on_the_page_are_the_folders_of_the_package() -> None:
    rows = table((DOCS / "architecture.md").read_text(), "room")
    assert sorted(row[0].strip("`") for row in rows) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_row_says(room: str) -> None:
    rows = {row[0].strip("`"): row[-1] for row in table((DOCS / "architecture.md").read_text(), "room")}
    allowed = set(ROOMS) if rows[room] == "all" else set(re.findall(r"`(\w+)`", rows[room]))
    assert _rooms_imported(PACKAGE / room) - {room} <= allowed


def _rooms_imported(folder: Path) -> set[str]:
    found = set()
    for source in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found |= {name.split(".")[1] for name in names if name.startswith("casemate.")}
    return found
