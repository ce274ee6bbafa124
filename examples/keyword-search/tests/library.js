/** A search in documents that are at hand, without state and enclave. */

import { buildIndex } from "../guest/inverted_index.js";
import { find } from "../guest/search.js";
import { makeTokeniser } from "../guest/tokenise.js";

/**
 * @param {{query: string, limit?: number, documents: {name: string, text: string}[]}} input
 */
export function search({ query, limit = 10, documents }) {
  const index = buildIndex(documents.map(({ text }) => makeTokeniser()(text)));
  const library = { names: documents.map(({ name }) => name), index, textOf: (document) => documents[document].text };
  return find(library, query, limit);
}
