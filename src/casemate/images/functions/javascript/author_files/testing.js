/**
 * What a function is given in an enclave, for tests without one: who calls, a sealed state, seals, a host's answers.
 *
 *     import { FakeEnclave } from "casemate/testing";
 *     const enclave = new FakeEnclave({ errors: ["budget-spent"] });
 *     const result = await enclave.call(increment, {}, "alice");
 *
 * It checks no schema and admits every caller, and it cannot take `Math.random`, `Date` or `console` away: the
 * manifest's part is for tests in an enclave.
 */

import { createHash, createHmac } from "node:crypto";

const MAX_KEY = 256; // bytes of UTF-8
const MAX_VALUE = 1024 * 1024; // bytes of JSON
const MAX_LISTED = 10_000; // keys

const NO_APPRAISE = "this needs the table [appraise]: add it with the day of the build to casemate.toml";

const NO_KEYS = "context.keys needs a table [keys.NAME]: add one with purpose and algorithm to casemate.toml";
const USES = {
  sign: ["sign", "verify", "public"],
  mac: ["mac", "verify"],
  encrypt: ["encrypt", "decrypt"],
  derive: ["derive"],
  agree: ["agree", "public"],
};

/** Stands for keys that never leave an enclave. What it makes has no meaning elsewhere: all of it is HMAC-SHA-256. */
class FakeKeys {
  #keys = new Map();
  #opened = new Map();

  constructor(given) {
    for (const [name, [purpose, algorithm]] of Object.entries(given)) {
      this.#keys.set(name, { name, purpose, algorithm, newest: 1, versions: new Map([[1, crypto.randomUUID()]]) });
    }
  }

  sign = (name, data) => this.#made(name, "sign", null, data);
  mac = (name, data) => this.#made(name, "mac", null, data);
  derive = (name, info, { length = 32, version = null } = {}) => {
    const made = this.#made(name, "derive", version, info);
    return Uint8Array.from({ length }, (_, at) => made[at % made.length]);
  };
  agree = (name, peer, info = "", { version = null } = {}) => {
    const mine = this.public(name, { version }).spki.toHex();
    return hmac("agree", `${[mine, dataOf(peer).toHex()].sort().join()} ${dataOf(info).toHex()}`);
  };
  verify = (name, data, signature, { version = null } = {}) => {
    const key = this.#key(name, "verify"), tried = version === null ? [...key.versions.keys()] : [version];
    const wanted = dataOf(signature).toHex();
    return tried.some((each) => hmac(key.versions.get(each) ?? "", data).toHex() === wanted);
  };
  public = (name, { version = null } = {}) => {
    const key = this.#key(name, "public"), number = version ?? key.newest;
    const spki = hmac("public", this.#secret(key, number));
    const { algorithm, purpose } = key;
    return { algorithm, purpose, version: number, versions: [...key.versions.keys()].sort((a, b) => a - b), spki };
  };
  encrypt = (name, data, associated = "") => {
    const key = this.#key(name, "encrypt"), text = crypto.getRandomValues(new Uint8Array(48));
    const made = { name, version: key.newest, associated: dataOf(associated).toHex(), data: dataOf(data) };
    this.#opened.set(text.toHex(), made);
    return text;
  };
  decrypt = (name, text, associated = "") => {
    const key = this.#key(name, "decrypt"), made = this.#opened.get(dataOf(text).toHex());
    const opens = made?.name === name && key.versions.has(made.version) && made.associated === dataOf(associated).toHex();
    if (!opens) throw named("cannot-open", `key '${name}' has not made this text with these associated data`);
    return made.data.slice();
  };
  rotate = (name) => {
    const key = this.#key(name, "rotate");
    key.versions.set(++key.newest, crypto.randomUUID());
    return key.newest;
  };
  retire = (name, version) => {
    const key = this.#key(name, "retire");
    if (version === key.newest) throw new TypeError(`version ${version} of key '${name}' is the newest: rotate it before`);
    return key.versions.delete(version);
  };

  #key(name, use) {
    const key = this.#keys.get(name);
    if (this.#keys.size === 0) throw new TypeError(NO_KEYS);
    if (key === undefined) throw new TypeError(`casemate.toml has no [keys.${name}]`);
    if (![...USES[key.purpose], "rotate", "retire"].includes(use)) {
      throw new TypeError(`key '${name}' is for '${key.purpose}', not ${use}`);
    }
    return key;
  }

  #secret(key, version) {
    if (!key.versions.has(version)) throw new TypeError(`key '${key.name}' has no version ${version}`);
    return key.versions.get(version);
  }

  #made(name, use, version, data) {
    const key = this.#key(name, use);
    return hmac(this.#secret(key, version ?? key.newest), data);
  }
}

