"""The query language.

    query  = all *( "OR" all )
    all    = 1*( [ "AND" ] part )          ; words side by side must all occur
    part   = *( "NOT" / "-" ) ( clause / "(" query ")" )
    clause = word / DQUOTE words DQUOTE    ; quoted words must stand one after the other

The operators are written in capitals. Whatever does not fit is taken as if it were not there: an operator without
operand, a bracket or quotation mark without partner, a word without letter or digit. A person at a search box is not
helped by a syntax error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from refusal import RefusedError
from tokenise import Tokenise

MAX_NESTING = 16
"""Brackets inside brackets. Nobody means more, and recursion needs an end."""

_PIECE = re.compile(
    r"(?P<minus>(?<![^\s(])-(?=[^\s)]))"
    r'|["“”„«»](?P<quoted>[^"“”„«»]*)["“”„«»]?'
    r"|(?P<bracket>[()])"
    r'|(?P<word>[^\s()"“”„«»]+)'
)
_OPERATORS = ("AND", "OR", "NOT")

Terms = tuple[str, ...]


@dataclass(frozen=True)
class Clause:
    """A word or phrase: as it was first typed, and whether it stands anywhere other than below a NOT."""

    text: str
    wanted: bool


class Word(NamedTuple):
    """Documents in which these terms stand one after the other."""

    terms: Terms


class Not(NamedTuple):
    """Documents that the part does not find."""

    part: "Node"


class Group(NamedTuple):
    """Documents that all parts find, or any."""

    kind: Literal["all", "any"]
    parts: list["Node"]


Node = Word | Not | Group


class Query(NamedTuple):
    """A query; ``root`` is None where nothing is asked for."""

    root: Node | None
    clauses: dict[Terms, Clause]


class _Piece(NamedTuple):
    """An operator, a bracket, or (with terms) a word or phrase."""

    kind: str
    text: str = ""
    terms: Terms = ()


def parse_query(text: str, tokenise: Tokenise) -> Query:
    """Reads a query.

    Args:
        text: the query.
        tokenise: as for the documents.

    Raises:
        RefusedError: its brackets are too deep.
    """
    parser = _Parser([*_pieces(text, tokenise)])
    return Query(parser.any_of(0, wanted=True), parser.clauses)


def _pieces(text: str, tokenise: Tokenise) -> Iterator[_Piece]:
    for match in _PIECE.finditer(text):
        if match["minus"]:
            yield _Piece("NOT")
        elif match["bracket"]:
            yield _Piece(match["bracket"])
        elif match["word"] in _OPERATORS:
            yield _Piece(match["word"])
        else:
            words = (match["word"] or match["quoted"] or "").strip()
            terms = tuple(tokenise(words).terms)
            if terms:
                yield _Piece("clause", words, terms)


class _Parser:
    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._next = 0
        self.clauses: dict[Terms, Clause] = {}

    def any_of(self, nesting: int, *, wanted: bool) -> Node | None:
        parts = [self._all_of(nesting, wanted=wanted)]
        while self._at("OR"):
            self._next += 1
            parts.append(self._all_of(nesting, wanted=wanted))
        return _joined("any", parts)

    def _all_of(self, nesting: int, *, wanted: bool) -> Node | None:
        parts: list[Node | None] = []
        while self._next < len(self._pieces) and not self._at("OR"):
            if self._at(")") and nesting > 0:
                break
            if self._at("AND") or self._at(")"):
                self._next += 1
            else:
                parts.append(self._part(nesting, wanted=wanted))
        return _joined("all", parts)

    def _part(self, nesting: int, *, wanted: bool) -> Node | None:
        negated = False
        while self._at("NOT"):
            negated = not negated
            self._next += 1
        part = self._operand(nesting, wanted=wanted is not negated)
        return Not(part) if negated and part is not None else part

    def _operand(self, nesting: int, *, wanted: bool) -> Node | None:
        if self._at("clause"):
            return self._remembered(wanted=wanted)
        if not self._at("("):
            return None
        if nesting == MAX_NESTING:
            words = f"more than {MAX_NESTING} brackets inside each other, want at most {MAX_NESTING}"
            raise RefusedError("bad-query", words)
        self._next += 1
        part = self.any_of(nesting + 1, wanted=wanted)
        if self._at(")"):
            self._next += 1
        return part

    def _remembered(self, *, wanted: bool) -> Word:
        _kind, text, terms = self._pieces[self._next]
        self._next += 1
        before = self.clauses.get(terms, Clause(text, wanted=False))
        self.clauses[terms] = Clause(before.text, wanted or before.wanted)
        return Word(terms)

    def _at(self, kind: str) -> bool:
        return self._next < len(self._pieces) and self._pieces[self._next].kind == kind


def _joined(kind: Literal["all", "any"], parts: list[Node | None]) -> Node | None:
    """One node for several, without the empty ones."""
    present = [part for part in parts if part is not None]
    if len(present) > 1:
        return Group(kind, present)
    return present[0] if present else None
