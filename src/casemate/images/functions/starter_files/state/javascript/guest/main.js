/// <reference path="../casemate.d.ts" />
// @ts-check
// The entry point of this enclave: a budget for each caller, which neither the caller nor the operator can set back.

import limits from "./limits.json" with { type: "json" };

/**
 * Spends a part of the caller's budget.
 *
 * What a call writes is kept when it returns, all of it or nothing. A call that is refused keeps nothing.
 *
 * @param {{amount: number}} input as schemas/spend.input.json says; it has been checked
 * @param {Casemate.Context} context who calls, what, and the ways out of here: `casemate docs writing-functions`
 */
export function spend(input, context) {
  const key = `spent/${context.caller?.key ?? "anyone"}`; // the enclave has verified the signature of that key
  const spent = context.state.get(key) ?? 0;
  const left = limits.budget - spent;
  if (input.amount > left) throw context.refuse("budget-spent", { left }); // see [errors]
  if (input.amount > 0) context.state.put(key, spent + input.amount);
  return { left: left - input.amount };
}
