/// <reference path="../casemate.d.ts" />
// @ts-check
// The entry points of this enclave: each function that casemate.toml names under [entry] is exported here.
// There is no network, no file and no clock to trust. What comes in is `input`; what goes out is the result.

import { log10OfGuesses } from "./guesses.js";

const LEAST = 4; // characters
const DAY_OF_FAST_GUESSING = 15; // 10^15 guesses: a day of 10^10 guesses a second
const YEARS_OF_FAST_GUESSING = 18;

/**
 * Rates a password, which nobody but this function sees.
 *
 * @param {{password: string}} input as schemas/rate.input.json says; it has been checked
 * @param {Casemate.Context} context who calls, what, and the ways out of here: `casemate docs writing-functions`
 * @returns what schemas/rate.output.json declares; anything else is dropped before it leaves the enclave
 */
export function rate(input, context) {
  if (input.password.length < LEAST) throw context.refuse("too-short", { least: LEAST }); // see [errors]
  // const { unix_ms } = context.ocall("time", null); // the operator's word: see [ocall.time]
  // const longEnough = input.password.length >= context.ocall("minimum_length", null); // see handlers.py
  const log10 = log10OfGuesses(input.password);
  return {
    verdict: log10 < DAY_OF_FAST_GUESSING ? "weak" : log10 < YEARS_OF_FAST_GUESSING ? "fair" : "strong",
    guesses_log10: Math.round(log10 * 10) / 10,
    advice: advice(input.password, log10),
    rated_for: context.caller?.name ?? "anyone",
    password: input.password, // not declared in the output's schema, so it never gets out: try it
  };
}

/**
 * What would make the password better.
 *
 * @param {string} password
 * @param {number} log10
 */
function advice(password, log10) {
  const lines = [];
  if (log10 < 5) lines.push("This is one of the passwords that are tried first.");
  if (password.length < 14) lines.push("Make it longer: four or five unrelated words are easy to remember.");
  return lines;
}
