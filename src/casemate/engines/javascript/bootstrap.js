// The first code of every guest: takes the two pipes, takes away all else, then loads the program and serves its calls.
// Frames are those of casemate.engines.frames. Whatever is used after the program is loaded is captured before, since
// the program may replace any prototype: the bytes of the pipes are not shown to it, and what says and settles is not
// looked up where it could stand. Its own values are its own: what it leaves behind, a toJSON say, can still change what
// its later calls return. One program is one party; nothing here parts its calls from each other.

const LOAD = 1, CALL = 2, ANSWER = 3, REFUSAL = 4, OPEN = 5, CHUNK = 6, END = 7, PULL = 8, DROP = 9;
const WARM = 16, LOADED = 17, FAILED = 18, RETURNED = 19, ASKED = 20, PRINTED = 21, PAUSED = 22, ENDED = 23, WANTED = 24;
const PREFIX_SIZE = 4, CALL_SIZE = 8, HEADER_SIZE = PREFIX_SIZE + 1 + CALL_SIZE;
const BUFFER_SIZE = 64 * 1024;
const MAX_LINES = 64; // of the console, for each call
const MAX_TEXT = 1024; // UTF-16 units of a line or a message: at most 3072 bytes
const MAX_PIECE = 1024 * 1024; // bytes that one step of a stream puts out
const MAX_YIELD = 16 * 1024 * 1024; // bytes that a stream yields at once
const STEP_TIME = 100; // milliseconds after which a step that could go on ends all the same, at the next yield
const BROKEN_PIPE = 70, BROKEN_FRAME = 71; // exit codes

// What the program keeps beside ECMAScript's own names.
const KEPT = [
  "AbortController", "AbortSignal", "Blob", "CompressionStream", "CustomEvent", "DOMException", "DecompressionStream",
  "Event", "EventTarget", "QuotaExceededError", "ReadableStream", "TextDecoder", "TextDecoderStream", "TextEncoder",
  "TextEncoderStream", "TransformStream", "URL", "URLPattern", "URLSearchParams", "WritableStream", "atob", "btoa",
  "clearInterval", "clearTimeout", "console", "crypto", "Crypto", "CryptoKey", "SubtleCrypto", "performance",
  "queueMicrotask", "reportError", "setInterval", "setTimeout", "structuredClone",
];

const MAX_DELAY = 2 ** 31 - 1; // milliseconds; the engine's timers count no further
const MAX_FRAMES = 3; // of a stack trace, in the words about an exception
const MAX_FRAME = 256; // UTF-16 units of each
const MAX_BACKTRACE = 16 * 1024; // UTF-16 units of a stack trace that are looked at

const { stdin, stdout, exit, inspect } = Deno;
const { createTimer, cancelTimer } = Deno[Deno.internal].core; // loads nothing, where setTimeout loads Node's timers
const { apply, ownKeys, deleteProperty, getOwnPropertyDescriptor, defineProperty } = Reflect;
const { freeze, create, getPrototypeOf } = Object;
const { parse, stringify } = JSON;
const { min } = Math;
const { waitAsync: startWaiting, notify: notifyThreads } = Atomics;
const clone = structuredClone;
const uncurry = (method) => (self, ...rest) => apply(method, self, rest);
const readInto = stdin.readSync.bind(stdin);
const writeFrom = stdout.writeSync.bind(stdout);
const typedArray = getPrototypeOf(Uint8Array.prototype);
const getterOf = (name) => uncurry(getOwnPropertyDescriptor(typedArray, name).get);
const sizeOf = getterOf("length"), bufferOf = getterOf("buffer"), offsetOf = getterOf("byteOffset");
const kindOf = getterOf(Symbol.toStringTag);
const moveWithin = uncurry(Uint8Array.prototype.copyWithin);
const setBytes = uncurry(Uint8Array.prototype.set);
const wellFormed = uncurry(String.prototype.toWellFormed), isWellFormed = uncurry(String.prototype.isWellFormed);
const slice = uncurry(String.prototype.slice);
const split = uncurry(String.prototype.split);
const join = uncurry(Array.prototype.join);
const startsWith = uncurry(String.prototype.startsWith), includes = uncurry(String.prototype.includes);
const describe = uncurry(Error.prototype.toString), execute = uncurry(RegExp.prototype.exec);
const getterOfGlobal = (name) => getOwnPropertyDescriptor(globalThis, name).get;
const lazy = { __proto__: null, setTimeout: getterOfGlobal("setTimeout"), setInterval: getterOfGlobal("setInterval"),
  process: getterOfGlobal("process") }; // to call them now would load a part of Node into every guest
