/**
 * The query language.
 *
 *     query  = all *( "OR" all )
 *     all    = 1*( [ "AND" ] part )          ; words side by side must all occur
 *     part   = *( "NOT" / "-" ) ( clause / "(" query ")" )
 *     clause = word / DQUOTE words DQUOTE    ; quoted words must stand one after the other
 *
 * The operators are written in capitals. Whatever does not fit is taken as if it were not there: an operator without
 * operand, a bracket or quotation mark without partner, a word without letter or digit. A person at a search box is
 * not helped by a syntax error.
 */

import { Refusal } from "./refusal.js";

/** Brackets inside brackets. Nobody means more, and recursion needs an end. */
const MAX_NESTING = 16;

const PIECE = new RegExp(
  [
    String.raw`(?<minus>(?<![^\s(])-(?=[^\s)]))`,
    String.raw`["“”„«»](?<quoted>[^"“”„«»]*)["“”„«»]?`,
    String.raw`(?<bracket>[()])`,
    String.raw`(?<word>[^\s()"“”„«»]+)`,
  ].join("|"),
  "gu",
);

const OPERATORS = new Set(["AND", "OR", "NOT"]);

/**
 * @typedef {{kind: "clause", key: string}
 *   | {kind: "all" | "any", parts: Node[]}
 *   | {kind: "not", part: Node}} Node
 * @typedef {{text: string, terms: string[], wanted: boolean}} Clause a word or phrase as typed, its terms, and whether
 *   it stands anywhere other than below a NOT
 */

/**
 * @param {string} text
 * @param {(text: string) => {terms: string[]}} tokenise as for the documents
 * @returns {{root: Node | null, clauses: Map<string, Clause>}} `root` is null where nothing is asked for
 */
export function parseQuery(text, tokenise) {
  const pieces = [...text.matchAll(PIECE)].map(({ groups }) => pieceOf(groups, tokenise)).filter(Boolean);
  const clauses = new Map();
  let next = 0;

  const at = (kind) => pieces[next]?.kind === kind;

  function parseAny(nesting, wanted) {
    const parts = [parseAll(nesting, wanted)];
    while (at("OR")) {
      next += 1;
      parts.push(parseAll(nesting, wanted));
    }
    return join("any", parts);
  }

  function parseAll(nesting, wanted) {
    const parts = [];
    while (next < pieces.length && !at("OR")) {
      if (at(")") && nesting > 0) {
        break;
      }
      if (at("AND") || at(")")) {
        next += 1;
      } else {
        parts.push(parsePart(nesting, wanted));
      }
    }
    return join("all", parts);
  }

  function parsePart(nesting, wanted) {
    let negated = false;
    while (at("NOT")) {
      negated = !negated;
      next += 1;
    }
    const part = parseOperand(nesting, wanted !== negated);
    return negated && part !== null ? { kind: "not", part } : part;
  }

  function parseOperand(nesting, wanted) {
    if (at("clause")) {
      return remember(pieces[next++], wanted);
    }
    if (!at("(")) {
      return null;
    }
    if (nesting === MAX_NESTING) {
      throw new Refusal("bad-query", `more than ${MAX_NESTING} brackets inside each other, want at most ${MAX_NESTING}`);
    }
    next += 1;
    const part = parseAny(nesting + 1, wanted);
    next += at(")") ? 1 : 0;
    return part;
  }

  function remember({ text, terms }, wanted) {
    const key = terms.join(" ");
    const clause = clauses.get(key);
    clauses.set(key, { text: clause?.text ?? text, terms, wanted: wanted || (clause?.wanted ?? false) });
    return { kind: "clause", key };
  }

  return { root: parseAny(0, true), clauses };
}

/** What a piece of the query is, or null for one that says nothing. */
function pieceOf({ minus, quoted, bracket, word }, tokenise) {
  if (minus !== undefined) {
    return { kind: "NOT" };
  }
  if (bracket !== undefined) {
    return { kind: bracket };
  }
  if (OPERATORS.has(word)) {
    return { kind: word };
  }
  const text = (word ?? quoted).trim();
  const { terms } = tokenise(text);
  return terms.length === 0 ? null : { kind: "clause", text: text.toWellFormed(), terms };
}

/** One node for several, without the empty ones. */
function join(kind, parts) {
  const present = parts.filter((part) => part !== null);
  return present.length > 1 ? { kind, parts: present } : (present[0] ?? null);
}
