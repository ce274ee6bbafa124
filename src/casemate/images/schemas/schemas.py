"""JSON Schemas at an enclave's borders: what comes in is checked, what goes out is filtered and checked.

Draft 2020-12. References stay inside the document: nothing is ever fetched. ``format`` is checked and must be known.
Patterns are ECMA-262's (:mod:`casemate.images.schemas.patterns`), matched in linear time, so without look-around and
back-references.

A check stops at the first mistake in a value: the sender chooses how many mistakes there are, and collecting one costs
far more than the byte that makes it.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from casemate.images.errors import SchemaMismatchError
from casemate.images.schemas.costs import MAX_PATTERN, SchemaCostError, SchemaCosts, costs_of
from casemate.images.schemas.patterns import PatternError, translate_pattern
from casemate.wire.encodings.json_text import MAX_ITEMS
from casemate.wire.errors import CasemateError, importing

with importing("machine", "reading an image's schemas"):
    import jsonschema_rs

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_HIDDEN = "the value"
"""Replaces the value in messages of the library."""

_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 18)
"""Linear-time patterns, each of which may take 1 MiB when compiled, and a quarter of that while it matches."""

_ANNOTATIONS = frozenset(
    ("$schema", "$comment", "title", "description", "examples", "default", "deprecated", "readOnly", "writeOnly")
)
_LIMITS = frozenset(
    (
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
    )
)
_STRUCTURE = frozenset(
    ("type", "properties", "required", "additionalProperties", "items", "prefixItems", "enum", "const")
)
FILTERABLE_KEYWORDS = _ANNOTATIONS | _LIMITS | _STRUCTURE
"""Keywords allowed in schemas for what goes out: with these, it is clear for each member whether it is declared."""

_COLLECTING = frozenset(("anyOf", "oneOf"))
"""Keywords whose error contains every mistake that the library finds in every branch."""

_REFERENCES = frozenset(("$ref", "$dynamicRef"))

_DATA = frozenset(("enum", "const", "default", "examples"))
"""Keywords that hold values, not schemas."""
_NAMED_SCHEMAS = frozenset(("properties", "$defs", "definitions", "dependentSchemas"))
"""Keywords that hold schemas by names."""

_EXPLAINED = 500
"""Largest value (items, members, names and pieces of text) for which all mistakes are collected, to say what is wrong.
"""

_BEGINNING = 80
"""Characters of a value's JSON that an explanation shows."""

_PIECE = 32
"""Characters of text that count as much as a member."""

_Filter = Callable[[Any], Any]


class SchemaError(CasemateError):
    """A document is not a valid schema, or not one for its place; :class:`ManifestError` adds the key in the manifest.

    Args:
        pointer: JSON pointer into the schema.
        got: what stands there.
        want: what would have been accepted.
    """

    def __init__(self, pointer: str, *, got: object, want: object) -> None:
        super().__init__(f"{pointer or 'the schema'} is {got}, want {want}")
        self.pointer = pointer
        self.got = got
        self.want = want


@dataclass(frozen=True, slots=True)
class InboundSchema:
    """A compiled schema for values that come in: arguments, and answers to OCALLs."""

    document: Any
    """The schema, as JSON."""
    _validator: jsonschema_rs.Validator = field(repr=False, compare=False)
    _collects: bool = field(repr=False, compare=False)
    """Whether the library's first error may contain many."""
    _patterns: dict[str, str] = field(repr=False, compare=False)
    """The schema's patterns, by their translations for the library."""
    _costs: SchemaCosts = field(repr=False, compare=False)

    def check(self, value: Any) -> None:
        """Refuses a value that is not as the schema says, with :class:`SchemaMismatchError`."""
        _check_size(value, self._costs)
        if self._collects and not _is_small(value):
            if not self._validator.is_valid(value):
                raise SchemaMismatchError("/: the value breaks the schema; it is too large to say where")
            return
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            place = "".join(f"/{part}" for part in error.instance_path) or "/"
            words = self._words(error)
            raise SchemaMismatchError(f"{place[:200]}: {words[:400]}", partial(_explanation, error, words)) from None

    def _words(self, error: jsonschema_rs.ValidationError) -> str:
        """The library's message, with the pattern as the schema has it."""
        given = getattr(error.kind, "pattern", None)
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Pattern) and given in self._patterns:
            return error.message.replace(given, self._patterns[given])
        return error.message


@dataclass(frozen=True, slots=True)
class OutboundSchema:
    """A compiled schema for values that go out: results, and arguments of OCALLs."""

    document: Any
    """The schema, as JSON."""
    _filter: _Filter | None = field(repr=False, compare=False)
    _validator: jsonschema_rs.Validator = field(repr=False, compare=False)
    _costs: SchemaCosts = field(repr=False, compare=False)

    def filter(self, value: Any) -> Any:
        """The value without undeclared members, checked by the schema.

        Where ``additionalProperties`` is false, an undeclared member is a mistake and refused, not dropped. The message
        names only the place in the schema: the names in the value may be what must not go out.
        """
        kept = value if self._filter is None else self._filter(value)
        _check_size(kept, self._costs)
        try:
            self._validator.validate(kept)
        except jsonschema_rs.ValidationError as error:
            place = "".join(f"/{part}" for part in error.schema_path)
            short = f"the value breaks the schema at {place[:400] or '/'}"
            raise SchemaMismatchError(short, partial(_explanation, error, error.message)) from None
        return kept


