"""Bounds what a JSON Schema costs: when it is compiled, and for each value that is checked by it.

The caller chooses the value, up to 16 MiB of it, so the schema's own share of the work has to be small. The library
looks at a value once for each subschema that applies to it, and again for each way in which it applies: with a
reference to itself in two branches of a choice, each level of the value doubles the time. So before the library gets
the schema, all states in which a value can be met are walked here, level by level, and the subschemas that apply in
each are counted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import unquote

from casemate.wire.encodings.json_text import MAX_DEPTH
from casemate.wire.errors import CasemateError

MAX_APPLIED = 1000
"""Most subschemas that apply to one value, by weight."""

MAX_CHECKS = 3_000_000
"""Most items of a value times subschemas that apply to one: each such check takes up to a tenth of a microsecond."""

MAX_PATTERN_STEPS = 40_000_000
"""Most characters of a value times states of the patterns that may be in many states at once: each such step takes ten
nanoseconds."""

MAX_STEPS = 100_000
"""Most work of this analysis itself (subschemas in states)."""

MAX_PATTERNS = 100
"""Most patterns: the engine takes up to a quarter of a MiB for each while it matches."""

MAX_PATTERN = 4096
"""Longest pattern (characters)."""

_FEW_STATES = 32
"""A pattern of up to this many states is matched by a table, in a few nanoseconds for each character."""

_IN_PLACE_ONE = ("not", "if", "then", "else")
_IN_PLACE_MANY = ("allOf", "anyOf", "oneOf")
_REFERENCES = ("$ref", "$dynamicRef")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_NAMED = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
"""Keywords that hold schemas by names."""
_DATA = frozenset(("enum", "const", "default", "examples"))
"""Keywords that hold values, not schemas."""
_DIALECTS = "https://json-schema.org/"

_FORMAT_WEIGHT, _PATTERN_WEIGHT, _UNIQUE_WEIGHT = 4, 4, 2
_FRACTION_WEIGHT, _TINY_WEIGHT, _TINY = 20, 200, 1e-9
"""Weights of ``multipleOf`` with a number that is not an integer, and with one below a billionth: the library
calculates exactly."""
_DIALECT_WEIGHT = 64
"""Weight of a reference to the dialect's own schema."""
_COMPOSITE_WEIGHT = 2
"""Weight of an array or object that a value is compared with."""
_MIXED = 16
"""Values of an ``enum`` of several types that are compared in the time of a subschema; of one type they are hashed."""

_TOKENS = re.compile(r"\\.|\[(?:[^\]\\]|\\.)*\]|\{([0-9]+(?:,[0-9]+)?)\}|\{[0-9]+,\}|.", re.DOTALL)
"""An escape, a class, a repetition (its counts in the group), or any other character."""
_DIGITS = 6
"""Digits of a count that are read; larger counts are refused elsewhere."""

_Schema = dict[str, Any]
_Applied = list[tuple[_Schema, int]]


class SchemaCostError(CasemateError):
    """A schema costs too much.

    Args:
        got: what it has.
        want: what would have been accepted.
    """

    def __init__(self, *, got: str, want: str) -> None:
        super().__init__(f"the schema has {got}, want {want}")
        self.got = got
        self.want = want


@dataclass(frozen=True, slots=True)
class SchemaCosts:
    """The cost of a check by a schema."""

    applied: int
    """Most subschemas that apply to one value, by weight."""
    states: int
    """States of the patterns that may be in many states at once."""

    @property
    def most_items(self) -> int:
        """Items of the largest value that can be checked in reasonable time."""
        return MAX_CHECKS // self.applied

    @property
    def most_text(self) -> int:
        """Characters in the strings and names of the largest value that can be checked in reasonable time."""
        return MAX_PATTERN_STEPS // max(1, self.states)


def costs_of(document: _Schema) -> SchemaCosts:
    """The cost of a check by a schema.

    Raises:
        SchemaCostError: too much, whatever the value.
    """
    walk = _Walk(document)
    walk.check()
    return SchemaCosts(walk.applied, sum(map(_many_states, walk.patterns)))


