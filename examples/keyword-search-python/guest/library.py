"""The documents in the sealed state.

    catalogue     what there is, by name: [{ id, name, words, length }]
    text/ID/N     a document's text, in pieces
    index/ID/N    its part of the index, in pieces

An id is random and never used again, so whatever has been read by its id stays true.
"""

import json
import secrets
from typing import TypedDict

from inverted_index import Index
from pieces import drop, read, write
from segment import pack, unpack
from tokenise import Tokens

from casemate.guest import State


class Document(TypedDict):
    """A document's line of the catalogue."""

    id: str
    name: str
    words: int
    length: int
    """Characters."""


Catalogue = list[Document]


class _Built:
    """What the last search built, and of which documents: most searches come after another."""

    ids: tuple[str, ...] | None = None
    index = Index([])


def catalogue_of(state: State) -> Catalogue:
    """What there is, by name."""
    found: Catalogue = state.get("catalogue", [])
    return found


def keep_catalogue(state: State, documents: Catalogue) -> None:
    """Keeps it by name, so that it does not matter to any result in which order documents came."""
    by_name: Catalogue = sorted(documents, key=lambda document: document["name"])
    state.put("catalogue", by_name)


def keep(state: State, name: str, text: str, tokens: Tokens) -> Document:
    """Keeps a document; its line of the catalogue."""
    number = secrets.token_hex(16)
    write(state, f"text/{number}", text)
    write(state, f"index/{number}", json.dumps(pack(tokens), ensure_ascii=False, separators=(",", ":")))
    return {"id": number, "name": name, "words": len(tokens.terms), "length": len(text)}


def forget(state: State, document: Document) -> None:
    """Drops what is kept of a document."""
    drop(state, f"text/{document['id']}")
    drop(state, f"index/{document['id']}")


def text_of(state: State, document: Document) -> str:
    """A document's text."""
    return read(state, f"text/{document['id']}")


def index_of(state: State, catalogue: Catalogue) -> Index:
    """The index of all documents, in the catalogue's order."""
    ids = tuple(document["id"] for document in catalogue)
    if _Built.ids != ids:
        _Built.ids, _Built.index = None, Index([])  # room for the new one
        _Built.index = Index(unpack(json.loads(read(state, f"index/{number}"))) for number in ids)
        _Built.ids = ids
    return _Built.index
