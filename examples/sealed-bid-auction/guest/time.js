/** Points in time. The clock is the operator's, who can set it; it decides who is late, and shows nobody a bid. */

import { Refusal } from "./refusal.js";

/** Milliseconds since 1970 of an RFC 3339 text. Its leap seconds pass the schema, and are no date in JavaScript. */
export function instantOf(text) {
  const instant = Date.parse(text);
  if (Number.isNaN(instant)) throw new Refusal("no-such-time", `${text} is no time that can be compared`);
  return instant;
}

/** Whether a deadline lies in the past; one that is not there does not. */
export function hasPassed(deadline, context) {
  return deadline !== undefined && context.ocall("time", null).unix_ms > instantOf(deadline);
}
