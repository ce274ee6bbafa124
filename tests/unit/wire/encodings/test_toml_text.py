import contextlib
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.wire.encodings import toml_text
from casemate.wire.encodings.toml_text import parse_toml
from casemate.wire.errors import WireError


def test_a_document_is_its_top_table() -> None:
    assert parse_toml("file", b'a = 1\n[b]\nc = "x"', limit=100) == {"a": 1, "b": {"c": "x"}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a = ", "not valid TOML"),
        (b"a = 1\na = 2", "not valid TOML"),
        (b"\xff", "not UTF-8"),
        (b"a = " + b"[" * 5000, "deeper nesting|not valid TOML"),
        (b"a = " + b"9" * 5000, "number of 5000 characters"),
        (b"a = 2024-02-30", "not valid TOML|out of range"),
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


DOTTED = ".".join("a" * 17)
STRINGS = ('"a.b"', "'a.b'", '"""a.b"""', "'''a.b'''", r'"a\".b"', r"'a\'", '"""a"b""c\\""""""', "''''a'''''")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{DOTTED} = 1", "a dotted key of 17 parts"),
        (f"[{DOTTED}]\n", "a dotted key of 17 parts"),
        (f"[[ {DOTTED} ]]\n", "a dotted key of 17 parts"),
        (f"a = {{ {DOTTED} = 1 }}", "a dotted key of 17 parts"),
        (f"a = [{{ b = 1, {DOTTED} = 1 }}]", "a dotted key of 17 parts"),
        (" \t. ".join(['"a"', "'b'"] * 9) + " = 1", "a dotted key of 18 parts"),
        *((f"a = {string}\n{DOTTED} = 1", "a dotted key of 17 parts") for string in STRINGS),
        ("".join(f"a{at} = 1\n" for at in range(2**13 + 1)), "8193 keys"),
        ("[a]\n" * (2**13 + 1), "8193 keys"),
        ("a = [" + "{b=1}," * 2**13 + "]", "8193 keys"),
        ("a" * 257 + " = 1", "an unquoted key or number of 257 characters"),
        ("a = 0x" + "1" * 300, "an unquoted key or number of 302 characters"),
        ("a = 1." + "1" * 300, "an unquoted key or number of 302 characters"),
        ("a = " + "[" * 17 + "]" * 17, "deeper nesting"),
        ("a = " + "{a=" * 17 + "1" + "}" * 17, "deeper nesting"),
        ('"' + "a" * 5000 + '" = 1\n"' + "a" * 5000 + '" = 2', "not valid TOML"),
        ("['" + "a" * 5000 + "']\n['" + "a" * 5000 + "']", "not valid TOML"),
    ],
)
def test_refuses_shapes_that_cost_more_than_they_are_long(text: str, reason: str) -> None:
    with pytest.raises(WireError, match=reason) as refusal:
        parse_toml("file", text.encode())
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("string", [*STRINGS, r'"\\"', '"#"', "'\"'", '"""\n#\n"""', "''''''", '""""""', "1 # a.b\\"])
def test_what_stands_in_strings_and_comments_is_no_key(string: str) -> None:
    dots = "." * 100
    text = f'a = {string}\nb = \'{dots}\' # {dots}\nc = """\n{dots}"""\n[d]\n'
    assert list(parse_toml("file", text.encode())) == ["a", "b", "c", "d"]


def test_manifests_with_all_that_they_may_have_are_accepted() -> None:
    callers = "".join(f'caller{at:04} = "ed25519:{"A" * 43}="\n' for at in range(1024))
    tables = "".join(f'[entry.f{at}]\ninput = {{ type = "object" }}\noutput.type = "null"\n' for at in range(128))
    assert len(parse_toml("file", f"[callers]\n{callers}{tables}".encode())["entry"]) == 128
    digests = ",\n".join(f"'{at:064x}'" for at in range(3000))
    assert len(parse_toml("file", f"mr_enclave = [{digests}]".encode())["mr_enclave"]) == 3000


@given(st.text(alphabet="ab.=[]{}\"'\n#\\ ", max_size=40))
def test_the_parser_never_sees_a_key_that_the_check_has_not_counted(text: str) -> None:
    parser = importlib.import_module("tomllib._parser")
    parse_key = parser.parse_key
    longest = 0

    def counted(*arguments: object) -> tuple[int, tuple[str, ...]]:
        nonlocal longest
        found: tuple[int, tuple[str, ...]] = parse_key(*arguments)
        longest = max(longest, len(found[1]))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toml_text, "MAX_PARTS", 1)
        patch.setattr(parser, "parse_key", counted)
        with contextlib.suppress(WireError):
            parse_toml("file", text.encode())
    assert longest <= 1
