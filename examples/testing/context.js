/**
 * What a function is given in an enclave, for tests without one: who calls, a sealed state, a host that tells the time.
 *
 *     const enclave = new FakeEnclave();
 *     const result = await enclave.call(increment, {}, "alice");
 *
 * It checks no schema and admits every caller: the manifest's part is for tests in an enclave.
 */

const MAX_KEY = 256; // bytes of UTF-8
const MAX_VALUE = 1024 * 1024; // bytes of JSON
const MAX_LISTED = 10_000; // keys

/** The key of a caller who is called that; any 32 bytes will do. */
export function keyOf(name) {
  const bytes = new Uint8Array(32);
  new TextEncoder().encodeInto(name, bytes);
  return `ed25519:${btoa(String.fromCharCode(...bytes))}`;
}

/** A caller who signs with a key that the manifest does not name. */
export const stranger = (name) => ({ name: null, key: keyOf(name) });

export class FakeEnclave {
  /** What a host would say that it is (milliseconds since 1970). */
  now = Date.UTC(2026, 0, 1);
  /** The committed state: key to JSON. */
  committed = new Map();
  /** How often the state was committed. */
  epoch = 0;

  /**
   * One call: what it changes is committed if it returns, and dropped if it throws.
   *
   * @param {Function} entry
   * @param {unknown} input
   * @param {string | {name: string | null, key: string} | null} caller a name stands for a caller of that name
   */
  async call(entry, input, caller = null) {
    const state = new FakeState(this.committed);
    const context = {
      entry: entry.name,
      caller: typeof caller === "string" ? { name: caller, key: keyOf(caller) } : caller,
      state,
      ocall: (name) => this.#answer(name),
    };
    const result = JSON.parse(JSON.stringify((await entry(structuredClone(input), context)) ?? null));
    if (state.changed) {
      this.committed = state.entries;
      this.epoch += 1;
    }
    return result;
  }

  #answer(name) {
    if (name !== "time") throw Object.assign(new Error(`no OCALL ${name}`), { name: "ocall-refused" });
    return { unix_ms: this.now };
  }
}

/** `context.state` of one call. */
class FakeState {
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

const limited = (message) => Object.assign(new Error(message), { name: "state-limit" });
