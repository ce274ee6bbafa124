// A register: each document gets the next number, and a signature that says so. The key is made in the enclave.

/** The next number for a document that is known by its digest; no document gets two. */
export function register({ sha256 }, context) {
  const { state, keys } = context;
  const known = state.get(`document ${sha256}`);
  if (known !== undefined) throw context.refuse("another-number", { number: known });
  const number = (state.get("last") ?? 0) + 1;
  state.put("last", number);
  state.put(`document ${sha256}`, number);
  const line = `register v1, number ${number}: ${sha256}`;
  return { line, signature: keys.sign("register", line).toBase64(), version: keys.public("register").version };
}

/** What everybody needs to check a signature: the key, in DER as base64. Evidence says whose it is. */
export function public_key(_, context) {
  const { spki, version } = context.keys.public("register");
  return { spki: spki.toBase64(), version };
}

/** A new key from now on; what was signed before stays signed. */
export const rotate = (_, context) => context.keys.rotate("register");
