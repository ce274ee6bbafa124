// `context.state`, `context.seal` and `context.unseal`: questions that the enclave answers by itself.
//
// Guards against: nothing that would harm the enclave, which checks each question again and ends a guest for a bad one.
// The checks here turn the same mistakes of an honest program into exceptions that it can catch.

function keyOf(key, what, least) {
  if (typeof key !== "string" || !isWellFormed(key)) throw new Misused(`${what} is a string, without lone surrogates`);
  const size = key.length <= keyLimit ? sizeOf(encode(key)) : key.length;
  if (size < least || size > keyLimit) {
    throw coded("state-limit", `${what} has ${size} bytes of UTF-8, want ${least} to ${keyLimit}`);
  }
  return key;
}

function valueOf(value, what) { // as bytes of JSON
  if (value === undefined) throw new Misused(`${what} is undefined, which is no JSON`);
  let text;
  try {
    text = textOf(value, valueLimit, what);
  } catch (thrown) {
    if (untellable(thrown) === "output-limit") throw coded("state-limit", told(thrown).message);
    throw new Misused(told(thrown).message);
  }
  return typeof text === "string" ? encode(text) : text;
}

function stateOf(call) {
  const key = (text) => keyOf(text, "a key of the state", 1);
  return freeze({
    get: (name) => ask(call, WANTED, { __proto__: null, do: "get", key: key(name) }, null),
    put(name, value) {
      ask(call, WANTED, { __proto__: null, do: "put", key: key(name) }, valueOf(value, "the value"));
    },
    delete: (name) => ask(call, WANTED, { __proto__: null, do: "delete", key: key(name) }, null),
    list(prefix = "", options = undefined) {
      const after = options?.after, limit = options?.limit ?? 1000;
      if (typeof limit !== "number" || !(limit >= 1 && limit <= listLimit) || limit % 1 !== 0) {
        throw new Misused(`limit is an integer from 1 to ${listLimit}`);
      }
      const head = {
        __proto__: null,
        do: "list",
        prefix: keyOf(prefix, "a prefix", 0),
        after: after === undefined || after === null ? null : keyOf(after, "after", 0),
        limit,
      };
      return ask(call, WANTED, head, null);
    },
    compareAndSet(name, expected, value) {
      const old = expected === undefined ? null : valueOf(expected, "the expected value");
      const set = value === undefined ? null : valueOf(value, "the value");
      const oldSize = old === null ? 0 : sizeOf(old), setSize = set === null ? 0 : sizeOf(set);
      const both = new Bytes(oldSize + setSize);
      if (old !== null) setBytes(both, old);
      if (set !== null) setBytes(both, set, oldSize);
      const head = {
        __proto__: null,
        do: "compare-and-set",
        key: key(name),
        expected: old === null ? null : oldSize,
        value: set === null ? null : setSize,
      };
      return ask(call, WANTED, head, both);
    },
  });
}

function sealer(call) {
  return function seal(value, policy) {
    if (granted.seal !== true) throw ungranted("seal", "context.seal");
    if (policy !== "mrenclave" && policy !== "mrsigner") throw new Misused('a policy is "mrenclave" or "mrsigner"');
    return ask(call, WANTED, { __proto__: null, do: "seal", policy }, valueOf(value, "the value"));
  };
}

function unsealer(call) {
  return function unseal(text) {
    if (granted.seal !== true) throw ungranted("seal", "context.unseal");
    if (typeof text !== "string") throw new Misused("a sealed text is a string");
    if (text.length > sealedLimit || sizeOf(encode(text)) !== text.length) {
      throw coded("state-refused", "no text that seal has made");
    }
    return ask(call, WANTED, { __proto__: null, do: "unseal" }, text);
  };
}
