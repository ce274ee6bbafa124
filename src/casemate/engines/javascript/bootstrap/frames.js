// Frames on the two pipes: a u32 with the length (little-endian), a byte with the kind, eight bytes with the number of
// the call, and a body.
//
// Guards against: a program that learns or changes the bytes of a frame. The buffers stay in this module. A program is
// given a copy or a value parsed from it, never a view, and the methods used on the buffers are the captured ones.
//
// Both pipes block. While this file reads from its pipe nothing else of the guest runs: no timer, no promise. That is
// how a guest rests between calls, and how `context.ocall` can return an answer without being asynchronous.

const incoming = new Bytes(BUFFER_SIZE), outgoing = new Bytes(BUFFER_SIZE);
let start = 0, end = 0; // what is in `incoming` and not yet taken
const NO_CALL = new Bytes(CALL_SIZE); // the number in frames that belong to no call

// A view of some of the bytes. TypedArray.prototype.subarray would look up the constructor's Symbol.species, which the
// program may replace.
function part(bytes, from, to) {
  return new Bytes(bufferOf(bytes), offsetOf(bytes) + from, to - from);
}

function fill(target, from, size) {
  while (from < size) {
    const count = readInto(part(target, from, size));
    if (count === null) exit(0); // end of file: the enclave has gone
    from += count;
  }
}

// The next `size` bytes, at most BUFFER_SIZE: a view of `incoming` that is valid until this function is called again.
function buffered(size) {
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

// Bit operators would give a negative number for lengths of 2 GiB and more, so this adds and multiplies.
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
  if (size <= BUFFER_SIZE) { // the usual case takes no memory
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

// Sends a frame. `head` is a string or null; `text` is a string, its UTF-8 bytes, or null.
function send(kind, call, head, text) {
  let at = HEADER_SIZE;
  // Most results are short: encoded straight into the standing buffer they need one write and no new memory. A UTF-16
  // unit takes three bytes of UTF-8 at most, so the length is known to suffice before anything is encoded.
  if (head === null && typeof text === "string" && text.length * 3 + at <= BUFFER_SIZE) {
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

// The head of a body, parsed, and the bytes behind it.
function opened(body) {
  const size = u32(body, 0);
  return { head: parse(decode(part(body, 4, 4 + size))), rest: part(body, 4 + size, sizeOf(body)) };
}
