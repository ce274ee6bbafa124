/** Which documents match, and how well: Okapi BM25 over the words and phrases of the query. */

import { occurrencesOf } from "./inverted_index.js";

/**
 * Parameters of BM25 at their usual values: S. Robertson and H. Zaragoza, "The Probabilistic Relevance Framework: BM25
 * and Beyond", 2009, section 3.2. How soon further occurrences of a term count for less, and how far long documents
 * are marked down.
 */
const K1 = 1.2;
const B = 0.75;

/** Scores are rounded to this, and ranked as rounded: equal on every machine, whatever its last bits do. */
const SCORE_DECIMALS = 4;

/**
 * Matching documents with their scores, best first; where scores are equal, in the order in which they came. A phrase
 * counts as a term. Words below a NOT exclude and never score, so a query of nothing else gives all scores as 0.
 *
 * @returns {{
 *   ranked: {document: number, score: number}[],
 *   clauses: {text: string, weight: number, occurrences: Map<number, number[]>}[],
 * }} `clauses` are those that score, in the order of the query.
 */
export function rank(index, { root, clauses }) {
  const weighed = new Map();
  for (const [key, { text, terms, wanted }] of clauses) {
    const occurrences = occurrencesOf(index, terms);
    weighed.set(key, { text, wanted, occurrences, weight: rarity(index.documents.length, occurrences.size) });
  }
  const scoring = [...weighed.values()].filter(({ wanted }) => wanted);
  const ranked = [];
  for (let document = 0; document < index.documents.length; document += 1) {
    if (root !== null && matches(root, document, weighed)) {
      ranked.push({ document, score: scoreOf(index, document, scoring) });
    }
  }
  ranked.sort((a, b) => b.score - a.score || a.document - b.document);
  return { ranked, clauses: scoring };
}

function matches(node, document, weighed) {
  switch (node.kind) {
    case "clause":
      return weighed.get(node.key).occurrences.has(document);
    case "not":
      return !matches(node.part, document, weighed);
    case "all":
      return node.parts.every((part) => matches(part, document, weighed));
    case "any":
      return node.parts.some((part) => matches(part, document, weighed));
  }
}

/** Inverse document frequency, in the form that stays above 0 for terms of most documents (as in Lucene). */
function rarity(documents, containing) {
  return Math.log(1 + (documents - containing + 0.5) / (containing + 0.5));
}

function scoreOf(index, document, scoring) {
  const length = index.documents[document].terms.length / index.meanLength;
  let score = 0;
  for (const { weight, occurrences } of scoring) {
    const frequency = occurrences.get(document)?.length ?? 0;
    if (frequency > 0) {
      score += (weight * frequency * (K1 + 1)) / (frequency + K1 * (1 - B + B * length));
    }
  }
  return Number(score.toFixed(SCORE_DECIMALS));
}
