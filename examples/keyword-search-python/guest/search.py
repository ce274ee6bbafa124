"""A query's answer."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from inverted_index import Index
from query import parse_query
from rank import rank
from snippets import snippets_of
from tokenise import make_tokeniser


class Library(NamedTuple):
    """What is searched, by the documents' places in the index."""

    names: Sequence[str]
    indexed: Index
    text_of: Callable[[int], str]


def find(library: Library, text: str, limit: int) -> dict[str, Any]:
    """The documents that match, best first; where scores are equal, in the order of the index.

    Args:
        library: what is searched.
        text: the query.
        limit: hits at most.
    """
    ranked, clauses = rank(library.indexed, parse_query(text, make_tokeniser()))
    return {
        "hits": [
            {
                "document": library.names[document],
                "score": score,
                "snippets": snippets_of(
                    library.text_of(document), library.indexed.offsets[document], document, clauses
                ),
            }
            for document, score in ranked[:limit]
        ],
        "documents_matched": len(ranked),
        "documents_searched": len(library.names),
        "terms": [
            {"term": term, "documents": len(places), "occurrences": sum(map(len, places.values()))}
            for term, _weight, places in clauses
        ],
    }
