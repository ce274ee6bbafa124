/** Points in time. The clock is the operator's: a window keeps honest people on time, and holds nobody off who has it. */

import { Refusal } from "./refusal.js";

/** Milliseconds since 1970 of an RFC 3339 text. Its leap seconds pass the schema, and are no date in JavaScript. */
export function instantOf(text) {
  const instant = Date.parse(text);
  if (Number.isNaN(instant)) throw new Refusal("no-such-time", `${text} is no time that can be compared`);
  return instant;
}

/** What the host says the time is (milliseconds since 1970). */
export const now = (context) => context.ocall("time", null).unix_ms;
