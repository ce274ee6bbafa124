/// <reference path="../casemate.d.ts" />
// @ts-check
// The operations of this service: tallies by their names.

/**
 * Adds to a tally; it is kept when the call returns.
 *
 * @param {{name: string, by: number}} input as schemas/add.input.json says; it has been checked
 * @param {Casemate.Context} context who calls, what, and the ways out of here: `casemate docs writing-functions`
 */
export function add({ name, by }, context) {
  const tally = (context.state.get(`tally ${name}`) ?? 0) + by;
  context.state.put(`tally ${name}`, tally);
  return { tally };
}

/**
 * Tells a tally.
 *
 * @param {{name: string}} input
 * @param {Casemate.Context} context
 */
export function tell({ name }, context) {
  const tally = context.state.get(`tally ${name}`);
  if (tally === undefined) throw context.refuse("no-such-tally", { name }); // see [errors]
  return { tally };
}