const encoder = new TextEncoder(), decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encode = encoder.encode.bind(encoder), encodeInto = encoder.encodeInto.bind(encoder);
const WHOLE = freeze({ __proto__: null, stream: false }); // or Object.prototype would be asked
const decodeWith = decoder.decode.bind(decoder);
const decode = (bytes) => decodeWith(bytes, WHOLE);
const promiseThen = uncurry(Promise.prototype.then);
const asyncGeneratorFunction = getPrototypeOf(async function* () {});
const nextOf = uncurry(asyncGeneratorFunction.prototype.next);
const asyncIterator = getPrototypeOf(asyncGeneratorFunction.prototype);
const ASYNC_ITERATOR = Symbol.asyncIterator;
const now = performance.now.bind(performance);
const Bytes = Uint8Array, Text = String, Pledge = Promise, Failure = Error, Misused = TypeError, Refused = DOMException;

// --- frames ---------------------------------------------------------------------------------------------------------

const incoming = new Bytes(BUFFER_SIZE), outgoing = new Bytes(BUFFER_SIZE);
let start = 0, end = 0; // what is in `incoming` and not yet taken

function part(bytes, from, to) { // a view; subarray would ask the constructor's species, which the program may replace
  return new Bytes(bufferOf(bytes), offsetOf(bytes) + from, to - from);
}

function fill(target, from, size) {
  while (from < size) {
    const count = readInto(part(target, from, size));
    if (count === null) exit(0); // the enclave is gone
    from += count;
  }
}

function buffered(size) { // `size` bytes, at most BUFFER_SIZE, that stay valid until the next call
  if (end - start < size) {
    moveWithin(incoming, 0, start, end);
    end -= start;
    start = 0;
    while (end < size) {
      const count = readInto(part(incoming, end, BUFFER_SIZE));
      if (count === null) exit(0);
      end += count;
    }
  }
  start += size;
  return part(incoming, start - size, start);
}

const u32 = (bytes, at) => bytes[at] + bytes[at + 1] * 0x100 + bytes[at + 2] * 0x10000 + bytes[at + 3] * 0x1000000;

function putU32(bytes, at, value) {
  bytes[at] = value & 0xff;
  bytes[at + 1] = (value >>> 8) & 0xff;
  bytes[at + 2] = (value >>> 16) & 0xff;
  bytes[at + 3] = value >>> 24;
}

function receive() {
  const header = buffered(HEADER_SIZE);
  const size = u32(header, 0) - 1 - CALL_SIZE;
  if (size < 0) exit(BROKEN_FRAME);
  const kind = header[PREFIX_SIZE];
  const call = new Bytes(CALL_SIZE);
  setBytes(call, part(header, PREFIX_SIZE + 1, HEADER_SIZE));
  let body;
  if (size <= BUFFER_SIZE) {
    body = buffered(size);
  } else {
    body = new Bytes(size);
    const ready = end - start;
    setBytes(body, part(incoming, start, end));
    start = end = 0;
    fill(body, ready, size);
  }
  return { kind, call, body };
}

function writeAll(bytes) {
  const size = sizeOf(bytes);
  let from = 0;
  while (from < size) {
    const count = writeFrom(part(bytes, from, size));
    if (!(count > 0)) exit(BROKEN_PIPE);
    from += count;
  }
}

function putHeader(bytes, kind, call, bodySize) {
  putU32(bytes, 0, 1 + CALL_SIZE + bodySize);
  bytes[PREFIX_SIZE] = kind;
  setBytes(bytes, call, PREFIX_SIZE + 1);
}

function send(kind, call, head, text) { // head: a string or null; text: a string, its bytes, or null
  let at = HEADER_SIZE;
  if (head === null && typeof text === "string" && text.length * 3 + at <= BUFFER_SIZE) { // the quick way, for most
    const { written } = encodeInto(text, part(outgoing, at, BUFFER_SIZE));
    putHeader(outgoing, kind, call, written);
    writeAll(part(outgoing, 0, at + written));
    return;
  }
  const headBytes = head === null ? null : encode(head);
  const textBytes = typeof text === "string" ? encode(text) : text;
  const headSize = headBytes === null ? 0 : 4 + sizeOf(headBytes);
  const size = at + headSize + (textBytes === null ? 0 : sizeOf(textBytes));
  const frame = new Bytes(size);
  putHeader(frame, kind, call, size - at);
  if (headBytes !== null) {
    putU32(frame, at, sizeOf(headBytes));
    setBytes(frame, headBytes, at + 4);
    at += headSize;
  }
  if (textBytes !== null) setBytes(frame, textBytes, at);
  writeAll(frame);
}

