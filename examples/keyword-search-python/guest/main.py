"""Keyword search in the documents of one owner, for the searchers whom the manifest names.

Documents and their index are kept in the sealed state: they outlive the enclave, and the operator has ciphertext. All
who may search may find every document, so what is kept in memory from call to call is kept from none of them. Of a
query nothing is kept.
"""

from typing import Any

from library import catalogue_of, forget, index_of, keep, keep_catalogue, text_of
from refusal import RefusedError, answering
from search import Library, find
from tokenise import make_tokeniser

from casemate.guest import Context

# Documents, their words, and the characters of their texts: what `memory_mib` and `max_kib` have room for.
MAX_DOCUMENTS = 1000
MAX_WORDS = 500_000
MAX_LENGTH = 4_000_000

DEFAULT_LIMIT = 10
"""Hits of a call that names no limit."""


@answering
def add(asked: dict[str, Any], context: Context) -> dict[str, Any]:
    """Takes documents (``name``, ``text``) in; one of a name that is there already replaces it. All, or none."""
    documents, state = asked["documents"], context.state
    names = {document["name"] for document in documents}
    if len(names) < len(documents):
        raise RefusedError("same-name", "two of these documents have the same name")
    before = catalogue_of(state)
    others = [document for document in before if document["name"] not in names]
    if len(others) + len(documents) > MAX_DOCUMENTS:
        raise RefusedError("too-many", f"there would be more than {MAX_DOCUMENTS} documents")
    tokenise = make_tokeniser()
    read = [(document["name"], document["text"], tokenise(document["text"])) for document in documents]
    length = sum(document["length"] for document in others) + sum(len(text) for _, text, _ in read)
    words = sum(document["words"] for document in others) + sum(len(tokens.terms) for _, _, tokens in read)
    if length > MAX_LENGTH or words > MAX_WORDS:
        raise RefusedError("too-long", f"all together may have {MAX_WORDS} words and {MAX_LENGTH} characters")
    replaced = [document for document in before if document["name"] in names]
    for document in replaced:
        forget(state, document)
    catalogue = [*others, *(keep(state, *document) for document in read)]
    keep_catalogue(state, catalogue)
    return {"added": len(read) - len(replaced), "replaced": len(replaced), "documents": len(catalogue)}


def remove(asked: dict[str, Any], context: Context) -> dict[str, Any]:
    """Takes documents (``names``) out. A name that is not there is told, and does not keep the others."""
    state, before = context.state, catalogue_of(context.state)
    removed = {document["name"]: document for document in before if document["name"] in asked["names"]}
    for document in removed.values():
        forget(state, document)
    if removed:
        keep_catalogue(state, [document for document in before if document["name"] not in removed])
    return {
        "removed": len(removed),
        "unknown": [name for name in asked["names"] if name not in removed],
        "documents": len(before) - len(removed),
    }


def list(_asked: None, context: Context) -> dict[str, Any]:  # noqa: A001 - the entry point's name
    """The documents by name, with their lengths."""
    catalogue = catalogue_of(context.state)
    return {"documents": [{key: value for key, value in line.items() if key != "id"} for line in catalogue]}


@answering
def search(asked: dict[str, Any], context: Context) -> dict[str, Any]:
    """The documents that match ``query``, best first, at most ``limit``, each with the lines that show why."""
    state, catalogue = context.state, catalogue_of(context.state)
    names = [document["name"] for document in catalogue]
    library = Library(names, index_of(state, catalogue), lambda place: text_of(state, catalogue[place]))
    return find(library, asked["query"], asked.get("limit", DEFAULT_LIMIT))
