import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.errors import WireError
from casemate.wire.toml_text import parse_toml


def test_a_document_is_its_top_table() -> None:
    assert parse_toml("file", b'a = 1\n[b]\nc = "x"', limit=100) == {"a": 1, "b": {"c": "x"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a = ", "no TOML"),
        (b"a = 1\na = 2", "no TOML"),
        (b"\xff", "no UTF-8"),
        (b"a = " + b"[" * 5000, "deeper nesting|no TOML"),
        (b"a = " + b"9" * 5000, "out of range"),
        (b"a = 2024-02-30", "no TOML|out of range"),
        (b"#" * 10_001, "10001 bytes"),
    ],
)
def test_refuses_what_is_no_document(text: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        parse_toml("file", text, limit=10_000)


@given(st.binary(max_size=60) | st.text(alphabet="ab=[]{}\"'\n#.,0_e-:T+ \\", max_size=40).map(str.encode))
def test_random_bytes_are_a_table_or_a_wire_error(text: bytes) -> None:
    try:
        table = parse_toml("file", text, limit=1000)
    except WireError:
        return
    assert isinstance(table, dict)