function opened(body) { // a body's head and the bytes behind it
  const size = u32(body, 0);
  return { head: parse(decode(part(body, 4, 4 + size))), rest: part(body, 4 + size, sizeOf(body)) };
}

// --- errors ---------------------------------------------------------------------------------------------------------

const words = (value, otherwise) => (typeof value === "string" ? wellFormed(slice(value, 0, MAX_TEXT)) : otherwise);

function told(thrown) { // name and message of whatever was thrown, which may be a proxy or have getters that throw
  if (typeof thrown !== "object" && typeof thrown !== "function" || thrown === null) {
    return { name: "Thrown", message: words(Text(thrown), "") };
  }
  const name = read(thrown, "name"), message = read(thrown, "message");
  if (message === "" && (name === "" || typeof thrown === "function")) { // a class's name is not an error's
    return { name: "Thrown", message: typeof thrown === "function" ? "a function" : "an object without a message" };
  }
  return { name: name || "Error", message: message + placeOf(thrown) };
}

function read(object, member) { // a text of a value of the program's, or none
  try {
    return words(object[member], "");
  } catch {
    return "";
  }
}

const FRAME = "    at ";

function placeOf(thrown) { // the uppermost frames of the measured code, where they may be told
  if (!tellsPlaces) return "";
  const frames = [];
  try {
    const { stack } = thrown;
    const text = typeof stack === "string" ? split(slice(stack, 0, MAX_BACKTRACE), "\n") : [];
    for (let number = 0; number < text.length && frames.length < MAX_FRAMES; number++) {
      if (startsWith(text[number], FRAME) && includes(text[number], "guest/")) {
        frames[frames.length] = slice(text[number], 4, 4 + MAX_FRAME);
      }
    }
  } catch { /* as good as none */ }
  return frames.length === 0 ? "" : ` (${words(join(frames, ", "), "")})`;
}

// What `error.stack` is: frames of the measured code by their paths, as the engine names each module by a number of
// its own; and none of this file, whose URL is its whole text. The program may set another, as anywhere.
function prepareStackTrace(error, sites) {
  let text = "Error";
  try {
    text = describe(error);
  } catch { /* its name or message is a getter that throws */ }
  for (let number = 0; number < sites.length; number++) {
    const frame = Text(sites[number]);
    if (!includes(frame, "data:") && !includes(frame, "ext:")) text += "\n" + FRAME + named(frame);
  }
  return text;
}

function sendFailure(call, code, { name, message }) {
  send(FAILED, call, stringify({ __proto__: null, code, name, message }), null);
}

class Untellable extends Failure { // a value of the program's that is not JSON, or too long
  #code;
  constructor(code, message) {
    super(message);
    this.#code = code;
  }
  static codeOf(thrown) { // undefined for everything else; asks nothing of a proxy
    return typeof thrown === "object" && thrown !== null && #code in thrown ? thrown.#code : undefined;
  }
}

const untellable = Untellable.codeOf;

// JSON, as a string or as its bytes, of a value of the program's, which may do anything when it is looked at.
function textOf(value, limit, what) {
  let text;
  try {
    text = value === undefined ? "null" : stringify(value);
  } catch (thrown) {
    const { name, message } = told(thrown);
    throw new Untellable("result-refused", `${what} is not JSON: ${name}: ${message}`);
  }
  if (typeof text !== "string") throw new Untellable("result-refused", `${what} is not JSON: it is a ${typeof value}`);
  if (text.length * 3 <= limit) return text; // a UTF-16 unit takes three bytes at most
  const bytes = text.length <= limit ? encode(text) : null;
  if (bytes === null || sizeOf(bytes) > limit) {
    throw new Untellable("output-limit", `${what} has more than the ${limit} bytes that are allowed`);
  }
  return bytes;
}

// --- program and calls ----------------------------------------------------------------------------------------------

const NO_CALL = new Bytes(CALL_SIZE);
let current = NO_CALL; // the call under way
let listening = false; // whether the enclave expects anything of this guest now
let lines = 0; // printed during this call
let functions = create(null);
let outputLimit = 0, ocallLimit = 0, valueLimit = 0, keyLimit = 0, sealedLimit = 0, listLimit = 0;
let giveUp = null; // rejects what is awaited
let debug = false; // whether the enclave has no secrets, so that the program's words may be told to its developer
let tellsPlaces = false; // of exceptions: in a debug enclave, and while only measured code has run
const pathOf = create(null); // by the names that the modules have in here
const linksOf = create(null); // by the same: where a name stands in place of an import specifier

