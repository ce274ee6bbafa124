// References to all built-in functions that the bootstrap calls after a program has been loaded.
//
// Guards against: a program that replaces a built-in, for example Uint8Array.prototype.set or Promise.prototype.then,
// to read or change the bytes on the pipes. A program can replace properties of shared objects, but not the constants
// of this module. So every later part calls these constants and never a method by its name on a value.
//
// This part stands before all code that calls anything, and it runs before lockdown.js removes the names it reads.

const { stdin, stdout, exit, inspect } = Deno;
const deno = Deno; // lockdown.js deletes the global name, guardImports needs the object
const { createTimer, cancelTimer } = Deno[Deno.internal].core; // loads nothing, where setTimeout loads Node's timers
const { apply, construct, ownKeys, deleteProperty, getOwnPropertyDescriptor, defineProperty } = Reflect;
const { assign, freeze, create, getPrototypeOf } = Object;
const { parse, stringify } = JSON;
const { min } = Math;
const { waitAsync: startWaiting, notify: notifyThreads } = Atomics;
const clone = structuredClone;

// `uncurry(f)(self, ...)` calls `f` as a method of `self` without looking up `f.call`, which a program may replace.
const uncurry = (method) => (self, ...rest) => apply(method, self, rest);
const readInto = stdin.readSync.bind(stdin);
const writeFrom = stdout.writeSync.bind(stdout);
// Getters of typed arrays: a program may define a property `length` on its own array, but cannot reach these getters.
const typedArray = getPrototypeOf(Uint8Array.prototype);
const getterOf = (name) => uncurry(getOwnPropertyDescriptor(typedArray, name).get);
const sizeOf = getterOf("length"), bufferOf = getterOf("buffer"), offsetOf = getterOf("byteOffset");
const kindOf = getterOf(Symbol.toStringTag);
const moveWithin = uncurry(Uint8Array.prototype.copyWithin);
const fromBase64 = Uint8Array.fromBase64.bind(Uint8Array);
const setBytes = uncurry(Uint8Array.prototype.set);
const wellFormed = uncurry(String.prototype.toWellFormed), isWellFormed = uncurry(String.prototype.isWellFormed);
const slice = uncurry(String.prototype.slice);
const split = uncurry(String.prototype.split);
const join = uncurry(Array.prototype.join);
const lowerCase = uncurry(String.prototype.toLowerCase);
const startsWith = uncurry(String.prototype.startsWith), includes = uncurry(String.prototype.includes);
const stopEvent = uncurry(Event.prototype.stopImmediatePropagation);
const preventDefault = uncurry(Event.prototype.preventDefault);
const describe = uncurry(Error.prototype.toString), execute = uncurry(RegExp.prototype.exec);
const getterOfGlobal = (name) => getOwnPropertyDescriptor(globalThis, name).get;
// Calling one of these getters loads a part of Node into the guest, which costs memory and time. They are called when a
// program first uses them.
const lazy = { __proto__: null, setTimeout: getterOfGlobal("setTimeout"), setInterval: getterOfGlobal("setInterval"),
  process: getterOfGlobal("process") };
const encoder = new TextEncoder(), decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encode = encoder.encode.bind(encoder), encodeInto = encoder.encodeInto.bind(encoder);
const WHOLE = freeze({ __proto__: null, stream: false }); // without it, decode would read Object.prototype.stream
const decodeWith = decoder.decode.bind(decoder);
const Controller = AbortController, abort = uncurry(Controller.prototype.abort);
const signalOf = uncurry(getOwnPropertyDescriptor(Controller.prototype, "signal").get);
const decode = (bytes) => decodeWith(bytes, WHOLE);
const recall = uncurry(WeakMap.prototype.get), remember = uncurry(WeakMap.prototype.set);
const promiseThen = uncurry(Promise.prototype.then);
const asyncGeneratorFunction = getPrototypeOf(async function* () {});
const nextOf = uncurry(asyncGeneratorFunction.prototype.next);
const asyncIterator = getPrototypeOf(asyncGeneratorFunction.prototype);
const ASYNC_ITERATOR = Symbol.asyncIterator;
const now = performance.now.bind(performance);
const Bytes = Uint8Array, Text = String, Pledge = Promise, Failure = Error, Misused = TypeError, PlatformError = DOMException;
const revoke = URL.revokeObjectURL;
