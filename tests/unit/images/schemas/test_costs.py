import contextlib
import itertools
import json
from typing import Any

import pytest

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.costs import MAX_PATTERN, MAX_PATTERNS
from casemate.images.schemas.schemas import SchemaError, inbound_schema

TEXT = {"type": "string"}
REF = {"$ref": "#/$defs/a"}
JSON_VALUE = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#/$defs/value"}},
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
    ]
}


def _chained(length: int) -> dict[str, Any]:
    """Each definition refers to the next one twice."""
    twice = {f"a{at}": {"allOf": [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(length)}
    return {"$defs": {**twice, f"a{length}": TEXT}, "$ref": "#/$defs/a0"}


def _variants(count: int) -> list[dict[str, Any]]:
    return [
        {"type": "object", "properties": {"kind": {"const": at}, "name": TEXT, "size": {"type": "integer"}}}
        for at in range(count)
    ]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$defs": {"a": {"anyOf": [{"items": REF}, {"items": REF, "minItems": 1}]}}, **REF}, "apply to one value"),
        ({"$anchor": "a", "items": {"oneOf": [{"$ref": "#a"}, {"$ref": "#a"}]}}, "apply to one value"),
        ({"$dynamicAnchor": "a", "allOf": [{"items": {"$dynamicRef": "#a"}}] * 2}, "apply to one value"),
        ({"$id": "urn:x", "properties": {"x": {"anyOf": [{"$ref": "urn:x"}, {"$ref": "#"}]}}}, "apply to one value"),
        ({"if": {"additionalProperties": {"$ref": "#"}}, "then": {"patternProperties": {"": {"$ref": "#"}}}}, "apply"),
        ({"contains": {"$ref": "#"}, "items": {"$ref": "#"}}, "apply to one value"),
        ({"$ref": "#"}, "apply to one value"),
        (_chained(40), "apply to one value"),
        ({"allOf": [{"items": {"minimum": at}} for at in range(1100)]}, "apply to one value"),
        ({"items": {"anyOf": [{"const": at} for at in range(1100)]}}, "apply to one value"),
        ({"items": {"enum": [*range(10_000), *map(str, range(10_000))]}}, "apply to one value"),
        ({"items": {"enum": [[at] for at in range(600)]}}, "apply to one value"),
        ({"allOf": [{"multipleOf": 0.1}] * 60}, "apply to one value"),
        ({"allOf": [{"multipleOf": 1e-12}] * 6}, "apply to one value"),
        ({"allOf": [{"properties": {f"p{a}{b}": {} for b in range(99)}} for a in range(99)]}, "an \\$id|too many ways"),
        ({"$defs": {"a": {"$id": "urn:a"}}}, "an \\$id inside"),
        ({"allOf": [{"pattern": f"a{at}"} for at in range(MAX_PATTERNS + 1)]}, "101 patterns"),
        ({"patternProperties": {f"a{at}": {} for at in range(MAX_PATTERNS + 1)}}, "101 patterns"),
        ({"pattern": "a" * (MAX_PATTERN + 1)}, "a pattern of 4097 characters"),
    ],
)
def test_refuses_schemas_that_cost_a_caller_little_and_the_enclave_much(schema: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason) as refusal:
        inbound_schema(schema)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$defs": {"value": JSON_VALUE}, "$ref": "#/$defs/value"}, {"a": [1, {"b": ["c"]}]}),
        ({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "value": TEXT}}, {"left": {"value": "x"}}),
        ({"oneOf": _variants(50)}, {"kind": 7, "name": "x", "size": 1}),
        ({"items": {"enum": [f"{at:05}" for at in range(10_000)]}}, ["00001"]),
        ({"properties": {f"p{at}": TEXT for at in range(5_000)}}, {"p1": "x"}),
        ({"prefixItems": [TEXT] * 1_000}, ["x"]),
        ({"properties": {"pattern": {"const": {"$id": "x", "pattern": 1}}, "$id": TEXT}}, {"$id": "x"}),
        ({"$ref": "#/$defs/a~1b%25", "$defs": {"a/b%": TEXT}}, "x"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"type": "string"}),
        ({"allOf": [True, {"not": False}], "$defs": {"a": True}, "items": True}, [1]),
        (_chained(6), "x"),
        (json.loads('{"items":' * 60 + "{}" + "}" * 60), [[[]]]),
    ],
)
def test_schemas_that_people_write_are_accepted(schema: Any, value: Any) -> None:
    inbound_schema(schema).check(value)


def test_a_recursive_schema_is_checked_at_any_depth_in_little_time() -> None:
    schema = inbound_schema({"$defs": {"value": JSON_VALUE}, "$ref": "#/$defs/value"})
    deep: Any = "x"
    for _ in range(63):
        deep = [deep]
    schema.check(deep)
    schema.check([list(itertools.repeat("x", 1000))] * 100)


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"items": {"anyOf": [{"const": at} for at in range(99)]}}, [1] * 50_000, "more than 30000 items"),
        ({"pattern": "[ab]*a[ab]{500}[cd]"}, "ab" * 50_000, "more than 79522 characters"),
        ({"pattern": "[a-f]{8}(?:-[a-f]{4}){3}-[a-f]{12}|x"}, "a" * 1_500_000, "more than 909090 characters"),
        ({"patternProperties": {"a.{99}b": {}}}, {"a" * 400_000: 1}, "more than 396039 characters"),
    ],
)
def test_refuses_values_that_are_too_large_for_such_a_schema(schema: Any, value: Any, reason: str) -> None:
    with pytest.raises(SchemaMismatchError, match=reason):
        inbound_schema(schema).check(value)
    with pytest.raises(SchemaMismatchError, match=reason):
        inbound_schema(schema).check([value] if "pattern" in schema else value)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^[a-z]{1,64}$", "a"),
        ("^[^@]+@[^@]+[.][a-z]{2,20}$", f"{'a' * 1_000_000}@example.com"),
        ("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2026-01-01"),
        (r"^[A-Za-z0-9+/=]*$", "QUFB" * 1_000_000),
        (r"^\\{90}[{90}]$", "x"),
    ],
)
def test_patterns_that_people_write_take_any_text(pattern: str, text: str) -> None:
    schema = inbound_schema({"pattern": pattern})
    with contextlib.suppress(SchemaMismatchError):
        schema.check(text)
    with pytest.raises(SchemaMismatchError, match="does not match"):
        schema.check(f"{text}\n")
