import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.enclave.entry.interface_checks import check_arguments, check_said, declared_entry
from casemate.engines.frames import Refused
from casemate.images.schemas.compiled import compile_schemas
from casemate.wire.protocol.call import Refusal
from casemate.wire.protocol.faults import Code, FaultError
from casemate.wire.protocol.manifest_text import parse_manifest

TOML = b"""
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
callers = "anyone"
[entry.search.input]
type = "object"
properties = { word = { type = "string" } }
required = ["word"]
additionalProperties = false
[entry.search.output]
type = "object"
properties = { hits = { type = "array", items = { type = "number" } } }
required = ["hits"]
[entry.list]
input = {}
output = { type = "array", items = { type = "number" } }
callers = "anyone"
[entry.anything]
input = {}
output = { type = ["null", "number", "string"] }
callers = "anyone"
[errors]
closed = "Nobody is served."
[errors.budget-spent]
reason = "The budget is used up."
details = { type = "object", properties = { until = { type = "integer" } }, required = ["until"] }
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


MANIFEST = parse_manifest(TOML, {"guest/main.js": b""}.get)
COMPILED = compile_schemas(MANIFEST)
SCHEMAS = COMPILED.entries


def said(name: str, what: bytes | Refused) -> bytes | Refusal:
    return check_said(what, declared_entry(MANIFEST, name), MANIFEST, COMPILED)


def result(name: str, text: bytes) -> bytes:
    checked = said(name, text)
    assert isinstance(checked, bytes)
    return checked


def refusal(function: Any, *arguments: Any, **named: Any) -> Code:
    with pytest.raises(FaultError) as caught:
        function(*arguments, **named)
    return caught.value.fault.code


@pytest.mark.parametrize("name", ["", "Search", "constructor", "__proto__", "default", "search\x00", "x" * 256])
def test_refuses_entry_points_that_are_not_declared(name: str) -> None:
    assert refusal(declared_entry, MANIFEST, name) is Code.ENTRY_UNKNOWN


def test_finds_a_declared_entry_point() -> None:
    assert declared_entry(MANIFEST, "search").name == "search"


def test_the_guest_gets_arguments_in_one_spelling() -> None:
    assert (
        check_arguments(SCHEMAS["search"].input, b' { "word" : "\\u0061\\u00e4" }\n', explain=False)
        == '{"word":"aä"}'.encode()
    )


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"word":1}',
        b'{"word":"a","more":1}',
        b'{"word":"a","word":"b"}',
        b'{"word":NaN}',
        b'{"word":"\\ud800"}',
        b"[" * 10_000,
        b'{"word":"a"} x',
        b"\xff\xfe",
        b"null",
    ],
)
def test_refuses_arguments_that_break_schema_or_strictness(text: bytes) -> None:
    assert refusal(check_arguments, SCHEMAS["search"].input, text, explain=False) is Code.ARGUMENTS_REFUSED


def test_refuses_integers_that_the_guest_would_read_as_others() -> None:
    assert (
        refusal(check_arguments, SCHEMAS["anything"].input, b"9007199254740993", explain=False)
        is Code.ARGUMENTS_REFUSED
    )


def test_results_lose_what_their_schema_does_not_declare() -> None:
    text = b'{"hits":[1,2.5],"debug":{"secret":"documents"}}'
    assert result("search", text) == b'{"hits":[1,2.5]}'


@pytest.mark.parametrize(
    "text", [b"", b"null", b"{}", b'{"hits":["x"]}', b'{"hits":[NaN]}', b"undefined", b'{"hits":[1']
)
def test_refuses_results_that_break_schema_or_strictness(text: bytes) -> None:
    assert refusal(result, "search", text) is Code.RESULT_REFUSED


def test_refuses_results_over_the_limit_before_parsing_them() -> None:
    assert refusal(result, "anything", b"[" * 1025) is Code.OUTPUT_LIMIT
    assert result("anything", json.dumps("x" * 1022).encode()) == b'"' + b"x" * 1022 + b'"'


def test_refuses_what_outgrows_its_limit_when_written_out() -> None:
    text = b"[" + b",".join([b"1e15"] * 200) + b"]"
    assert refusal(result, "list", text) is Code.RESULT_REFUSED


def test_results_may_hold_large_numbers_as_javascript_writes_them() -> None:
    assert json.loads(result("anything", b"1152921504606847000")) == 2**60


def test_refusals_do_not_quote_the_result() -> None:
    with pytest.raises(FaultError) as caught:
        result("search", b'{"hits":["secret"]}')
    assert "secret" not in caught.value.fault.reason


def test_a_declared_error_has_the_manifests_words_and_its_details_are_filtered() -> None:
    refused = said("anything", Refused("budget-spent", b'{ "until" : 7, "spent_by": "alice" }'))
    assert refused == Refusal("budget-spent", "The budget is used up.", b'{"until":7}')
    assert said("anything", Refused("closed", b"")) == Refusal("closed", "Nobody is served.", b"null")


@pytest.mark.parametrize(
    ("name", "details", "code"),
    [
        ("secret-word", b"", Code.GUEST_ERROR),
        ("", b"", Code.GUEST_ERROR),
        ("time-limit", b"", Code.GUEST_ERROR),
        ("closed", b'{"until":7}', Code.RESULT_REFUSED),
        ("closed", b"\xff", Code.RESULT_REFUSED),
        ("budget-spent", b"", Code.RESULT_REFUSED),
        ("budget-spent", b'{"until":"secret-word"}', Code.RESULT_REFUSED),
        ("budget-spent", b'{"until":', Code.RESULT_REFUSED),
        ("budget-spent", b"[" * 1025, Code.OUTPUT_LIMIT),
    ],
)
def test_a_refusal_that_the_manifest_does_not_allow_is_refused_without_the_guests_words(
    name: str, details: bytes, code: Code
) -> None:
    with pytest.raises(FaultError) as caught:
        said("anything", Refused(name, details))
    assert caught.value.fault.code is code
    assert "secret-word" not in caught.value.fault.reason


@given(st.sampled_from(["search", "anything"]), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_checked_json_or_a_refusal(name: str, text: bytes) -> None:
    with contextlib.suppress(FaultError):
        json.loads(check_arguments(SCHEMAS[name].input, text, explain=False))
    with contextlib.suppress(FaultError):
        json.loads(result(name, text))
