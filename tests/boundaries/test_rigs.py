"""What tests share lies in tests/rigs, so a change in one test file breaks no tests elsewhere."""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]


def imported(path: Path, text: str) -> set[str]:
    """The modules of tests that a file imports, with absolute names."""
    package = ".".join(("tests", *path.relative_to(TESTS).parent.parts))
    found = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(f"{package}.{node.module}" if node.level else node.module or "")
    return {name for name in found if name.startswith("tests.")}


def test_tests_import_rigs_alone() -> None:
    wrong = {
        str(path.relative_to(TESTS)): others
        for path in TESTS.rglob("*.py")
        if (others := {name for name in imported(path, path.read_text()) if not name.startswith("tests.rigs.")})
    }
    assert wrong == {}


def test_an_import_of_another_tests_module_is_noticed() -> None:
    text = "from tests.unit.test_a import b\nimport tests.c.d\nfrom .test_e import f\nfrom tests.rigs.g import h\n"
    found = imported(TESTS / "unit" / "link" / "test_door.py", text)
    assert found == {"tests.unit.test_a", "tests.c.d", "tests.unit.link.test_e", "tests.rigs.g"}