def _many_states(pattern: str) -> int:
    """The states of a pattern that may be in many of them at once; 0 for those that are matched at a fixed speed.

    A pattern that begins with ``^`` and has no endless repetition ends after as many characters as it has states.
    """
    sizes, last, endless, choice = [0], 0, False, False
    for token in _TOKENS.finditer(pattern):
        text, atom = token.group(), 1
        if text == "(":
            sizes.append(0)
            continue
        if text == ")" and len(sizes) > 1:
            atom = sizes.pop()
        elif text in "*+" or text.endswith(",}"):
            endless = True
            continue
        elif counts := token.groups("")[0]:
            sizes[-1] += last * (int(counts.split(",")[-1][:_DIGITS]) - 1)
            continue
        choice |= text == "|" and len(sizes) == 1
        sizes[-1] += atom
        last = atom
    states = sum(sizes)
    bounded = pattern.startswith("^") and not endless and not choice
    return 0 if bounded or states <= _FEW_STATES else states


class _Walk:
    """Walks all states in which a value can be met: the subschemas that apply to it, and how often each does."""

    def __init__(self, document: _Schema) -> None:
        self._document = document
        self._anchors: dict[str, _Schema] = {}
        self._steps = 0
        self.applied = 0
        """The largest weight that was met."""
        self.patterns: list[str] = []
        self._index(document)

    def check(self) -> None:
        seen: set[frozenset[tuple[int, int]]] = set()
        level: list[_Applied] = [[(self._document, 1)]]
        for _ in range(MAX_DEPTH + 1):
            below: list[_Applied] = []
            for state in level:
                applied = self._in_place(state)
                for child in self._children(applied):
                    key = frozenset((id(schema), count) for schema, count in child)
                    if key and key not in seen:
                        seen.add(key)
                        below.append(child)
            level = below

    def _index(self, document: _Schema) -> None:
        """Finds anchors and patterns."""
        for part in _parts(document):
            for keyword in _ANCHORS:
                if isinstance(name := part.get(keyword), str):
                    self._anchors.setdefault(name, part)
            if part is not document and isinstance(part.get("$id"), str):
                raise SchemaCostError(got="an $id inside", want="one at its top at most: references stay inside")
            if isinstance(pattern := part.get("pattern"), str):
                self.patterns.append(pattern)
            self.patterns += _members(part.get("patternProperties"))
        if len(self.patterns) > MAX_PATTERNS:
            raise SchemaCostError(got=f"{len(self.patterns)} patterns", want=f"at most {MAX_PATTERNS}")

    def _in_place(self, state: _Applied) -> _Applied:
        """The subschemas of a state with all those that apply to the same value because of them."""
        counts: Counter[int] = Counter()
        schemas: dict[int, _Schema] = {}
        weight = 0
        waiting = list(state)
        while waiting:
            schema, count = waiting.pop()
            self._step()
            weight += count * _weight(schema)
            if weight > MAX_APPLIED:
                raise SchemaCostError(
                    got=f"more than {MAX_APPLIED} subschemas that apply to one value",
                    want="fewer choices (anyOf, oneOf, allOf, references to itself in several of them), shorter enums",
                )
            schemas[id(schema)] = schema
            counts[id(schema)] += count
            waiting += [(inner, count) for inner in self._same_value(schema)]
        self.applied = max(self.applied, weight)
        return [(schemas[key], count) for key, count in counts.items()]

    def _same_value(self, schema: _Schema) -> Iterator[_Schema]:
        for keyword in _REFERENCES:
            if (target := self._target(schema.get(keyword))) is not None:
                yield target
        yield from _schemas(schema.get(keyword) for keyword in _IN_PLACE_ONE)
        for keyword in _IN_PLACE_MANY:
            yield from _schemas(_items(schema.get(keyword)))
        yield from _schemas(_members(schema.get("dependentSchemas")).values())

    def _children(self, applied: _Applied) -> Iterator[_Applied]:
        """The states of a value's members and items, and of its members' names."""
        names = dict.fromkeys(chain.from_iterable(_members(schema.get("properties")) for schema, _ in applied))
        for name in (*names, None):
            yield self._gathered((schema, count, _of_member(schema, name)) for schema, count in applied)
        yield self._gathered((schema, count, (schema.get("propertyNames"),)) for schema, count in applied)
        first = max((len(_items(schema.get("prefixItems"))) for schema, _ in applied), default=0)
        for at in range(first + 1):
            yield self._gathered((schema, count, _of_item(schema, at)) for schema, count in applied)

    def _gathered(self, found: Iterator[tuple[_Schema, int, tuple[Any, ...]]]) -> _Applied:
        counts: Counter[int] = Counter()
        schemas: dict[int, _Schema] = {}
        for _, count, inner in found:
            self._step()
            for schema in _schemas(inner):
                schemas[id(schema)] = schema
                counts[id(schema)] += count
        return [(schemas[key], count) for key, count in counts.items()]

    def _target(self, reference: Any) -> _Schema | None:
        """The target of a reference inside the document; None where it is elsewhere or does not exist."""
        if not isinstance(reference, str):
            return None
        identifier = self._document.get("$id")
        if isinstance(identifier, str) and identifier and reference.startswith(identifier):
            reference = reference.removeprefix(identifier) or "#"
        if not reference.startswith("#"):
            return None
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment)
        part: Any = self._document
        for step in fragment.split("/")[1:]:
            self._step()
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, list) and name.isdecimal() and len(name) < 8 and int(name) < len(part):
                part = part[int(name)]
            else:
                part = part.get(name) if isinstance(part, dict) else None
        return part if isinstance(part, dict) else None

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise SchemaCostError(got="too many ways in which its parts apply", want="fewer choices and references")


