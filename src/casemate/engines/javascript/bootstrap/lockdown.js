// Takes away from the program what it must not reach, and fixes what the engine itself looks up on shared objects.
//
// Guards against: two things. A program must find no way to the operating system or to other code: every global goes
// that is neither ECMAScript's nor in KEPT. And a program must not stand between the engine and its own data: `await`
// looks up `then` and `constructor` of a promise, typed arrays their species, so these properties become constants.
//
// It is called from serve.js once everything above is defined: nothing can be captured any more after that.

// The names that a program has besides those of ECMAScript. docs/writing-functions.md lists the same names.
const KEPT = [
  "AbortController", "AbortSignal", "Blob", "CompressionStream", "CustomEvent", "DOMException", "DecompressionStream",
  "Event", "EventTarget", "QuotaExceededError", "ReadableStream", "TextDecoder", "TextDecoderStream", "TextEncoder",
  "TextEncoderStream", "TransformStream", "URL", "URLPattern", "URLSearchParams", "WritableStream", "atob", "btoa",
  "clearInterval", "clearTimeout", "console", "crypto", "Crypto", "CryptoKey", "SubtleCrypto", "performance",
  "queueMicrotask", "reportError", "setInterval", "setTimeout", "structuredClone",
];

// Makes properties constant that the engine's own code and `await` look up.
function fix(object, names) {
  for (const name of names) {
    let from = object;
    while (!getOwnPropertyDescriptor(from, name)) from = getPrototypeOf(from); // it may be inherited
    const property = getOwnPropertyDescriptor(from, name);
    if ("value" in property) property.writable = false;
    property.configurable = false;
    defineProperty(object, name, property);
  }
}

// Removes every global but the language's and those in KEPT. It runs again after guardImports, which has the engine
// define more of them.
function takeGlobals() {
  const kept = create(null);
  for (const name of KEPT) kept[name] = true;
  for (const name of ownKeys(globalThis)) {
    if (typeof name !== "string" || kept[name] || LANGUAGE.has(name)) continue; // symbols stay: events need them
    if (!deleteProperty(globalThis, name)) {
      const { writable, configurable } = getOwnPropertyDescriptor(globalThis, name);
      if (configurable || writable) defineProperty(globalThis, name, { value: undefined });
    }
  }
}

function lockDown() {
  fix(Uint8Array.prototype, ["length", "buffer", "byteLength", "byteOffset"]);
  fix(Promise.prototype, ["constructor", "then"]);
  fix(Promise, [Symbol.species]);
  takeGlobals();
  const quiet = create(null);
  for (const name of ["assert", "clear", "count", "countReset", "group", "groupCollapsed", "groupEnd", "profile",
    "profileEnd", "table", "time", "timeEnd", "timeLog", "timeStamp"]) quiet[name] = () => undefined;
  for (const name of ["debug", "dir", "dirxml", "error", "info", "log", "trace", "warn"]) {
    quiet[name] = (...values) => {
      if (granted.log !== true && !debug) throw ungranted("log", `console.${name}`);
      print(...values);
    };
  }
  globalThis.console = { ...quiet };
  for (const name of ["setTimeout", "setInterval"]) redefine(globalThis, name, timerOf(name));
  redefine(globalThis, "structuredClone", { structuredClone(...given) {
    try {
      return apply(clone, undefined, given);
    } catch (thrown) { // the engine would transfer a stream by way of MessageChannel, which is gone
      if (told(thrown).message !== "MessageChannel is not defined") throw thrown;
      throw new PlatformError("a stream cannot be transferred in an enclave", "DataCloneError");
    }
  } }.structuredClone);
  redefine(Atomics, "waitAsync", waitAsync);
  redefine(Atomics, "notify", notify);
  guardStackTraces();
}

// Replaces a property, as enumerable as it was: `for in` over globals shows the same as before.
function redefine(object, name, value) {
  const { enumerable } = getOwnPropertyDescriptor(object, name);
  defineProperty(object, name, { __proto__: null, value, enumerable, writable: true, configurable: true });
}

// ECMAScript's own names: those of a realm without Deno's additions.
const LANGUAGE = new Set(`
  AggregateError Array ArrayBuffer AsyncDisposableStack Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date
  DisposableStack Error EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
  Int32Array Int8Array Intl Iterator JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError Reflect
  RegExp Set SharedArrayBuffer String SuppressedError Symbol SyntaxError Temporal TypeError URIError Uint16Array
  Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet WebAssembly decodeURI decodeURIComponent encodeURI
  encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt undefined unescape`.trim().split(/\s+/));
