/** One document's part of the index, as it is kept: each word once, and numbers that stay small. */

/**
 * @param {{terms: string[], offsets: number[]}} tokens
 * @returns {{words: string[], stream: number[], steps: number[]}} the different terms; which of them stand in the text,
 *   in order; how far each is from the one before (UTF-16 code units)
 */
export function pack({ terms, offsets }) {
  const numbers = new Map();
  const stream = terms.map((term) => {
    if (!numbers.has(term)) numbers.set(term, numbers.size);
    return numbers.get(term);
  });
  return { words: [...numbers.keys()], stream, steps: offsets.map((offset, at) => offset - (at > 0 ? offsets[at - 1] : 0)) };
}

/** @returns {{terms: string[], offsets: number[]}} what was packed */
export function unpack({ words, stream, steps }) {
  let offset = 0;
  return { terms: stream.map((number) => words[number]), offsets: steps.map((step) => (offset += step)) };
}
