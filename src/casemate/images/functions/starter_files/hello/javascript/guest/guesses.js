// How many guesses a password withstands, roughly: its place among common ones, else all texts of its kind.

import common from "./common.json" with { type: "json" };

const KINDS = [
  [/[a-z]/, 26],
  [/[A-Z]/, 26],
  [/[0-9]/, 10],
  [/[^a-zA-Z0-9]/, 33],
];

/** The decimal logarithm of the number of guesses. */
export function log10OfGuesses(password) {
  const place = common.indexOf(password.toLowerCase());
  if (place >= 0) return Math.log10(place + 1);
  const letters = KINDS.reduce((sum, [kind, size]) => sum + (kind.test(password) ? size : 0), 0);
  return new Set(password).size * Math.log10(letters); // a repeated letter adds nothing
}
