import pytest

from casemate.images.errors import SourceError


@pytest.mark.parametrize(
    ("text", "column", "excerpt"),
    [
        ("let a;", 5, "let a;\n    ^"),
        ("\tif x:", 2, " if x:\n ^"),
        ("x", 9, "x\n ^"),
        ("日本 = 1", 4, "日本 = 1\n     ^"),
        ("a\x1b[2J\u202eb", 7, "a\ufffd[2J\ufffdb\n      ^"),
        ("e\u0301 x", 4, "e\ufffd x\n   ^"),
        ("x" * 300, 1, f"{'x' * 100}...\n^"),
        ("x" * 300, 300, f"...{'x' * 100}\n{' ' * 102}^"),
        ("x" * 300, 200, f"...{'x' * 100}...\n{' ' * 53}^"),
        ("", 1, None),
        (" \t", 2, None),
    ],
)
def test_an_excerpt_is_the_line_with_a_caret_below_the_column(text: str, column: int, excerpt: str | None) -> None:
    assert SourceError("guest/main.js", 1, column, "wrong", text=text).excerpt == excerpt


def test_a_byte_of_a_file_has_a_line_a_column_and_an_excerpt() -> None:
    source = "é\r\nü = 1;\r\n".encode()
    error = SourceError.at("guest/main.js", source, source.index(b"1"), "wrong")
    assert str(error) == "guest/main.js:2:5: wrong"
    assert error.excerpt == "ü = 1;\n    ^"


@pytest.mark.parametrize("line", [0, 3])
def test_a_line_that_is_not_there_has_no_excerpt(line: int) -> None:
    assert SourceError.in_line("guest/main.js", b"a\nb", line, 1, "wrong").excerpt is None
