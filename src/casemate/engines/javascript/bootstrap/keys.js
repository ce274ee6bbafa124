// `context.keys`: keys that the enclave keeps. A program has their names, and gets what they make.
//
// Guards against: nothing. The enclave checks each question again.

const BESIDE_LIMIT = 65536; // bytes of a signature, associated data or info

function bytesOf(data, what, limit) {
  const bytes = typeof data === "string" ? encode(data) : data;
  if (kindOf(bytes) !== "Uint8Array") throw new Misused(`${what} is a string or a Uint8Array`);
  if (sizeOf(bytes) > limit) throw new Misused(`${what} has ${sizeOf(bytes)} bytes, want at most ${limit}`);
  return bytes;
}

function integerOf(value, what) {
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" || !(value >= 0 && value < 2 ** 32) || value % 1 !== 0) {
    throw new Misused(`${what} is an integer from 0 to ${2 ** 32 - 1}`);
  }
  return value;
}

function keysOf(call) {
  function use(name, key, data = "", beside = "", { version, length } = {}) {
    if (typeof key !== "string" || key.length > 256) throw new Misused("a key's name is a string");
    const first = bytesOf(data, "what a key is used on", valueLimit + (name === "decrypt" ? 1024 : 0));
    const second = bytesOf(beside, "what goes with it", BESIDE_LIMIT), size = sizeOf(first);
    const text = new Bytes(size + sizeOf(second));
    setBytes(text, first);
    setBytes(text, second, size);
    const numbers = { version: integerOf(version, "a version"), length: integerOf(length, "a length") };
    const said = ask(call, WANTED, { __proto__: null, do: "key", use: name, key: words(key, ""), size, ...numbers }, text);
    return typeof said === "string" ? fromBase64(said) : said;
  }
  return freeze({
    sign: (key, data) => use("sign", key, data),
    verify: (key, data, signature, options) => use("verify", key, data, signature, options),
    mac: (key, data) => use("mac", key, data),
    encrypt: (key, data, associated) => use("encrypt", key, data, associated),
    decrypt: (key, text, associated) => use("decrypt", key, text, associated),
    derive: (key, info, options) => use("derive", key, info, "", options),
    agree: (key, peer, info, options) => use("agree", key, peer, info, options),
    public(key, options) {
      const said = use("public", key, "", "", options);
      said.spki = fromBase64(said.spki);
      return said;
    },
    rotate: (key) => use("rotate", key),
    retire: (key, version) => use("retire", key, "", "", { version }),
  });
}
