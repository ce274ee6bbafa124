/**
 * The documents in the sealed state.
 *
 *     catalogue     what there is, by name: [{ id, name, words, length }]
 *     text/ID/N     a document's text, in pieces
 *     index/ID/N    its part of the index, in pieces
 *
 * An id is random and never used again, so whatever has been read by its id stays true.
 */

import { buildIndex } from "./inverted_index.js";
import { drop, read, write } from "./pieces.js";
import { pack, unpack } from "./segment.js";

/** What the last search built, and of which documents: most searches come after another. */
let built = { ids: null, index: null };

/** @returns {{id: string, name: string, words: number, length: number}[]} */
export function catalogueOf(state) {
  return state.get("catalogue") ?? [];
}

/** By name, so that it does not matter to any result in which order documents came. */
export function keepCatalogue(state, documents) {
  state.put("catalogue", documents.toSorted((a, b) => (a.name < b.name ? -1 : 1)));
}

/** Keeps a document; its line of the catalogue. */
export function keep(state, { name, text, tokens }) {
  const id = crypto.randomUUID();
  write(state, `text/${id}`, text);
  write(state, `index/${id}`, JSON.stringify(pack(tokens)));
  return { id, name, words: tokens.terms.length, length: text.length };
}

/** Drops what is kept of a document. */
export function forget(state, { id }) {
  drop(state, `text/${id}`);
  drop(state, `index/${id}`);
}

export const textOf = (state, { id }) => read(state, `text/${id}`);

/** The index of all documents, in the catalogue's order. */
export function indexOf(state, catalogue) {
  const ids = catalogue.map(({ id }) => id).join();
  if (built.ids !== ids) {
    const segments = catalogue.map(({ id }) => unpack(JSON.parse(read(state, `index/${id}`))));
    built = { ids, index: buildIndex(segments) };
  }
  return built.index;
}
