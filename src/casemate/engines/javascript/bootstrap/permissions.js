// What a program may use only if its manifest's `permissions` name it: chance, the clock, the console, seals.
//
// Guards against: a program that finds a source of chance or of time without the grant. What is refused here is not a
// secret, and refusing it protects nobody from a program that has taken over the engine; it makes an image's manifest
// tell what its code can depend on. docs/writing-functions.md lists what is left.

const granted = create(null);
let grants = null; // their names, frozen: `context.permissions`

function grant(permissions) {
  grants = freeze(permissions);
  for (let number = 0; number < permissions.length; number++) granted[permissions[number]] = true;
}

function ungranted(permission, what) {
  const line = `add permissions = [${stringify(permission)}, ...] to [enclave] in casemate.toml`;
  return new Misused(`${what} needs the permission ${stringify(permission)}: ${line}`);
}

// To be called before the program runs, and after its modules have got their URLs.
function withhold(usesTemporal) {
  if (granted.random !== true) withholdChance();
  if (granted.now !== true) stopTheClock(usesTemporal);
}

// Operations of crypto.subtle that draw nothing, by the name of the algorithm in lower case. All others that sign,
// encrypt or wrap draw a nonce, a salt or a seed: ECDSA, RSA-PSS, RSA-OAEP, ML-DSA, SLH-DSA.
const SURE_SIGNATURES = { __proto__: null, "hmac": true, "kmac128": true, "kmac256": true, "rsassa-pkcs1-v1_5": true,
  "ed25519": true };
const SURE_CIPHERS = { __proto__: null, "aes-cbc": true, "aes-ctr": true, "aes-gcm": true, "aes-kw": true,
  "aes-ocb": true, "chacha20-poly1305": true };
const PARAMETERS = ["iv", "counter", "length", "additionalData", "tagLength", "outputLength", "customization"];

// An algorithm whose name and parameters cannot change any more; what the program hands over may have getters.
function fixedAlgorithm(given, sure, what) {
  const isObject = typeof given === "object" && given !== null;
  const name = Text(isObject ? given.name : given);
  if (sure[lowerCase(name)] !== true) throw ungranted("random", `${what} with ${words(name, "")}`);
  const fixed = { __proto__: null, name };
  for (let number = 0; isObject && number < PARAMETERS.length; number++) {
    const parameter = PARAMETERS[number], value = given[parameter];
    if (value !== undefined) fixed[parameter] = value;
  }
  return fixed;
}

function withholdChance() {
  const refuse = (object, name, what) => redefine(object, name, { [name]() {
    throw ungranted("random", what);
  } }[name]);
  const refuseLater = (name) => redefine(subtle, name, { async [name]() {
    throw ungranted("random", `crypto.subtle.${name}`);
  } }[name]);
  const subtle = SubtleCrypto.prototype;
  refuse(Math, "random", "Math.random");
  refuse(Crypto.prototype, "getRandomValues", "crypto.getRandomValues");
  refuse(Crypto.prototype, "randomUUID", "crypto.randomUUID");
  refuse(URL, "createObjectURL", "URL.createObjectURL");
  refuseLater("generateKey");
  refuseLater("encapsulateBits");
  refuseLater("encapsulateKey");
  const { sign, encrypt, wrapKey } = subtle;
  redefine(subtle, "sign", { async sign(algorithm, key, data) {
    return await apply(sign, this, [fixedAlgorithm(algorithm, SURE_SIGNATURES, "crypto.subtle.sign"), key, data]);
  } }.sign);
  redefine(subtle, "encrypt", { async encrypt(algorithm, key, data) {
    return await apply(encrypt, this, [fixedAlgorithm(algorithm, SURE_CIPHERS, "crypto.subtle.encrypt"), key, data]);
  } }.encrypt);
  redefine(subtle, "wrapKey", { async wrapKey(format, key, wrapping, algorithm) {
    const fixed = fixedAlgorithm(algorithm, SURE_CIPHERS, "crypto.subtle.wrapKey");
    return await apply(wrapKey, this, [format, key, wrapping, fixed]);
  } }.wrapKey);
}
