/** A query's answer. */

import { parseQuery } from "./query.js";
import { rank } from "./rank.js";
import { snippetsOf } from "./snippets.js";
import { makeTokeniser } from "./tokenise.js";

/**
 * The documents that match, best first; where scores are equal, in the order of the index.
 *
 * @param {{names: string[], index: object, textOf: (document: number) => string}} library
 * @param {string} text the query
 * @param {number} limit hits at most
 */
export function find({ names, index, textOf }, text, limit) {
  const { ranked, clauses } = rank(index, parseQuery(text, makeTokeniser()));
  return {
    hits: ranked.slice(0, limit).map(({ document, score }) => ({
      document: names[document],
      score,
      snippets: snippetsOf(textOf(document), index.documents[document].offsets, document, clauses),
    })),
    documents_matched: ranked.length,
    documents_searched: names.length,
    terms: clauses.map(({ text: term, occurrences }) => ({
      term,
      documents: occurrences.size,
      occurrences: [...occurrences.values()].reduce((sum, positions) => sum + positions.length, 0),
    })),
  };
}
