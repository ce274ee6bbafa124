/**
 * Where secrets stand in the sealed state.
 *
 *     last-id                      the last number given to a secret
 *     secret/OWNER/NAME            who may read it, which versions there are
 *     value/ID/VERSION             a value
 *     grant/READER/ID              [owner, name]: what is shared with a reader
 *
 * Owners' names have no slash, and readers' keys all one length, so no prefix covers another's. The number belongs to one
 * secret for ever: a new secret of an old name has none of the old one's values and grants.
 */

/** @typedef {{id: number, owner: string, name: string, version: number, kept: number[], readers: string[],
 *   not_before?: string, not_after?: string}} Secret */

/** A number that no secret has had. */
export function nextId(state) {
  const id = (state.get("last-id") ?? 0) + 1;
  state.put("last-id", id);
  return id;
}

/** @returns {Secret | undefined} */
export function secretOf(state, owner, name) {
  return state.get(secretKey(owner, name));
}

/** The names of an owner's secrets; none for a caller without a name. */
export function namesOf(state, owner) {
  if (owner === null) return [];
  const prefix = secretKey(owner, "");
  return everyKey(state, prefix).map((key) => key.slice(prefix.length));
}

/** Keeps what is known of a secret, and who may read it in place of who could before. */
export function keep(state, secret) {
  const before = secretOf(state, secret.owner, secret.name)?.readers ?? [];
  for (const reader of before) if (!secret.readers.includes(reader)) state.delete(grantKey(reader, secret.id));
  for (const reader of secret.readers) state.put(grantKey(reader, secret.id), [secret.owner, secret.name]);
  state.put(secretKey(secret.owner, secret.name), secret);
}

/** Forgets a secret with its values and grants. */
export function drop(state, secret) {
  for (const reader of secret.readers) state.delete(grantKey(reader, secret.id));
  for (const version of secret.kept) dropValue(state, secret, version);
  state.delete(secretKey(secret.owner, secret.name));
}

/** What is shared with a caller who goes by these names, each secret once. */
export function sharedWith(state, ids, most) {
  const found = new Map();
  for (const id of ids) {
    for (const key of everyKey(state, grantKey(id, ""))) {
      if (found.size === most) return [...found.values()];
      const [owner, name] = state.get(key);
      const secret = secretOf(state, owner, name);
      found.set(secret.id, secret);
    }
  }
  return [...found.values()];
}

export const keepValue = (state, { id }, version, value) => state.put(valueKey(id, version), value);
export const dropValue = (state, { id }, version) => state.delete(valueKey(id, version));
export const valueOf = (state, { id }, version) => state.get(valueKey(id, version));

const secretKey = (owner, name) => `secret/${owner}/${name}`;
const valueKey = (id, version) => `value/${id}/${version}`;
const grantKey = (reader, id) => `grant/${reader}/${id}`;

/** All keys with a prefix, a page at a time. */
function everyKey(state, prefix) {
  const keys = [];
  for (let page = state.list(prefix, { limit: PAGE }); page.length > 0; ) {
    keys.push(...page);
    if (page.length < PAGE) break;
    page = state.list(prefix, { limit: PAGE, after: page.at(-1) });
  }
  return keys;
}

const PAGE = 500;
