/**
 * Keyword search over the documents that come with the call.
 *
 * The enclave has checked `input` against schemas/search.input.json before this runs, and checks what is returned
 * against schemas/search.output.json. Nothing is kept from one call to the next: each call brings its documents, so
 * that one caller's text is never in reach of another's query.
 */

import { buildIndex } from "./inverted_index.js";
import { parseQuery } from "./query.js";
import { rank } from "./rank.js";
import { snippetsOf } from "./snippets.js";
import { makeTokeniser } from "./tokenise.js";

/** Hits of a call that names no limit. */
const DEFAULT_LIMIT = 10;

/**
 * The documents that match a query, best first, each with the lines that show why.
 *
 * @param {{query: string, limit?: number, documents: {name: string, text: string}[]}} input
 */
export function search(input) {
  const tokenise = makeTokeniser();
  const query = parseQuery(input.query, tokenise);
  const index = buildIndex(input.documents, tokenise);
  const { ranked, clauses } = rank(index, query);
  return {
    hits: ranked.slice(0, input.limit ?? DEFAULT_LIMIT).map(({ document, score }) => ({
      document: input.documents[document].name,
      score,
      snippets: snippetsOf(input.documents[document].text, index.documents[document].offsets, document, clauses),
    })),
    documents_matched: ranked.length,
    documents_searched: input.documents.length,
    terms: clauses.map(({ text, occurrences }) => ({
      term: text,
      documents: occurrences.size,
      occurrences: [...occurrences.values()].reduce((sum, positions) => sum + positions.length, 0),
    })),
  };
}