function settled(value) { // its promise's outcome; or a rejection once nothing is left that could settle it
  return new Pledge((resolve, reject) => {
    giveUp = reject;
    promiseThen(outcome(value), resolve, reject); // not resolve(value): that would bind this one to that one's fate
  });
}

async function outcome(value) {
  return await value;
}

async function load({ call, body }) {
  const urls = [];
  listening = true;
  try {
    const { head, rest } = opened(body);
    outputLimit = head.outputLimit;
    ocallLimit = head.ocallLimit;
    valueLimit = head.valueLimit;
    keyLimit = head.keyLimit;
    sealedLimit = head.sealedLimit;
    listLimit = head.listLimit;
    debug = head.debug;
    tellsPlaces = true;
    const known = create(null);
    if (head.guarded) guardImports(known);
    let at = 0;
    for (let number = 0; number < head.modules.length; number++) {
      const { path, size, links } = head.modules[number];
      const parts = [];
      let done = at;
      for (let link = 0; link < links.length; link++) {
        const [first, behind, target] = links[link]; // and the line and column of its start
        parts.push(rest.slice(done, at + first), stringify(urls[target]));
        done = at + behind;
      }
      parts.push(rest.slice(done, at + size));
      at += size;
      const type = path.endsWith(".json") ? "application/json" : "text/javascript";
      urls.push(URL.createObjectURL(new Blob(parts, { type })));
      pathOf[urls[number]] = path;
      linksOf[urls[number]] = links;
      known[urls[number]] = true;
    }
    const importing = import(urls[urls.length - 1]);
    const exported = await settled(importing);
    for (let number = 0; number < head.entries.length; number++) {
      const name = head.entries[number];
      if (typeof exported[name] !== "function") {
        throw new Misused(`${pathOf[urls[urls.length - 1]]} exports no function ${name}`);
      }
      functions[name] = exported[name];
    }
    for (let number = 0; number < head.streams.length; number++) {
      const name = head.streams[number];
      if (getPrototypeOf(functions[name]) !== asyncGeneratorFunction) {
        throw new Misused(`${name} is a stream, so it must be an async function*`);
      }
    }
    for (let number = 0; number < urls.length; number++) {
      revoke(urls[number]);
      known[urls[number]] = false;
    }
    if (debug) await turned();
  } catch (thrown) {
    const { name, message } = told(thrown);
    listening = false;
    const plain = refused !== null && includes(message, refused) ? refused : named(message);
    sendFailure(call, "guest-error", { name, message: words(plain, "") });
    return;
  }
  tellsPlaces = debug;
  listening = false;
  send(LOADED, call, null, "");
}

const revoke = URL.revokeObjectURL;

const BLOB = "blob:null/", BLOB_SIZE = BLOB.length + 36; // of a UUID

function named(text) { // with paths for the names that the modules have in here
  const parts = split(text, BLOB);
  let made = parts[0];
  for (let number = 1; number < parts.length; number++) {
    const url = slice(BLOB + parts[number], 0, BLOB_SIZE);
    const path = pathOf[url];
    const rest = slice(parts[number], BLOB_SIZE - BLOB.length);
    made += path === undefined ? BLOB + parts[number] : path + measured(linksOf[url], rest);
  }
  return made;
}

const PLACE = /^:(\d+):(\d+)/;

function measured(links, text) { // a text that begins with a place, with the column that it has in the measured file
  const place = execute(PLACE, text);
  if (place === null) return text;
  let column = +place[2];
  for (let number = 0; number < links.length; number++) {
    const link = links[number], at = link[4]; // not taken apart by an iterator, which the program may replace
    const longer = BLOB_SIZE + 2 - (link[1] - link[0]); // quotation marks included; specifiers are ASCII, as paths are
    if (link[3] === +place[1] && column > at) column = column < at + BLOB_SIZE + 2 ? at : column - longer;
  }
  return `:${place[1]}:${column}${slice(text, place[0].length)}`;
}

let refused = null; // what was said of the first import that the index does not list

