/**
 * Keyword search in the documents of one owner, for the searchers whom the manifest names.
 *
 * Documents and their index are kept in the sealed state: they outlive the enclave, and the operator has ciphertext. All
 * who may search may find every document, so what is kept in memory from call to call is kept from none of them. Of a
 * query nothing is kept.
 */

import { catalogueOf, forget, indexOf, keep, keepCatalogue, textOf } from "./library.js";
import { answering, Refusal } from "./refusal.js";
import { find } from "./search.js";
import { makeTokeniser } from "./tokenise.js";

/** Documents, their words, and the UTF-16 code units of their texts: what `memory_mib` and `max_kib` have room for. */
const MAX_DOCUMENTS = 1000;
const MAX_WORDS = 500_000;
const MAX_LENGTH = 4_000_000;

/** Hits of a call that names no limit. */
const DEFAULT_LIMIT = 10;

/**
 * Takes documents in; one of a name that is there already replaces it. All of them, or none.
 *
 * @param {{documents: {name: string, text: string}[]}} input
 */
export const add = answering(({ documents }, { state }) => {
  const names = new Set(documents.map(({ name }) => name));
  if (names.size < documents.length) throw new Refusal("same-name", "two of these documents have the same name");
  const before = catalogueOf(state);
  const replaced = before.filter(({ name }) => names.has(name));
  const others = before.filter(({ name }) => !names.has(name));
  if (others.length + documents.length > MAX_DOCUMENTS) {
    throw new Refusal("too-many", `there would be more than ${MAX_DOCUMENTS} documents`);
  }
  const tokenise = makeTokeniser();
  const read = documents.map(({ name, text }) => ({ name, text, tokens: tokenise(text) }));
  const length = sum(others, (document) => document.length) + sum(read, ({ text }) => text.length);
  const words = sum(others, (document) => document.words) + sum(read, ({ tokens }) => tokens.terms.length);
  if (length > MAX_LENGTH || words > MAX_WORDS) {
    throw new Refusal("too-long", `all together may have ${MAX_WORDS} words and ${MAX_LENGTH} characters`);
  }
  for (const document of replaced) forget(state, document);
  const catalogue = [...others, ...read.map((document) => keep(state, document))];
  keepCatalogue(state, catalogue);
  return { added: documents.length - replaced.length, replaced: replaced.length, documents: catalogue.length };
});

/**
 * Takes documents out. A name that is not there is told, and does not keep the others.
 *
 * @param {{names: string[]}} input
 */
export function remove({ names }, { state }) {
  const wanted = new Set(names);
  const before = catalogueOf(state);
  const removed = before.filter(({ name }) => wanted.has(name));
  for (const document of removed) {
    forget(state, document);
    wanted.delete(document.name);
  }
  if (removed.length > 0) keepCatalogue(state, before.filter((document) => !removed.includes(document)));
  return { removed: removed.length, unknown: [...wanted], documents: before.length - removed.length };
}

/** The documents by name, with their lengths. */
export function list(_input, { state }) {
  return { documents: catalogueOf(state).map(({ name, words, length }) => ({ name, words, length })) };
}

/**
 * The documents that match a query, best first, each with the lines that show why.
 *
 * @param {{query: string, limit?: number}} input
 */
export const search = answering(({ query, limit = DEFAULT_LIMIT }, { state }) => {
  const catalogue = catalogueOf(state);
  const library = {
    names: catalogue.map(({ name }) => name),
    index: indexOf(state, catalogue),
    textOf: (document) => textOf(state, catalogue[document]),
  };
  return find(library, query, limit);
});

const sum = (documents, of) => documents.reduce((total, document) => total + of(document), 0);
