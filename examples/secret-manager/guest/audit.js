/**
 * What happened to an owner's secrets. The order is the enclave's own, the times are what the host said: an operator who
 * sets the clock moves the times, and cannot reorder or drop an entry.
 */

import { now } from "./time.js";

/** Entries that are kept for each owner; then the oldest go. */
export const MAX_ENTRIES = 1000;

/** Entries in an answer, where none are asked for. */
const DEFAULT_LIMIT = 100;

/**
 * Adds an entry.
 *
 * @param {"put" | "rotated" | "shared" | "removed" | "read" | "refused-early" | "refused-late"} action
 */
export function note(context, action, { owner, name }, version) {
  const { state, caller } = context;
  const number = lastOf(state, owner) + 1;
  const host_said = new Date(now(context)).toISOString();
  state.put(entryKey(owner, number), { number, host_said, who: caller.name ?? caller.key, action, name, version });
  state.delete(entryKey(owner, number - MAX_ENTRIES));
  state.put(lastKey(owner), number);
}

/** The entries after a number, and the number of the last one there is. */
export function entriesOf(state, owner, { after = 0, limit = DEFAULT_LIMIT }) {
  const last = lastOf(state, owner);
  const entries = [];
  for (let number = Math.max(after, last - MAX_ENTRIES) + 1; number <= last && entries.length < limit; number += 1) {
    entries.push(state.get(entryKey(owner, number)));
  }
  return { entries, last };
}

const lastOf = (state, owner) => state.get(lastKey(owner)) ?? 0;
const lastKey = (owner) => `last-audit/${owner}`;
const entryKey = (owner, number) => `audit/${owner}/${number}`;