// An image that Casemate has built imports nothing but its own modules, and whoever loads it has seen that in its text.
// Another one may import what it likes, as far as the engine knows: that is code which nobody has measured. So the
// engine asks here, from its own loader, which no program can change. It takes 15 ms to load that part of the engine.
// The answer names a scheme that nothing can load. To throw here would not do: where a resolver fails, the engine loads
// what it has under that name itself, for an import that stands in a text: Node's modules, and its own.
function guardImports(known) {
  globalThis.Deno = deno; // which that part looks for
  const { registerHooks } = lazy.process().getBuiltinModule("module");
  registerHooks({
    __proto__: null,
    resolve(specifier, context, next) {
      if (known[specifier] === true) return next(specifier, context);
      const words = `${stringify(slice(specifier, 0, 64))} is not a measured module that the image's index links`;
      refused ??= words;
      return { __proto__: null, url: "refused:" + words, shortCircuit: true };
    },
  });
  takeGlobals();
}

// In a debug enclave, lets the engine find promises that were rejected and that nobody waits for, as long as the call
// lasts to which they belong. It looks between two turns of its event loop; a timer that is due already comes first.
async function turned() {
  for (let turn = 0; turn < 2; turn++) {
    await new Pledge((resolve) => createTimer(resolve, 1, undefined, false, true, true));
  }
}

async function serveCall({ call, body }) {
  current = call;
  listening = true;
  lines = 0;
  let text;
  try {
    const { head, rest } = opened(body);
    const input = parse(decode(rest));
    const returned = apply(functions[head.entry], undefined, [input, contextOf(call, head)]);
    text = textOf(await settled(returned), outputLimit, "the result");
    if (debug) await turned();
  } catch (thrown) {
    if (debug) await turned();
    over();
    sendFailure(call, untellable(thrown) ?? "guest-error", told(thrown));
    return;
  }
  over();
  send(RETURNED, call, null, text);
}

function contextOf(call, { entry, caller }) {
  return freeze({ entry, caller, ocall: asker(call), state: stateOf(call), seal: sealer(call), unseal: unsealer(call) });
}

function over() { // from here on, what the program left behind is not listened to
  current = NO_CALL;
  listening = false;
}

function ask(call, kind, head, text) { // what the enclave answers: a JSON value, or undefined; or what it throws
  if (current !== call) throw new Failure("this call is over");
  send(kind, call, stringify(head), text);
  const answer = receive();
  if (answer.kind === ANSWER) return sizeOf(answer.body) === 0 ? undefined : parse(decode(answer.body));
  if (answer.kind !== REFUSAL) exit(BROKEN_FRAME);
  const { name, message } = opened(answer.body).head;
  throw name === "guest-error" ? new Misused(message) : coded(name, message); // a value of the program's that is not JSON
}

function coded(name, message) { // an error with the name of a code
  const error = new Failure(message);
  defineProperty(error, "name", { __proto__: null, value: name, writable: true, configurable: true });
  return error;
}

function asker(call) {
  return function ocall(name, args) {
    if (typeof name !== "string") throw new Misused("an OCALL's name is a string");
    let text;
    try {
      text = textOf(args, ocallLimit, "the OCALL's argument");
    } catch (thrown) {
      throw new Misused(told(thrown).message); // to the program, an error as any other
    }
    return ask(call, ASKED, { __proto__: null, name: words(name, "") }, text);
  };
}

// --- state and seals ------------------------------------------------------------------------------------------------

// What the enclave would end this guest for, the program is told by an exception.

function keyOf(key, what, least) {
  if (typeof key !== "string" || !isWellFormed(key)) throw new Misused(`${what} is a string, without lone surrogates`);
  const size = key.length <= keyLimit ? sizeOf(encode(key)) : key.length;
  if (size < least || size > keyLimit) {
    throw coded("state-limit", `${what} has ${size} bytes of UTF-8, want ${least} to ${keyLimit}`);
  }
  return key;
}

function valueOf(value, what) { // bytes of JSON
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
        do: "compareAndSet",
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
    if (policy !== "mrenclave" && policy !== "mrsigner") throw new Misused('a policy is "mrenclave" or "mrsigner"');
    return ask(call, WANTED, { __proto__: null, do: "seal", policy }, valueOf(value, "the value"));
  };
}

function unsealer(call) {
  return function unseal(text) {
    if (typeof text !== "string") throw new Misused("a sealed text is a string");
    if (text.length > sealedLimit || sizeOf(encode(text)) !== text.length) {
      throw coded("state-refused", "no text that seal has made");
    }
    return ask(call, WANTED, { __proto__: null, do: "unseal" }, text);
  };
}

// --- streams --------------------------------------------------------------------------------------------------------

// A stream is a generator that is asked for one value after another while a step of it is under way, and for none
// between its steps. What it does in between, by timers in the turns of others, waits for its own next step.

