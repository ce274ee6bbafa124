import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.schemas.compiled import CompiledSchemas, compile_schemas
from casemate.wire.protocol.manifest_table import ManifestError
from casemate.wire.protocol.manifest_text import parse_manifest

TEXT = """
[enclave]
name = "t"
product_id = 1
security_version = 1
engine = "javascript"
main = "guest/main.js"
[limits]
memory_mib = 64
time_ms = 100
output_kib = 1
[entry.search]
input = "schemas/input.json"
output = "schemas/output.json"
callers = "anyone"
[ocall.time]
input = { type = "null" }
output = { type = "object", properties = { unix_ms = { type = "integer" } } }
"""
FILES = {
    "guest/main.js": b"",
    "schemas/input.json": b'{"type": "object"}',
    "schemas/output.json": b'{"type": "string"}',
}


def _compiled(text: str = TEXT, **schemas: bytes) -> CompiledSchemas:
    files = FILES | {f"schemas/{name}.json": content for name, content in schemas.items()}
    return compile_schemas(parse_manifest(text.encode(), files.get))


def test_schemas_have_the_names_of_entries_and_ocalls() -> None:
    compiled = _compiled()
    assert set(compiled.entries) == {"search"}
    assert set(compiled.ocalls) == {"time"}
    compiled.entries["search"].input.check({"word": "x"})
    assert compiled.ocalls["time"].input.filter(None) is None


@pytest.mark.parametrize(
    ("files", "key"),
    [
        ({"input": b'{"type": "nothing"}'}, r"entry\.search\.input \(schemas/input\.json\) at /type"),
        ({"output": b'{"type": "object"}'}, r"entry\.search\.output \(schemas/output\.json\) at /properties"),
    ],
)
def test_refuses_what_is_not_a_schema_for_its_place_and_names_it(files: dict[str, bytes], key: str) -> None:
    with pytest.raises(ManifestError, match=rf"^casemate\.toml: {key} is "):
        _compiled(TEXT, **files)


def test_names_the_place_in_a_schema_that_the_manifest_holds() -> None:
    with pytest.raises(ManifestError, match=r"ocall\.time\.output at /properties/unix_ms/type"):
        _compiled(TEXT.replace('"integer"', '"int"'))


@given(st.binary(max_size=200))
def test_a_random_schema_is_a_schema_or_a_manifest_error(data: bytes) -> None:
    try:
        _compiled(input=data, output=data)
    except ManifestError:
        return
