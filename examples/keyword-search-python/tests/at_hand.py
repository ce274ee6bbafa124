"""A search in documents that are at hand, without state and enclave."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "guest"))  # where imports start inside the enclave

from inverted_index import Index
from search import Library, find
from tokenise import make_tokeniser


def search(query: str, documents: Mapping[str, str], limit: int = 10) -> dict[str, Any]:
    """What is found in these texts, by their names."""
    texts = [*documents.values()]
    index = Index(make_tokeniser()(text) for text in texts)
    return find(Library([*documents], index, lambda document: texts[document]), query, limit)


def names_found(query: str, documents: Mapping[str, str]) -> list[str]:
    """The names of the documents found, best first."""
    return [hit["document"] for hit in search(query, documents)["hits"]]
