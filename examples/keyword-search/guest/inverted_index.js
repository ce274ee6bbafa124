/** The inverted index: for each term, where it stands in which document. */

/**
 * Indexes the documents in the order given; a document is named by its place in that order, and a position is a
 * token's place in its document.
 *
 * @param {{terms: string[], offsets: number[]}[]} documents their tokens
 * @returns {{
 *   postings: Map<string, Map<number, number[]>>,
 *   documents: {terms: string[], offsets: number[]}[],
 *   meanLength: number,
 * }} `postings` maps a term to its documents, and each of those to the term's positions, rising.
 */
export function buildIndex(documents) {
  const postings = new Map();
  let length = 0;
  documents.forEach(({ terms }, document) => {
    length += terms.length;
    terms.forEach((term, position) => add(postings, term, document, position));
  });
  return { postings, documents, meanLength: length / Math.max(documents.length, 1) };
}

function add(postings, term, document, position) {
  let places = postings.get(term);
  if (places === undefined) {
    places = new Map();
    postings.set(term, places);
  }
  const positions = places.get(document);
  if (positions === undefined) {
    places.set(document, [position]);
  } else {
    positions.push(position);
  }
}

/**
 * Where terms stand one after the other: for each document in which they do, the positions of the first, rising.
 *
 * @param {ReturnType<typeof buildIndex>} index
 * @param {string[]} terms one or more
 * @returns {Map<number, number[]>}
 */
export function occurrencesOf(index, terms) {
  const found = new Map();
  for (const [document, positions] of index.postings.get(terms[0]) ?? []) {
    const stream = index.documents[document].terms;
    const starts = positions.filter((start) => terms.every((term, step) => stream[start + step] === term));
    if (starts.length > 0) {
      found.set(document, starts);
    }
  }
  return found;
}
