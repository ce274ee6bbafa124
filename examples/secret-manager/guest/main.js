/**
 * Secrets with an owner, versions, readers and a window of time.
 *
 * Owners are the callers whom the manifest admits to put, rotate, share, remove and audit. A secret belongs to the owner
 * who put it, and every key of the state begins with its owner's name, so that no argument can name another's. Readers
 * are named by the manifest's names, or by their keys.
 *
 * Every entry point refuses before it writes. A reader whom a secret is not shared with gets the answer that there is no
 * such secret, and nothing is written for it: a receipt tells how often the state has changed.
 */

import { entriesOf, note } from "./audit.js";
import { cleanName } from "./names.js";
import { idsOf, isReader } from "./readers.js";
import { answering, Refusal } from "./refusal.js";
import * as store from "./store.js";
import { instantOf, now } from "./time.js";

/** Versions that stay readable, the current one among them. */
const KEPT_VERSIONS = 5;

/** Secrets of one owner. */
const MAX_SECRETS = 100;

/** Secrets of others that `list` shows. */
const MAX_SHARED = 500;

/**
 * Keeps a new secret.
 *
 * @param {{name: string, value: string, readers?: string[], not_before?: string, not_after?: string}} input
 */
export const put = answering((input, context) => {
  const { state, caller } = context;
  const name = cleanName(input.name);
  const window = windowOf(input);
  if (store.secretOf(state, caller.name, name) !== undefined) {
    throw new Refusal("already-there", `you have a secret ${JSON.stringify(name)} already; rotate it, or remove it`);
  }
  if (store.namesOf(state, caller.name).length >= MAX_SECRETS) {
    throw new Refusal("too-many", `you have ${MAX_SECRETS} secrets, and that is all there may be`);
  }
  const secret = {
    id: store.nextId(state),
    owner: caller.name,
    name,
    version: 1,
    kept: [1],
    readers: input.readers ?? [],
    ...window,
  };
  store.keepValue(state, secret, 1, input.value);
  store.keep(state, secret);
  note(context, "put", secret, 1);
  return { name, version: 1 };
});

/**
 * Gives a secret a new value. Some earlier ones stay readable, for those who have not heard yet.
 *
 * @param {{name: string, value: string, forget_earlier?: boolean}} input
 */
export const rotate = answering((input, context) => {
  const { state } = context;
  const before = own(input.name, context);
  const version = before.version + 1;
  const kept = input.forget_earlier ? [version] : [...before.kept, version].slice(-KEPT_VERSIONS);
  for (const old of before.kept) if (!kept.includes(old)) store.dropValue(state, before, old);
  const secret = { ...before, version, kept };
  store.keepValue(state, secret, version, input.value);
  store.keep(state, secret);
  note(context, "rotated", secret, version);
  return { name: secret.name, version };
});

/**
 * Says anew who may read, and when: this replaces what was said before.
 *
 * @param {{name: string, readers: string[], not_before?: string, not_after?: string}} input
 */
export const share = answering((input, context) => {
  const { id, owner, name, version, kept } = own(input.name, context);
  const secret = { id, owner, name, version, kept, readers: input.readers, ...windowOf(input) };
  store.keep(context.state, secret);
  note(context, "shared", secret, version);
  return { name, version };
});

/**
 * Removes a secret with all its versions. What is in the audit stays there.
 *
 * @param {{name: string}} input
 */
export const remove = answering((input, context) => {
  const secret = own(input.name, context);
  store.drop(context.state, secret);
  note(context, "removed", secret, secret.version);
  return { name: secret.name, version: secret.version };
});

/**
 * The value of a secret: of the caller's own, or of another's who shares it. The audit's line is committed before the
 * answer leaves, so no reader goes without one.
 *
 * @param {{owner: string, name: string, version?: number}} input
 */
export const read = answering((input, context) => {
  const { state, caller } = context;
  const name = cleanName(input.name);
  const secret = store.secretOf(state, input.owner, name);
  const isOwner = secret !== undefined && caller?.name === secret.owner;
  if (secret === undefined || !(isOwner || isReader(caller, secret.readers))) {
    throw new Refusal("unknown-secret", `${input.owner} shares no secret ${JSON.stringify(name)} with you`);
  }
  const version = input.version ?? secret.version;
  const told = now(context);
  if (!isOwner && secret.not_before !== undefined && told < instantOf(secret.not_before)) {
    note(context, "refused-early", secret, version);
    throw new Refusal("too-early", `this secret may be read from ${secret.not_before}`);
  }
  if (!isOwner && secret.not_after !== undefined && told > instantOf(secret.not_after)) {
    note(context, "refused-late", secret, version);
    throw new Refusal("too-late", `this secret could be read until ${secret.not_after}`);
  }
  if (!secret.kept.includes(version)) {
    throw new Refusal("unknown-version", `version ${version} is not kept; these are: ${secret.kept.join(", ")}`);
  }
  note(context, "read", secret, version);
  return { owner: secret.owner, name, version, value: store.valueOf(state, secret, version) };
});

/** The caller's own secrets, and those of others that are shared with it. Values are not among it. */
export function list(_input, { state, caller }) {
  const names = store.namesOf(state, caller?.name ?? null);
  const mine = names.map((name) => store.secretOf(state, caller.name, name));
  const others = store.sharedWith(state, idsOf(caller), MAX_SHARED);
  return {
    own: mine.map(({ name, version, kept, readers, ...window }) => ({ name, version, kept, readers, ...times(window) })),
    shared: others.map(({ owner, name, version, ...window }) => ({ owner, name, version, ...times(window) })),
  };
}

/**
 * Who did what with the caller's secrets, in order.
 *
 * @param {{after?: number, limit?: number}} input
 */
export const audit = answering((input, { state, caller }) => entriesOf(state, caller.name, input));

const times = ({ not_before, not_after }) => ({ not_before, not_after });

/** A secret of the caller's own. */
function own(text, { state, caller }) {
  const name = cleanName(text);
  const secret = store.secretOf(state, caller.name, name);
  if (secret === undefined) throw new Refusal("unknown-secret", `you have no secret ${JSON.stringify(name)}`);
  return secret;
}

/** The window of time that the arguments say; both ends are optional. */
function windowOf({ not_before, not_after }) {
  const from = not_before === undefined ? -Infinity : instantOf(not_before);
  const to = not_after === undefined ? Infinity : instantOf(not_after);
  if (from > to) throw new Refusal("empty-window", `nobody could read from ${not_before} until ${not_after}`);
  return { not_before, not_after };
}