function dataOf(data) {
  if (typeof data === "string") return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return data.slice();
  throw new TypeError("what a key is used on is a string or a Uint8Array");
}

const hmac = (secret, data) => new Uint8Array(createHmac("sha256", secret).update(dataOf(data)).digest());

/** The key of a caller who is called that; any 32 bytes will do. */
export function keyOf(name) {
  const bytes = new Uint8Array(32);
  new TextEncoder().encodeInto(name, bytes);
  return `ed25519:${btoa(String.fromCharCode(...bytes))}`;
}

/** A caller who signs with a key that the manifest does not name. */
export const stranger = (name) => ({ name: null, key: keyOf(name) });

/** What a caller gets who is refused with an error of the function's own. */
export class FunctionRefusedError extends Error {
  name = "FunctionRefusedError";

  constructor(code, details) {
    super(`the function refuses the call: ${code}`);
    this.code = code;
    this.details = details;
  }
}

export class FakeEnclave {
  /** What a host would say that it is (milliseconds since 1970). */
  now = Date.UTC(2026, 0, 1);
  /** The committed state: key to JSON. */
  committed = new Map();
  /** How often the state was committed. */
  epoch = 0;
  /** The service's configuration, in calls from now on; null where there is none. */
  configuration = null;
  #errors;
  #ocalls;
  #permissions;
  #sealed = new Map();
  #runs;
  #others;
  #appraises;
  #keys;
  #nonces = new Set();
  #secrets = new Map();

  /**
   * @param {object} given
   * @param {string[]} [given.errors] the names under the manifest's [errors]
   * @param {Record<string, (argument: any) => unknown>} [given.ocalls] the host's answers; `time` is answered from `now`
   * @param {(engine: string, code: any, entry: string, argument: any, limits: any) => unknown} [given.runs] stands for
   *   code that callers bring: it returns the result, or throws; absent where there is no [run]
   * @param {Record<string, (operation: string, argument: any) => unknown>} [given.others] stand for other enclaves, by NAME
   *   of [uses.NAME]: they return the result, or throw
   * @param {(evidence: any, policy: any) => object} [given.appraises] stands for the verifier: it returns the claims, or
   *   throws; absent where there is no [appraise]
   * @param {{[name: string]: [string, string]}} [given.keys] purpose and algorithm of each [keys.NAME]
   * @param {any} [given.configuration] the service's
   * @param {string[]} [given.permissions] the manifest's; of these, "seal" changes what is there
   */
  constructor({ errors = [], ocalls = {}, permissions = [], runs, others = {}, appraises, keys = {}, configuration = null } = {}) {
    this.configuration = configuration;
    this.#keys = new FakeKeys(keys);
    this.#appraises = appraises;
    this.#others = others;
    this.#runs = runs;
    this.#errors = new Set(errors);
    this.#ocalls = { time: () => ({ unix_ms: this.now }), ...ocalls };
    this.#permissions = new Set(permissions);
  }

  /**
   * One call: what it changes is committed if it returns, and dropped if it throws.
   *
   * @param {Function} entry
   * @param {unknown} input
   * @param {string | {name: string | null, key: string} | null} caller a name stands for a caller of that name
   * @returns {Promise<any>} the result
   * @throws {FunctionRefusedError} the function threw what `context.refuse` made; anything else it threw is thrown as it is
   */
  async call(entry, input, caller = null) {
    return await this.#during(entry, caller, async (context) => await entry(structuredClone(input), context));
  }