const streams = create(null); // by number, each until it has ended
const PIECE_AT = HEADER_SIZE + 4; // the longest that stands before a piece in its frame
let outbox = null, filled = 0; // what the step under way has put out, from PIECE_AT on; made for the first stream

const numberOf = (call) => u32(call, 0) + ":" + u32(call, 4);

async function serveStep({ kind, call, body }) {
  const stream = kind === OPEN ? opening(call) : streams[numberOf(call)];
  if (stream === undefined) exit(BROKEN_FRAME);
  if (outbox === null) outbox = new Bytes(PIECE_AT + MAX_PIECE);
  filled = 0;
  current = stream.call;
  listening = true;
  lines = 0;
  let text;
  try {
    if (kind === OPEN) begin(stream, body);
    else if (kind === CHUNK) feed(stream, body);
    else if (kind === END) leave(stream);
    const pausing = await advanced(stream);
    if (debug) await turned();
    if (pausing) {
      over();
      sendPiece(PAUSED, stream.call, stream.rest === null && stream.waiting !== null ? 1 : 0);
      return;
    }
    const { thrown, value } = stream.outcome;
    if (thrown) throw value;
    text = textOf(value, outputLimit, "the result");
  } catch (thrown) {
    forget(stream);
    over();
    sendFailure(stream.call, untellable(thrown) ?? "guest-error", told(thrown));
    return;
  }
  forget(stream);
  over();
  sendEnd(stream.call, typeof text === "string" ? encode(text) : text);
}

function opening(call) {
  const stream = {
    __proto__: null,
    call,
    generator: null,
    isAsked: false, // for a value that has not come yet
    rest: null, // what it has yielded and was not put out yet
    outcome: null, // how it ended
    waiting: null, last: null, // who wants input, in order
    isOver: false, // the input
    wake: null, // goes on with the step
  };
  streams[numberOf(call)] = stream;
  return stream;
}

function forget(stream) {
  delete streams[numberOf(stream.call)];
}

function begin(stream, body) {
  const { head, rest } = opened(body);
  const handed = [parse(decode(rest)), contextOf(stream.call, head), chunksOf(stream)];
  stream.generator = apply(functions[head.entry], undefined, handed);
}

async function advanced(stream) { // works on a step until the stream pauses (true) or has ended (false)
  const enough = now() + STEP_TIME;
  for (;;) {
    putRest(stream);
    if (stream.rest !== null) return true;
    if (stream.outcome !== null) return false;
    if (!stream.isAsked) {
      if (now() >= enough) return true;
      stream.isAsked = true;
      promiseThen(nextOf(stream.generator), (result) => took(stream, result), (thrown) => ended(stream, true, thrown));
    }
    if (stream.waiting !== null) return true;
    await new Pledge((resolve, reject) => {
      giveUp = reject;
      stream.wake = resolve;
    });
  }
}

function wake(stream) {
  const resolve = stream.wake;
  stream.wake = null;
  if (resolve !== null) resolve();
}

function ended(stream, thrown, value) {
  stream.isAsked = false;
  stream.outcome = { __proto__: null, thrown, value };
  wake(stream);
}

function took(stream, result) { // a generator's, unless the program has put itself in between: so it may be anything
  try {
    const { done, value } = result;
    if (done) {
      ended(stream, false, value);
      return;
    }
    stream.rest = pieceOf(value);
  } catch (thrown) {
    ended(stream, true, thrown);
    return;
  }
  stream.isAsked = false;
  wake(stream);
}

function pieceOf(value) { // bytes that the program has no hand on any more
  if (typeof value === "string") {
    if (!isWellFormed(value)) {
      throw new Untellable("result-refused", "a stream yields text with a lone surrogate, which UTF-8 does not have");
    }
    const bytes = value.length <= MAX_YIELD ? encode(value) : null;
    if (bytes !== null && sizeOf(bytes) <= MAX_YIELD) return bytes;
  } else {
    if (typeof value !== "object" || value === null || kindOf(value) !== "Uint8Array") {
      throw new Untellable("result-refused", "a stream yields what is neither a Uint8Array nor a string");
    }
    const size = sizeOf(value);
    if (size <= MAX_YIELD) {
      const bytes = new Bytes(size);
      setBytes(bytes, value);
      return bytes;
    }
  }
  throw new Untellable("output-limit", `a stream yields more than ${MAX_YIELD} bytes at once`);
}

