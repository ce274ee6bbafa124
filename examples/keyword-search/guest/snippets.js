/** The lines of a document that show why it was found. */

/** Lines shown of one document. */
const MAX_SNIPPETS = 3;

/** The longest snippet, without the ellipses (UTF-16 code units). */
const MAX_TEXT = 200;

/** Where a long line is cut, this much is shown before the match, and a cut moves this far at most to spare a word. */
const BEFORE = 60;
const SPARE = 20;

/**
 * The lines that hold most of what was asked for, rare terms first, in the order of the document. A phrase belongs to
 * the line on which it begins. Lines are counted from 1 and end at LF, CR or CRLF.
 *
 * @param {string} text
 * @param {number[]} offsets of the document's tokens
 * @param {number} document
 * @param {{weight: number, occurrences: Map<number, number[]>}[]} clauses
 * @returns {{line: number, text: string}[]}
 */
export function snippetsOf(text, offsets, document, clauses) {
  const starts = lineStarts(text);
  const lines = new Map();
  for (const { weight, occurrences } of clauses) {
    const counted = new Set(); // a line gains by holding another clause, not by repeating one
    for (const position of occurrences.get(document) ?? []) {
      const offset = offsets[position];
      const line = lineAt(starts, offset);
      if (!counted.has(line)) {
        counted.add(line);
        const { weight: before, offset: first } = lines.get(line) ?? { weight: 0, offset };
        lines.set(line, { line, weight: before + weight, offset: Math.min(first, offset) });
      }
    }
  }
  return [...lines.values()]
    .sort((a, b) => b.weight - a.weight || a.line - b.line)
    .slice(0, MAX_SNIPPETS)
    .sort((a, b) => a.line - b.line)
    .map(({ line, offset }) => ({ line: line + 1, text: excerpt(text, starts[line], starts[line + 1], offset) }));
}

/** The offset at which each line begins, and the text's length. */
function lineStarts(text) {
  const starts = [0];
  for (const { 0: end, index } of text.matchAll(/\r\n|\r|\n/g)) {
    starts.push(index + end.length);
  }
  starts.push(text.length);
  return starts;
}

/** The line, from 0, that an offset is in. */
function lineAt(starts, offset) {
  let low = 0;
  let high = starts.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= offset) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

/**
 * The line, or the part of a long line around its first match, with each run of white space as one space. Control
 * characters count as white space: a snippet is likely to be printed on a terminal, which would obey them.
 */
function excerpt(text, start, end, match) {
  let from = start;
  let to = end;
  if (end - start > MAX_TEXT) {
    from = Math.max(start, Math.min(match - BEFORE, end - MAX_TEXT));
    to = Math.min(end, from + MAX_TEXT);
    if (from > start) {
      const word = text.slice(from, from + SPARE).search(/\s/);
      from += Math.max(word, 0);
    }
    if (to < end) {
      const rest = text.slice(to - SPARE, to).search(/\s\S*$/);
      to -= rest < 0 ? 0 : SPARE - rest;
    }
  }
  const shown = text.slice(from, to).toWellFormed().replace(/[\s\p{Cc}]+/gu, " ").trim();
  return (from > start ? "…" : "") + shown + (to < end ? "…" : "");
}