  /**
   * One stream, from its first chunk to its end.
   *
   * @param {Function} entry an async generator function
   * @param {unknown} input
   * @param {Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>} chunks what is sent in
   * @param {string | {name: string | null, key: string} | null} caller as in `call`
   * @returns {Promise<{result: any, output: Uint8Array}>} and throws as `call` does
   */
  async stream(entry, input, chunks = [], caller = null) {
    const pieces = [];
    const result = await this.#during(entry, caller, async (context) => {
      const steps = entry(structuredClone(input), context, bytesOf(chunks));
      for (;;) {
        const { done, value } = await steps.next();
        if (done) return value;
        pieces.push(asBytes(value));
      }
    });
    return { result, output: new Uint8Array(await new Blob(pieces).arrayBuffer()) };
  }

  async #during(entry, caller, run) {
    const state = new FakeState(this.committed), refusals = new WeakMap();
    let result;
    try {
      const returned = await run(this.#contextOf(entry.name, caller, state, refusals));
      result = JSON.parse(jsonOf(returned, "the result"));
    } catch (thrown) {
      const refusal = typeof thrown === "object" && thrown !== null ? refusals.get(thrown) : undefined;
      throw refusal === undefined ? thrown : new FunctionRefusedError(refusal.code, refusal.details);
    } finally {
      state.isOver = true;
    }
    if (state.changed) {
      this.committed = state.entries;
      this.epoch += 1;
    }
    return result;
  }

  #contextOf(entry, caller, state, refusals) {
    const whileItLasts = (method) => (...given) => {
      if (state.isOver) throw new Error("this call is over");
      return method(...given);
    };
    const configured = jsonOf(this.configuration, "the configuration");
    return Object.freeze({
      entry,
      caller: typeof caller === "string" ? { name: caller, key: keyOf(caller) } : caller,
      trace: sha256(`trace ${crypto.randomUUID()}`).slice(0, 32),
      deadline: 1000,
      permissions: Object.freeze([...this.#permissions].sort()),
      get config() {
        return JSON.parse(configured);
      },
      ocall: whileItLasts((name, argument) => this.#answer(name, argument)),
      state: Object.freeze(Object.fromEntries(
        ["get", "put", "delete", "list", "compareAndSet"].map((name) =>
          [name, whileItLasts((...given) => state[name](...given))]),
      )),
      seal: whileItLasts((value, policy) => this.#seal(value, policy)),
      unseal: whileItLasts((text) => this.#unseal(text)),
      call: whileItLasts((...given) => this.#call(...given)),
      run: whileItLasts((...given) => this.#run(...given)),
      nonce: whileItLasts(() => this.#nonce()),
      keys: Object.freeze(Object.fromEntries(Object.entries(this.#keys).map(([use, f]) => [use, whileItLasts(f)]))),
      appraise: whileItLasts((...given) => this.#appraise(...given)),
      open: whileItLasts((text) => this.#open(text)),
      refuse: (code, details) => this.#refuse(code, details, refusals),
    });
  }

  #answer(name, argument) {
    if (typeof name !== "string") throw new TypeError("an OCALL's name is a string");
    const sent = JSON.parse(jsonOf(argument, "the OCALL's argument"));
    if (!Object.hasOwn(this.#ocalls, name)) throw named("ocall-refused", `no OCALL ${name}`);
    return JSON.parse(jsonOf(this.#ocalls[name](sent), `the answer to OCALL ${name}`));
  }

  #call(service, operation, argument = null) {
    const other = Object.hasOwn(this.#others, service) ? this.#others[service] : undefined;
    if (other === undefined) throw new TypeError(`casemate.toml has no [uses.${service}]`);
    return JSON.parse(jsonOf(other(operation, JSON.parse(jsonOf(argument, "the argument"))), "the result"));
  }

  #run(engine, code, entry, argument = null, limits = {}) {
    const asked = JSON.parse(jsonOf([engine, code, entry, argument, limits], "what to run"));
    if (this.#runs === undefined) throw new TypeError("context.run needs the table [run]: add it to casemate.toml");
    const metrics = { wall_us: 0, cpu_us: null, peak_kib: null };
    const sources = typeof code === "string" ? { [engine === "python" ? "main.py" : "main.js"]: code } : code;
    const lines = Object.keys(sources).sort().map((path) => `${sha256(sources[path])}  ${path}\n`);
    return { result: JSON.parse(jsonOf(this.#runs(...asked), "the result")), code_sha256: sha256(lines.join("")), metrics };
  }

  #nonce() {
    if (this.#appraises === undefined) throw new TypeError(NO_APPRAISE);
    const nonce = sha256(`nonce ${crypto.randomUUID()}`);
    this.#nonces.add(nonce);
    return nonce;
  }

  #appraise(evidence, policy, nonce = null) {
    const asked = JSON.parse(jsonOf([evidence, policy], "what to appraise"));
    if (this.#appraises === undefined) throw new TypeError(NO_APPRAISE);
    if (nonce !== null && !this.#nonces.delete(nonce)) {
      const refused = { rule: "nonce.drawn", got: "a nonce that waits for no evidence", want: "one of context.nonce()" };
      throw Object.assign(named("appraisal-refused", `${refused.rule}: got ${refused.got}`), refused);
    }
    const claims = JSON.parse(jsonOf(this.#appraises(...asked), "the claims"));
    const seal = (value) => {
      const text = btoa(`sealed for an appraised enclave: ${this.#secrets.size}`);
      this.#secrets.set(text, jsonOf(value, "the value"));
      return text;
    };
    return Object.freeze(Object.defineProperty(claims, "seal", { value: seal }));
  }

  #open(text) {
    if (typeof text !== "string") throw new TypeError("a sealed secret is a string");
    if (!this.#secrets.has(text)) throw named("cannot-open", "no text that claims.seal has made");
    return JSON.parse(this.#secrets.get(text));
  }

  #seal(value, policy) {
    this.#needs("seal", "context.seal");
    if (policy !== "mrenclave" && policy !== "mrsigner") throw new TypeError('a policy is "mrenclave" or "mrsigner"');
    if (value === undefined) throw new TypeError("the value is undefined, which is no JSON");
    const text = btoa(`sealed by a fake enclave, ${policy}: ${this.#sealed.size}`);
    this.#sealed.set(text, jsonOf(value, "the value"));
    return text;
  }

  #unseal(text) {
    this.#needs("seal", "context.unseal");
    if (typeof text !== "string") throw new TypeError("a sealed text is a string");
    if (!this.#sealed.has(text)) throw named("state-refused", "no text that seal has made");
    return JSON.parse(this.#sealed.get(text));
  }

  #refuse(code, details, refusals) {
    if (typeof code !== "string") throw new TypeError("a refusal's code is a string");
    if (!this.#errors.has(code)) {
      const name = JSON.stringify(code);
      throw new TypeError(`no error is declared as ${name}: add it to [errors] in casemate.toml, with its words`);
    }
    const told = details === undefined ? undefined : JSON.parse(jsonOf(details, "what a refusal tells"));
    const error = named("Refusal", `the call is refused: ${code}`);
    Object.defineProperty(error, "code", { value: code, enumerable: true });
    refusals.set(error, { code, details: told });
    return Object.freeze(error);
  }

  #needs(permission, what) {
    if (this.#permissions.has(permission)) return;
    const line = `add permissions = ["${permission}", ...] to [enclave] in casemate.toml`;
    throw new TypeError(`${what} needs the permission "${permission}": ${line}`);
  }
}

async function* bytesOf(chunks) {
  for await (const chunk of chunks) yield asBytes(chunk);
}

function asBytes(piece) {
  if (typeof piece === "string" && piece.isWellFormed()) return new TextEncoder().encode(piece);
  if (piece instanceof Uint8Array) return piece.slice();
  throw named("result-refused", "a stream yields what is neither a Uint8Array nor a string");
}

const sha256 = (text) => createHash("sha256").update(text).digest("hex");

/** JSON of a value; `undefined` counts as null. */
function jsonOf(value, what) {
  let text;
  try {
    text = value === undefined ? "null" : JSON.stringify(value);
  } catch (error) {
    throw new TypeError(`${what} is not JSON: ${error.name}: ${error.message}`);
  }
  if (typeof text !== "string") throw new TypeError(`${what} is not JSON: it is a ${typeof value}`);
  return text;
}

/** `context.state` of one call. */
class FakeState {
  isOver = false;

  constructor(entries) {
    this.entries = new Map(entries);
    this.changed = false;
  }

  get(key) {
    const text = this.entries.get(checked(key));
    return text === undefined ? undefined : JSON.parse(text);
  }

  put(key, value) {
    if (value === undefined) throw new TypeError("the value is undefined, which is no JSON");
    const text = canonical(value);
    const size = new TextEncoder().encode(text).length;
    if (size > MAX_VALUE) throw limited(`a value of ${size} bytes of JSON, at most ${MAX_VALUE} can be kept`);
    this.entries.set(checked(key), text);
    this.changed = true;
  }

  delete(key) {
    const was = this.entries.delete(checked(key));
    this.changed ||= was;
    return was;
  }

  list(prefix = "", { after = "", limit = 1000 } = {}) {
    if (!(limit >= 1 && limit <= MAX_LISTED)) throw new TypeError(`limit is an integer from 1 to ${MAX_LISTED}`);
    const found = [...this.entries.keys()].filter((key) => key.startsWith(prefix) && byCodePoints(key, after) > 0);
    return found.sort(byCodePoints).slice(0, limit);
  }

  compareAndSet(key, expected, value) {
    const is = this.entries.get(checked(key));
    if (is !== (expected === undefined ? undefined : canonical(expected))) return false;
    if (value === undefined) this.delete(key);
    else this.put(key, value);
    return true;
  }
}

/** The order of UTF-8, which is not that of JavaScript's strings. */
function byCodePoints(a, b) {
  const others = [...b];
  for (const [place, character] of [...a].entries()) {
    if (place === others.length) return 1;
    const apart = character.codePointAt(0) - others[place].codePointAt(0);
    if (apart !== 0) return apart;
  }
  return [...a].length - others.length;
}

/** JSON as the state keeps it: members sorted by name. */
function canonical(value) {
  return JSON.stringify(value, (_, inner) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function checked(key) {
  if (typeof key !== "string" || !key.isWellFormed()) throw new TypeError("a key is a well-formed string");
  const size = new TextEncoder().encode(key).length;
  if (size < 1 || size > MAX_KEY) throw limited(`a key of ${size} bytes of UTF-8, want 1 to ${MAX_KEY}`);
  return key;
}

const limited = (message) => named("state-limit", message);

/** An error with a name of the enclave's. */
const named = (name, message) => Object.defineProperty(new Error(message), "name", { value: name });
