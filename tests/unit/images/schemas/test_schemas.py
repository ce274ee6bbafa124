import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.schemas import FILTERABLE_KEYWORDS, SchemaError, inbound_schema, outbound_schema

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
        "any": {"type": ["string", "null"]},
        "by_key": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": {"n": {"type": "number"}}},
        },
        "exact": {"type": "object", "properties": {"n": {"type": "number"}}, "additionalProperties": False},
    },
    "required": ["name"],
}


def test_what_comes_in_is_checked_and_kept() -> None:
    schema = inbound_schema({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    schema.check({"a": "x", "more": 1})
    for value, place in (({}, r'"a" is a required'), ({"a": 1}, "/a: the value is not of type"), ([], "/: ")):
        with pytest.raises(SchemaMismatchError, match=place):
            schema.check(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"name": "x", "secret": 1}, {"name": "x"}),
        ({"name": "x", "tags": [{"id": 1, "secret": 2}, {}]}, {"name": "x", "tags": [{"id": 1}, {}]}),
        ({"name": "x", "pair": [1, "a", "secret"]}, {"name": "x", "pair": [1, "a"]}),
        ({"name": "x", "any": None}, {"name": "x", "any": None}),
        ({"name": "x", "by_key": {"k": {"n": 1, "secret": 2}}}, {"name": "x", "by_key": {"k": {"n": 1}}}),
        ({"name": "x", "exact": {"n": 1}}, {"name": "x", "exact": {"n": 1}}),
    ],
)
def test_undeclared_members_of_what_goes_out_are_dropped(value: Any, kept: Any) -> None:
    before = json.dumps(value)
    assert outbound_schema(PERSON).filter(value) == kept
    assert json.dumps(value) == before


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({}, "/required"),
        ({"name": "secret"}, "/properties/name/maxLength"),
        ({"name": "x", "tags": [{"id": "secret"}]}, "/properties/tags/items/properties/id/type"),
        ({"name": "x", "exact": {"n": 1, "secret": 2}}, "/properties/exact/additionalProperties"),
        ("secret", "/type"),
    ],
)
def test_a_refusal_of_what_goes_out_names_the_schemas_place_and_nothing_of_the_value(value: Any, place: str) -> None:
    with pytest.raises(SchemaMismatchError, match=f"the value breaks the schema at {place}$") as refused:
        outbound_schema(PERSON).filter(value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "explanation"),
    [
        ({}, '$: "name" is a required property; it is {}'),
        ({"name": 7}, '$.name: the value is not of type "string"; it is 7'),
        (
            {"name": "x", "tags": [{"id": 1}, {"id": "ä"}]},
            '$.tags[1].id: the value is not of type "integer"; it is "ä"',
        ),
        (
            {"name": "long" * 100},
            f'$.name: the value is longer than 5 characters; it is "{"long" * 100}'[:-321] + "...",
        ),
    ],
)
def test_an_explanation_names_the_member_what_is_wanted_and_its_beginning(value: Any, explanation: str) -> None:
    with pytest.raises(SchemaMismatchError) as refused:
        outbound_schema(PERSON).filter(value)
    assert refused.value.explanation == explanation


def test_an_explanation_of_what_comes_in_names_the_member_too() -> None:
    schema = {"type": "object", "properties": {"a b": {"pattern": "^x$"}}}
    with pytest.raises(SchemaMismatchError, match=r"^/a b: ") as refused:
        inbound_schema(schema).check({"a b": "y"})
    assert refused.value.explanation == '$["a b"]: the value does not match "^x$"; it is "y"'


def test_a_listed_value_is_let_out_whole() -> None:
    schema = outbound_schema({"enum": [{"a": 1}, "x"]})
    assert schema.filter({"a": 1}) == {"a": 1}
    with pytest.raises(SchemaMismatchError):
        schema.filter({"a": 1, "b": 2})


def test_items_false_refuses_more_items() -> None:
    schema = outbound_schema({"type": "array", "prefixItems": [{"type": "integer"}], "items": False})
    assert schema.filter([1]) == [1]
    with pytest.raises(SchemaMismatchError, match="/items"):
        schema.filter([1, 2])


