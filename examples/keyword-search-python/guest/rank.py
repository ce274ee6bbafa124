"""Which documents match, and how well: Okapi BM25 over the words and phrases of the query."""

import math
from typing import NamedTuple

from inverted_index import Index
from query import Node, Not, Query, Terms, Word

# Parameters of BM25 at their usual values: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25
# and Beyond", 2009, section 3.2. How soon further occurrences of a term count for less, and how far long documents are
# marked down.
K1 = 1.2
B = 0.75

SCORE_DECIMALS = 4
"""Scores are rounded to this, and ranked as rounded: equal on every machine, whatever its last bits do."""


class Weighed(NamedTuple):
    """A word or phrase of the query, and where it stands."""

    text: str
    weight: float
    occurrences: dict[int, list[int]]
    """By documents, the positions."""


class Match(NamedTuple):
    """A document that matches."""

    document: int
    score: float


def rank(index: Index, query: Query) -> tuple[list[Match], list[Weighed]]:
    """Matching documents, best first (where scores are equal, as they came), and the clauses that score.

    A phrase counts as a term. Words below a NOT exclude and never score, so a query of nothing else gives scores of 0.
    """
    weighed: dict[Terms, Weighed] = {}
    for terms, clause in query.clauses.items():
        occurrences = index.occurrences(terms)
        weighed[terms] = Weighed(clause.text, _rarity(len(index), len(occurrences)), occurrences)
    scoring = [weighed[terms] for terms, clause in query.clauses.items() if clause.wanted]
    root = query.root
    if root is None:
        return [], scoring
    found = [
        Match(document, _score(index, document, scoring))
        for document in range(len(index))
        if _matches(root, document, weighed)
    ]
    return sorted(found, key=lambda match: -match.score), scoring


def _matches(node: Node, document: int, weighed: dict[Terms, Weighed]) -> bool:
    if isinstance(node, Word):
        return document in weighed[node.terms].occurrences
    if isinstance(node, Not):
        return not _matches(node.part, document, weighed)
    decide = all if node.kind == "all" else any
    return decide(_matches(part, document, weighed) for part in node.parts)


def _rarity(documents: int, containing: int) -> float:
    """Inverse document frequency, in the form that stays above 0 for terms of most documents (as in Lucene)."""
    return math.log(1 + (documents - containing + 0.5) / (containing + 0.5))


def _score(index: Index, document: int, scoring: list[Weighed]) -> float:
    score = 0.0
    for _text, weight, occurrences in scoring:
        frequency = len(occurrences.get(document, ()))
        if frequency:
            length = index.length(document) / index.mean_length
            score += weight * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length))
    return round(score, SCORE_DECIMALS)