function putRest(stream) {
  const { rest } = stream;
  if (rest === null) return;
  const size = sizeOf(rest), room = MAX_PIECE - filled;
  if (size <= room) {
    setBytes(outbox, rest, PIECE_AT + filled);
    filled += size;
    stream.rest = null;
  } else {
    setBytes(outbox, part(rest, 0, room), PIECE_AT + filled);
    filled = MAX_PIECE;
    stream.rest = part(rest, room, size);
  }
}

function sendPiece(kind, call, flag) {
  const frame = part(outbox, PIECE_AT - HEADER_SIZE - 1, PIECE_AT + filled);
  putHeader(frame, kind, call, 1 + filled);
  frame[HEADER_SIZE] = flag;
  writeAll(frame);
}

function sendEnd(call, text) {
  const frame = part(outbox, 0, PIECE_AT + filled);
  putHeader(frame, ENDED, call, 4 + filled + sizeOf(text));
  putU32(frame, HEADER_SIZE, filled);
  writeAll(frame);
  writeAll(text);
}

function chunksOf(stream) { // the input, as the program sees it
  return freeze({
    __proto__: asyncIterator,
    next: () => new Pledge((resolve) => {
      if (stream.isOver) {
        resolve({ __proto__: null, value: undefined, done: true });
        return;
      }
      const waiter = { __proto__: null, resolve, next: null };
      if (stream.waiting === null) stream.waiting = waiter;
      else stream.last.next = waiter;
      stream.last = waiter;
      wake(stream);
    }),
    return: (value) => new Pledge((resolve) => {
      leave(stream);
      resolve({ __proto__: null, value, done: true });
    }),
    [ASYNC_ITERATOR]() {
      return this;
    },
  });
}

function feed(stream, body) {
  const waiter = stream.waiting;
  if (waiter === null) return; // the program has left its loop meanwhile
  let value = body;
  if (bufferOf(body) === bufferOf(incoming)) {
    value = new Bytes(sizeOf(body));
    setBytes(value, body);
  }
  stream.waiting = waiter.next;
  waiter.resolve({ __proto__: null, value, done: false });
}

function leave(stream) { // no more input
  stream.isOver = true;
  for (let waiter = stream.waiting; waiter !== null; waiter = waiter.next) {
    waiter.resolve({ __proto__: null, value: undefined, done: true });
  }
  stream.waiting = null;
}

// --- what the program sees ------------------------------------------------------------------------------------------

function print(...values) {
  if (!listening || ++lines > MAX_LINES) return;
  let line = "";
  for (let number = 0; number < values.length && line.length < MAX_TEXT; number++) {
    const value = values[number];
    line += (number ? " " : "") + (typeof value === "string" ? value : inspect(value));
  }
  send(PRINTED, current, null, slice(line, 0, MAX_TEXT));
}

function printLoss(what, thrown) { // of an exception that no call throws; nobody but a debug enclave's operator sees it
  if (!debug) return;
  const { name, message } = told(thrown);
  print(`${what}: ${name}: ${message}`);
}

// The engine's own timers warn of a delay that they clamp, by a part of Node that needs the globals which are gone.
function clamped(delay) {
  delay = +delay; // which throws for a symbol and a BigInt, as theirs does
  return delay >= 1 && delay <= MAX_DELAY ? delay : 1;
}

function timerOf(name) {
  let start = null;
  return {
    [name](callback, delay, ...args) {
      start ??= lazy[name]();
      return start(callback, clamped(delay), ...args);
    },
  }[name];
}

// The engine's own waiters are woken by tasks of V8's, which run without its helper threads never. There is one thread,
// so whoever waits and whoever notifies is here.
let waiters = null; // in the order in which they came; each has a buffer, a place in it, and what settles it

function waitAsync(cell, index, value, timeout) {
  const place = +index, limit = timeout === undefined ? NaN : +timeout;
  const tried = apply(startWaiting, Atomics, [cell, place, value, 0]); // checks all, and waits for nothing
  if (tried.value !== "timed-out" || limit <= 0) return tried;
  const waiter = { __proto__: null, buffer: bufferOf(cell), at: byteAt(cell, place), settle: null, timer: null, next: null };
  const promise = new Pledge((resolve) => waiter.settle = resolve);
  if (waiters === null) waiters = waiter;
  else {
    let last = waiters;
    while (last.next !== null) last = last.next;
    last.next = waiter;
  }
  if (limit < Infinity) {
    const expire = () => {
      forgetWaiter(waiter);
      waiter.settle("timed-out");
    };
    waiter.timer = createTimer(expire, min(limit, MAX_DELAY), undefined, false, true, false);
  }
  return { async: true, value: promise };
}

