// Streams: async generators that the enclave steps through.
//
// A stream is asked for one value after another while a step of it is under way, and for none between steps. What it
// does in between, by timers in the turns of other calls, waits for its own next step.
//
// Guards against: a stream that yields more than fits a frame (the rest waits for the next step), that yields without
// end (a step stops after STEP_TIME), and that changes bytes after it has yielded them (they are copied).

const streams = create(null); // by the number of the call, until they have ended
const PIECE_AT = HEADER_SIZE + 4; // where pieces begin in `outbox`, so that every header fits before them
let outbox = null, filled = 0; // output of the step under way; made for the first stream, to keep other guests small

const numberOf = (call) => u32(call, 0) + ":" + u32(call, 4);

async function serveStep({ kind, call, body }) {
  const stream = kind === OPEN ? opening(call) : streams[numberOf(call)];
  if (stream === undefined) exit(BROKEN_FRAME); // the enclave steps through no stream that has ended
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
    sendThrown(stream.call, thrown);
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

// Works on a step until the stream pauses (true) or has ended (false).
async function advanced(stream) {
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

// Takes what the generator gave. The program may have replaced `next`, so `result` can be anything.
function took(stream, result) {
  try {
    const { done, value } = result;
    if (done) {
      ended(stream, false, value);
      return;
    }
    if (!putWhole(stream, value)) stream.rest = pieceOf(value);
  } catch (thrown) {
    ended(stream, true, thrown);
    return;
  }
  stream.isAsked = false;
  wake(stream);
}

// Puts a yielded array into the outbox as it is, if a step of this very stream waits for it and there is room: one copy
// instead of two. Otherwise the outbox may hold another stream's output, or that of no step yet.
function putWhole(stream, value) {
  if (current !== stream.call || stream.wake === null) return false;
  if (typeof value !== "object" || value === null || kindOf(value) !== "Uint8Array") return false;
  const size = sizeOf(value);
  if (size > MAX_PIECE - filled) return false;
  setBytes(outbox, value, PIECE_AT + filled);
  filled += size;
  return true;
}

// The bytes of a yielded value, copied: the program may go on to change its array, or detach the buffer.
function pieceOf(value) {
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

// Puts what was yielded into the outbox, as far as there is room; the rest stays for the next step.
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

// Both of these build the frame in place: the header goes directly before the pieces, and nothing is copied again.
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

// The input, as the program sees it: an async iterator. Calls of `next` wait in a list that is linked by hand,
// because an array's methods and setters can be replaced by the program.
function chunksOf(stream) {
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
  if (waiter === null) return; // the program has left its loop meanwhile: the piece is dropped
  let value = body;
  if (bufferOf(body) === bufferOf(incoming)) {
    value = new Bytes(sizeOf(body)); // `body` is a view of the standing buffer, which the program must not get
    setBytes(value, body);
  }
  stream.waiting = waiter.next;
  waiter.resolve({ __proto__: null, value, done: false });
}

// There is no more input.
function leave(stream) {
  stream.isOver = true;
  for (let waiter = stream.waiting; waiter !== null; waiter = waiter.next) {
    waiter.resolve({ __proto__: null, value: undefined, done: true });
  }
  stream.waiting = null;
}