@given(JSON)
def test_what_was_filtered_is_not_changed_by_filtering_again(value: Any) -> None:
    inner = {"type": ["object", "array", "null"], "properties": {"a": {"type": "integer"}}, "items": {"type": "string"}}
    schema = outbound_schema({"type": "object", "properties": {"a": inner, "b": {"type": "string"}}})
    try:
        kept = schema.filter(value)
    except SchemaMismatchError:
        return
    assert set(kept) <= {"a", "b"}
    assert schema.filter(kept) == kept
    if isinstance(kept.get("a"), dict):
        assert set(kept["a"]) <= {"a"}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "object", "properties": {"a": {}}}, "/properties/a/type"),
        ({"type": "object", "properties": {"a": True}}, "/properties/a"),
        ({"type": "object"}, "/properties"),
        ({"type": ["object", "null"]}, "/properties"),
        ({"type": "object", "properties": {}, "additionalProperties": True}, "/additionalProperties"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]}, "/required"),
        ({"type": "array"}, "/items"),
        ({"type": "array", "items": True}, "/items"),
        ({"type": "array", "items": {"type": "array"}}, "/items/items"),
        ({"type": "string", "$ref": "#/$defs/a", "$defs": {"a": {}}}, r"/\$(ref|defs)"),
        ({"type": "string", "patternProperties": {}}, "/patternProperties"),
        *(
            ({"type": "string", keyword: [{"type": "string"}]}, f"/{keyword}")
            for keyword in ("allOf", "anyOf", "oneOf")
        ),
        *(({"type": "string", keyword: {"type": "string"}}, f"/{keyword}") for keyword in ("not", "if", "contains")),
        ({"type": "string", "unevaluatedProperties": False}, "/unevaluatedProperties"),
        ({}, "/type"),
    ],
)
def test_refuses_schemas_that_do_not_say_what_may_go_out(schema: Any, place: str) -> None:
    inbound_schema(schema)
    with pytest.raises(SchemaError, match=f"^{place} is "):
        outbound_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        [],
        {"type": "nothing"},
        {"properties": []},
        {"required": "a"},
        {"minimum": "1"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/none"},
        {"$id": "https://example.com/", "properties": {"a": {"$ref": "/b"}}},
        {"$dynamicRef": "https://example.com/schema"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"$schema": 7},
        {"format": "no-such-format"},
        {"pattern": "("},
        {"pattern": "(?=look)around"},
        {"pattern": r"(back)\1"},
        {"pattern": "(a{1000}){1000}"},
        {"patternProperties": {"(?!a)": {}}},
    ],
)
def test_refuses_what_is_no_schema_or_would_be_looked_up(schema: Any) -> None:
    with pytest.raises(SchemaError):
        inbound_schema(schema)


@given(
    st.dictionaries(st.sampled_from([*sorted(FILTERABLE_KEYWORDS), "$ref", "anyOf", "$id", "not"]), JSON, max_size=4)
)
def test_any_json_is_a_schema_or_a_schema_error(document: Any) -> None:
    for compile_schema in (inbound_schema, outbound_schema):
        try:
            compile_schema(document)
        except SchemaError:
            continue


def test_patterns_take_linear_time() -> None:
    schema = inbound_schema({"type": "string", "pattern": "^(a+)+$"})
    start = time.process_time()
    with pytest.raises(SchemaMismatchError):
        schema.check("a" * 100_000 + "b")
    assert time.process_time() - start < 1


ZEROS = [0] * 300_000
BARE: list[dict[str, object]] = [{} for _ in range(100_000)]
NAMED = {str(number): 0 for number in range(50_000)}
EIGHT = {"type": "object", "required": list("abcdefgh"), "properties": {key: {"type": "string"} for key in "abcdefgh"}}


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"items": {"type": "string"}}, ZEROS, "/0: the value is not of type"),
        ({"items": EIGHT}, BARE, '/0: "a" is a required property'),
        ({"items": {"if": True, "then": EIGHT}}, BARE, '/0: "a" is a required property'),
        ({"allOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}, ZEROS, "/0: the value"),
        ({"anyOf": [{"items": {"type": "string"}}, {"items": {"type": "null"}}]}, ZEROS, "too large to say where"),
        ({"oneOf": [{"items": EIGHT}, {"items": {"type": "null"}}]}, BARE, "too large to say where"),
        ({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"anyOf": [EIGHT]}}}, BARE, "too large to say where"),
        ({"anyOf": [{"propertyNames": {"maxLength": 0}}]}, NAMED, "too large to say where"),
        ({"propertyNames": {"maxLength": 0}}, NAMED, "longer than 0"),
        ({"additionalProperties": {"type": "string"}}, NAMED, "/0: the value is not of type"),
        ({"unevaluatedProperties": {"type": "string"}}, NAMED, "Unevaluated properties"),
        ({"prefixItems": [{}], "items": False}, ZEROS, "/1: False schema"),
        ({"items": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}, ZEROS, "too many for a schema"),
    ],
)
def test_a_value_full_of_mistakes_costs_little_more_than_a_good_one(schema: Any, value: Any, said: str) -> None:
    anything, checked = inbound_schema({}), inbound_schema(schema)
    start = time.process_time()
    anything.check(value)
    good = time.process_time() - start
    start = time.process_time()
    with pytest.raises(SchemaMismatchError, match=said):
        checked.check(value)
    assert time.process_time() - start < 0.15 + 3 * good


def test_a_result_full_of_mistakes_costs_little_more_than_a_good_one() -> None:
    schema = outbound_schema({"type": "array", "items": {"type": "string"}})
    start = time.process_time()
    with pytest.raises(SchemaMismatchError, match=r"/items/type$"):
        schema.filter(ZEROS)
    assert time.process_time() - start < 0.25


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
@pytest.mark.parametrize(
    "value", [[0] * 600, ["x" * 50_000], {"x" * 50_000: 0}, {str(number): 0 for number in range(600)}]
)
def test_what_is_wrong_with_a_choice_is_told_of_small_values_and_refused_of_all(keyword: str, value: Any) -> None:
    schema = inbound_schema({keyword: [{"type": "string"}, {"type": "null"}]})
    schema.check("x" * 100_000)
    with pytest.raises(SchemaMismatchError, match=f"'{keyword}'"):
        schema.check([0])
    with pytest.raises(SchemaMismatchError, match="too large"):
        schema.check(value)


def test_formats_are_checked() -> None:
    with pytest.raises(SchemaMismatchError):
        inbound_schema({"type": "string", "format": "date-time"}).check("yesterday")


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = inbound_schema({"type": "object", "properties": {"next": {"$ref": "#"}}})
    schema.check({"next": {"next": {}}})
    with pytest.raises(SchemaMismatchError, match="/next/next"):
        schema.check({"next": {"next": 1}})