def _parts(document: _Schema) -> Iterator[_Schema]:
    """All objects in a schema that may be schemas."""
    waiting: list[Any] = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        yield part
        for keyword, value in part.items():
            if keyword in _NAMED and isinstance(value, dict):
                waiting += value.values()
            elif keyword not in _DATA:
                waiting.append(value)


def _weight(schema: _Schema) -> int:
    weight = 1
    values = _items(schema.get("enum"))
    composites = sum(isinstance(value, list | dict) for value in values)
    if composites or len({type(value) for value in values}) > 1:
        weight += composites * _COMPOSITE_WEIGHT + (len(values) - composites) // _MIXED
    multiple = schema.get("multipleOf")
    if isinstance(multiple, float) and not (math.isfinite(multiple) and multiple.is_integer()):
        weight += _FRACTION_WEIGHT if abs(multiple) >= _TINY else _TINY_WEIGHT
    if any(isinstance(schema.get(name), str) and schema[name].startswith(_DIALECTS) for name in _REFERENCES):
        weight += _DIALECT_WEIGHT
    weight += _FORMAT_WEIGHT * ("format" in schema)
    weight += _PATTERN_WEIGHT * (("pattern" in schema) + len(_members(schema.get("patternProperties"))))
    return weight + _UNIQUE_WEIGHT * ("uniqueItems" in schema)


def _of_member(schema: _Schema, name: str | None) -> tuple[Any, ...]:
    """The subschemas for the member of a name, or of one that ``properties`` has not."""
    properties = _members(schema.get("properties"))
    own = properties[name] if name is not None and name in properties else schema.get("additionalProperties")
    return (own, schema.get("unevaluatedProperties"), *_members(schema.get("patternProperties")).values())


def _of_item(schema: _Schema, at: int) -> tuple[Any, ...]:
    first = _items(schema.get("prefixItems"))
    own = first[at] if at < len(first) else schema.get("items")
    return (own, schema.get("contains"), schema.get("unevaluatedItems"))


def _schemas(values: Any) -> Iterator[_Schema]:
    """The subschemas that are objects: true and false cost nothing."""
    return (value for value in values if isinstance(value, dict))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _members(value: Any) -> _Schema:
    return value if isinstance(value, dict) else {}