def inbound_schema(document: Any) -> InboundSchema:
    """Compiles a schema for what comes in; :class:`SchemaError` where it is not valid."""
    validator, patterns, costs = _compile(document)
    return InboundSchema(document, validator, _collects(document), patterns, costs)


def outbound_schema(document: Any) -> OutboundSchema:
    """Compiles a schema for what goes out; :class:`SchemaError` where it is not valid, or not suited to filter by."""
    validator, _, costs = _compile(document)
    return OutboundSchema(document, _filter_of("", document), validator, costs)


def _compile(document: Any) -> tuple[jsonschema_rs.Validator, dict[str, str], SchemaCosts]:
    """The library's validator, which looks nothing up; the patterns by their translations; the cost."""
    if not isinstance(document, dict):
        raise SchemaError("", got=type(document).__name__, want="an object")
    if document.get("$schema", DIALECT) != DIALECT:
        raise SchemaError("/$schema", got=_shown(document["$schema"]), want=DIALECT)
    try:
        costs = costs_of(document)
        patterns = _Patterns()
        translated = patterns.translated(document)
        _validator(translated, mask=None)  # its refusal may quote the schema, unlike that of the next line
        return _validator(translated, mask=_HIDDEN), patterns.written, costs
    except jsonschema_rs.ValidationError as error:
        pointer = "".join(f"/{part}" for part in error.instance_path)
        raise SchemaError(pointer, got=f"no JSON Schema: {error.message[:300]}", want="draft 2020-12") from None
    except SchemaCostError as error:
        raise SchemaError("", got=error.got, want=error.want) from None
    except (ValueError, RecursionError) as error:
        raise SchemaError("", got=f"no usable JSON Schema: {str(error)[:300]}", want="draft 2020-12") from None


class _Patterns:
    """Translates the patterns of a schema for the library's engine."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        """The original patterns, by their translations."""
        self._path: list[str] = []  # of the part that is looked at; joined for an error alone, names may be long

    def translated(self, schema: Any) -> Any:
        """The schema with translated patterns; data in it, such as a ``const``, stays unchanged."""
        if isinstance(schema, list):
            return [self._below(str(at), part) for at, part in enumerate(schema)]
        if not isinstance(schema, dict):
            return schema
        return {keyword: self._value(keyword, value) for keyword, value in schema.items()}

    def _value(self, keyword: str, value: Any) -> Any:
        if keyword in _DATA:
            return value
        self._path.append(keyword)
        if keyword == "pattern" and isinstance(value, str):
            made: Any = self._pattern(value)
        elif keyword in _NAMED_SCHEMAS and isinstance(value, dict):
            made = {name: self._below(name, part) for name, part in value.items()}
        elif keyword == "patternProperties" and isinstance(value, dict):
            made = {self._name(name): self._below(name, part) for name, part in value.items()}
            if len(made) != len(value):
                raise SchemaError(self._pointer(), got="two patterns that mean the same", want="one")
        else:
            made = self.translated(value)
        self._path.pop()
        return made

    def _below(self, name: str, schema: Any) -> Any:
        self._path.append(name)
        made = self.translated(schema)
        self._path.pop()
        return made

    def _name(self, pattern: str) -> str:
        self._path.append(pattern)
        made = self._pattern(pattern)
        self._path.pop()
        return made

    def _pattern(self, pattern: str) -> str:
        if len(pattern) > MAX_PATTERN:
            raise SchemaError(
                self._pointer(), got=f"a pattern of {len(pattern)} characters", want=f"at most {MAX_PATTERN}"
            )
        try:
            made = translate_pattern(pattern)
        except PatternError as error:
            raise SchemaError(self._pointer(), got=error.got, want=error.want) from None
        self.written[made] = pattern
        return made

    def _pointer(self) -> str:
        return "".join(f"/{part}" for part in self._path)


def _validator(document: dict[str, Any], *, mask: str | None) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(
        document,
        validate_formats=True,
        ignore_unknown_formats=False,
        mask=mask,
        pattern_options=_PATTERNS,
        offline=True,
    )


def _collects(document: Any) -> bool:
    """Whether the schema has a keyword that collects errors, or refers to a document that may have one."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.keys() & _COLLECTING:
                return True
            if any(not str(part[name]).startswith("#") for name in part.keys() & _REFERENCES):
                return True  # the library knows the dialects' own schemas
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return False


