/** Text to index terms: which characters make a word, and which words count as the same. */

import { withoutPlural } from "./plural.js";

/** The longest term (UTF-16 code units). A longer run of letters is encoded data rather than a word: its start is kept. */
const MAX_TERM = 64;

/** Letters of scripts that put no space between words. Each is a term by itself, and a word of them is a phrase. */
const UNSPACED = String.raw`[\p{L}&&[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Thai}\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}]]`;

const APOSTROPHE = String.raw`['\u2019\u02BC]`;

const TOKEN = new RegExp(
  [
    String.raw`\p{Nd}{1,3}(?:,\p{Nd}{3})+(?!\p{Nd})`, // 3,000,000
    String.raw`\p{Nd}+\.\p{Nd}+`, // 37.5
    String.raw`${UNSPACED}\p{M}*`,
    String.raw`[[\p{L}\p{N}]--${UNSPACED}][[\p{L}\p{M}\p{N}]--${UNSPACED}]*(?:${APOSTROPHE}\p{L}[\p{L}\p{M}]*)*`,
  ].join("|"),
  "gv",
);

/**
 * The one form of all spellings that count as the same word: of either case, with or without accents, compatibility
 * forms (ligatures, full-width letters), digit grouping, possessive and plural endings.
 *
 * Upper case before lower case stands in for Unicode's full case folding, which JavaScript lacks ("ß" is "ss"). Only
 * the combining accents go (U+0300 to U+036F): the marks of Devanagari or Hebrew are part of what a word says.
 */
function fold(word) {
  const folded = word
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]+/g, "")
    .toUpperCase()
    .toLowerCase()
    .normalize("NFC")
    .replace(/['\u2019\u02bc]s$/, "")
    .replace(/['\u2019\u02bc]/g, "")
    .replace(/(?<=\p{Nd}),(?=\p{Nd})/gu, "");
  return withoutPlural(folded).slice(0, MAX_TERM).toWellFormed();
}

/**
 * A function from a text to its terms in order, and the offset of each in the text (UTF-16 code units).
 *
 * Each word is folded once in the life of a tokeniser, which is one call: no word outlives the call that brought it.
 */
export function makeTokeniser() {
  const folded = new Map();
  return function tokenise(text) {
    const terms = [];
    const offsets = [];
    for (const match of text.matchAll(TOKEN)) {
      const word = match[0];
      let term = folded.get(word);
      if (term === undefined) {
        term = fold(word);
        folded.set(word, term);
      }
      if (term !== "") {
        terms.push(term);
        offsets.push(match.index);
      }
    }
    return { terms, offsets };
  };
}
