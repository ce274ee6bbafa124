import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tests_that_run_alone_lie_where_make_looks_for_them() -> None:
    """To collect all ten thousand for the sake of some sixty takes a quarter of a minute."""
    marked = {
        "/".join(path.relative_to(ROOT).parts[: 3 if path.relative_to(ROOT).parts[1] == "unit" else 2])
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"pytest\.mark\.alone\b", path.read_text()) and path != Path(__file__)
    }
    (words,) = re.findall(r"^ALONE := -m alone (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert marked == set(words.split())