function notify(cell, index, count) {
  const place = +index, most = count === undefined ? Infinity : +count;
  let woken = apply(notifyThreads, Atomics, [cell, place, most]); // none; it checks all
  const buffer = bufferOf(cell), at = byteAt(cell, place);
  for (let waiter = waiters; waiter !== null && woken + 1 <= most; waiter = waiter.next) {
    if (waiter.buffer !== buffer || waiter.at !== at) continue;
    forgetWaiter(waiter);
    if (waiter.timer !== null) cancelTimer(waiter.timer);
    waiter.settle("ok");
    woken++;
  }
  return woken;
}

const byteAt = (cell, place) => offsetOf(cell) + (place - place % 1 || 0) * (kindOf(cell) === "BigInt64Array" ? 8 : 4);

function forgetWaiter(waiter) {
  if (waiters === waiter) {
    waiters = waiter.next;
    return;
  }
  for (let before = waiters; before !== null; before = before.next) {
    if (before.next === waiter) before.next = waiter.next;
  }
}

function fix(object, names) { // what the engine's own code and `await` look up on the way
  for (const name of names) {
    let from = object;
    while (!getOwnPropertyDescriptor(from, name)) from = getPrototypeOf(from);
    const property = getOwnPropertyDescriptor(from, name);
    if ("value" in property) property.writable = false;
    property.configurable = false;
    defineProperty(object, name, property);
  }
}

const deno = Deno;

function takeGlobals() { // all but the language's and those that are kept
  const kept = create(null);
  for (const name of KEPT) kept[name] = true;
  // ECMAScript's own names are those of a realm without Deno's additions; the engine defines them before anything else.
  for (const name of ownKeys(globalThis)) {
    if (typeof name !== "string" || kept[name] || LANGUAGE.has(name)) continue; // symbols: brands that events need
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
    quiet[name] = (...values) => print(...values);
  }
  globalThis.console = { ...quiet };
  for (const name of ["setTimeout", "setInterval"]) redefine(globalThis, name, timerOf(name));
  redefine(globalThis, "structuredClone", { structuredClone(...given) {
    try {
      return apply(clone, undefined, given);
    } catch (thrown) { // a stream is moved by way of a global that is gone
      if (told(thrown).message !== "MessageChannel is not defined") throw thrown;
      throw new Refused("a stream cannot be transferred in an enclave", "DataCloneError");
    }
  } }.structuredClone);
  redefine(Atomics, "waitAsync", waitAsync);
  redefine(Atomics, "notify", notify);
  defineProperty(Error, "prepareStackTrace", {
    __proto__: null,
    value: prepareStackTrace,
    writable: true,
    configurable: true,
  });
}

function redefine(object, name, value) { // as enumerable as what stood there
  const { enumerable } = getOwnPropertyDescriptor(object, name);
  defineProperty(object, name, { __proto__: null, value, enumerable, writable: true, configurable: true });
}

const LANGUAGE = new Set(`
  AggregateError Array ArrayBuffer AsyncDisposableStack Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date
  DisposableStack Error EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
  Int32Array Int8Array Intl Iterator JSON Map Math NaN Number Object Promise Proxy RangeError ReferenceError Reflect
  RegExp Set SharedArrayBuffer String SuppressedError Symbol SyntaxError Temporal TypeError URIError Uint16Array
  Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet WebAssembly decodeURI decodeURIComponent encodeURI
  encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt undefined unescape`.trim().split(/\s+/));

// A promise that nobody waits for, or a timer that throws, is the program's loss and not the process's end.
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  printLoss("a promise was rejected, and nobody waited for it", event.reason);
});
addEventListener("error", (event) => {
  event.preventDefault();
  printLoss("an exception outside of a call", event.error);
});
addEventListener("beforeunload", (event) => { // nothing is left to run: what is awaited will never come
  event.preventDefault();
  const reject = giveUp;
  giveUp = null;
  if (reject !== null) reject(new Failure("the promise can never be settled: nothing is left to run"));
  else exit(0);
});

async function serve() {
  for (;;) {
    const frame = receive();
    if (frame.kind === LOAD) await load(frame);
    else if (frame.kind === CALL) await serveCall(frame);
    else if (frame.kind >= OPEN && frame.kind <= PULL) await serveStep(frame);
    else if (frame.kind === DROP) delete streams[numberOf(frame.call)];
    else exit(BROKEN_FRAME);
    giveUp = null;
  }
}

lockDown();
send(WARM, NO_CALL, null, "");
serve();