def _is_small(value: Any) -> bool:
    """Whether collecting every mistake in a value is cheap; stops counting as soon as it is not."""
    left = _EXPLAINED
    waiting = [value]
    while waiting:
        part = waiting.pop()
        left -= 1 + (len(part) // _PIECE if isinstance(part, str) else 0)
        if left < 0 or (isinstance(part, dict | list) and len(part) > left):
            return False
        if isinstance(part, dict | list):
            waiting += part  # of an object, its names
        if isinstance(part, dict):
            waiting += part.values()
    return True


def _explanation(error: jsonschema_rs.ValidationError, words: str) -> str:
    """The member by its JSON path (RFC 9535), the library's words about it, and its beginning."""
    path = "".join(_step(part) for part in error.instance_path)
    begins = json.dumps(error.instance, ensure_ascii=False, separators=(",", ":"))
    cut = begins if len(begins) <= _BEGINNING else f"{begins[:_BEGINNING]}..."
    return f"${path[:200]}: {words[:400]}; it is {cut}"


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else f"[{json.dumps(part, ensure_ascii=False)}]"


def _shown(value: object) -> str:
    """A part of a schema, shortened for a message."""
    return json.dumps(value, default=str)[:80]


def _check_size(value: Any, costs: SchemaCosts) -> None:
    """Refuses a value that would take too long to check by a schema of many choices or large patterns."""
    if costs.most_items >= MAX_ITEMS and not costs.states:
        return
    items = text = 0
    level: list[Any] = [value]
    while level:
        items += len(level)
        names = chain.from_iterable(part for part in level if isinstance(part, dict))
        text += sum(map(len, names)) + sum(len(part) for part in level if isinstance(part, str))
        if items > costs.most_items:
            raise SchemaMismatchError(
                f"/: the value has more than {costs.most_items} items, too many for a schema of which"
                f" {costs.applied} parts may apply to one"
            )
        if costs.states and text > costs.most_text:
            raise SchemaMismatchError(
                f"/: the value has more than {costs.most_text} characters of text, too many for the schema's patterns"
            )
        level = [inner for part in level if isinstance(part, dict | list) for inner in _inside(part)]


def _inside(part: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return part.values() if isinstance(part, dict) else part


def _filter_of(pointer: str, schema: Any) -> _Filter | None:
    """The function that drops undeclared members from values of a schema; None where there is nothing to drop."""
    if not isinstance(schema, dict):
        raise SchemaError(pointer, got=_shown(schema), want="a schema that says what may go out")
    for keyword in schema:
        if keyword not in FILTERABLE_KEYWORDS:
            raise SchemaError(
                f"{pointer}/{keyword}", got="a keyword that results cannot be filtered by", want="none such"
            )
    if "enum" in schema or "const" in schema:
        return None  # only the listed values pass the check
    types = schema.get("type")
    if types is None:
        raise SchemaError(f"{pointer}/type", got="not there", want="a type, enum or const: what may go out")
    names = {types} if isinstance(types, str) else set(types)
    keep_members = _members_filter(pointer, schema) if "object" in names else None
    keep_items = _items_filter(pointer, schema) if "array" in names else None
    if keep_members is None and keep_items is None:
        return None

    def keep(value: Any) -> Any:
        if keep_members is not None and isinstance(value, dict):
            return keep_members(value)
        if keep_items is not None and isinstance(value, list):
            return keep_items(value)
        return value

    return keep


def _members_filter(pointer: str, schema: dict[str, Any]) -> _Filter:
    """Filters objects: keeps declared members, each filtered in turn."""
    declared = {name: _filter_of(f"{pointer}/properties/{name}", sub) for name, sub in _properties(schema).items()}
    for name in schema.get("required", ()):
        if name not in declared:
            raise SchemaError(f"{pointer}/required", got=f"{name!r}", want="names that properties declares")
    rest = schema.get("additionalProperties")
    if rest is True:
        raise SchemaError(f"{pointer}/additionalProperties", got=True, want="false, or a schema for what may go out")
    if not declared and rest is None:
        raise SchemaError(f"{pointer}/properties", got="not there", want="the members that may go out")
    keep_rest = _filter_of(f"{pointer}/additionalProperties", rest) if isinstance(rest, dict) else None

    def keep(value: dict[str, Any]) -> dict[str, Any]:
        kept = {}
        for name, member in value.items():
            if name in declared:
                keep_member = declared[name]
            elif rest is None:
                continue
            else:
                keep_member = keep_rest
            kept[name] = member if keep_member is None else keep_member(member)
        return kept

    return keep


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def _items_filter(pointer: str, schema: dict[str, Any]) -> _Filter | None:
    """Filters arrays: keeps declared items, each filtered in turn."""
    first = [_filter_of(f"{pointer}/prefixItems/{at}", sub) for at, sub in enumerate(schema.get("prefixItems", ()))]
    rest = schema.get("items")
    if rest is None and not first:
        raise SchemaError(f"{pointer}/items", got="not there", want="a schema for the items that may go out")
    if rest is True:
        raise SchemaError(f"{pointer}/items", got=True, want="false, or a schema for what may go out")
    keep_rest = _filter_of(f"{pointer}/items", rest) if isinstance(rest, dict) else None
    if rest is not None and keep_rest is None and not any(first):
        return None

    def keep(value: list[Any]) -> list[Any]:
        head = [item if keep_item is None else keep_item(item) for keep_item, item in zip(first, value, strict=False)]
        if rest is None:
            return head
        tail = value[len(first) :]
        return head + (tail if keep_rest is None else [keep_rest(item) for item in tail])

    return keep
