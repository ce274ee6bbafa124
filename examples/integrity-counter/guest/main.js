/**
 * A counter for each caller, up to a limit: uses of a licence, tickets of a booklet, tries of a code.
 *
 * It counts in the sealed state, so the operator can neither read nor change a count, and an older copy of the disk is
 * refused: nobody gets used tickets back.
 */

import limits from "./limits.json" with { type: "json" };
import { answering, Refusal } from "./refusal.js";

/**
 * Counts the caller's counter up.
 *
 * @param {{by?: number}} input
 */
export const increment = answering(({ by = 1 }, { caller, state }) => {
  const { value, limit } = counterOf(caller, state);
  if (by > limit - value) {
    throw new Refusal("limit-reached", `${value} of ${limit} are used, ${by} more are too many`);
  }
  state.put(keyOf(caller), value + by);
  return { value: value + by, limit, left: limit - value - by };
});

/** Where the caller's counter stands. */
export function read(_input, { caller, state }) {
  const { value, limit } = counterOf(caller, state);
  return { value, limit, left: Math.max(limit - value, 0) };
}

function counterOf(caller, state) {
  const limit = Object.hasOwn(limits.callers, caller.name) ? limits.callers[caller.name] : limits.default;
  return { value: state.get(keyOf(caller)) ?? 0, limit };
}

/** The manifest admits named callers alone, so there is always a name; two callers never share one. */
const keyOf = (caller) => `count/${caller.name}`;
