// Numbers that the enclave and this file must agree on, and the limits that this file keeps by itself.
//
// They come first: everything below uses them. The kinds of frames are those of casemate.engines.frames. The enclave
// checks all limits again, because a program that has taken over this file keeps none of them; the limits here exist so
// that an honest program gets an exception that it can catch, where the enclave could only end the whole guest.

const LOAD = 1, CALL = 2, ANSWER = 3, REFUSAL = 4, OPEN = 5, CHUNK = 6, END = 7, PULL = 8, DROP = 9;
const WARM = 16, LOADED = 17, FAILED = 18, RETURNED = 19, ASKED = 20, PRINTED = 21, PAUSED = 22, ENDED = 23, WANTED = 24;
const REFUSED = 25;
const PREFIX_SIZE = 4, CALL_SIZE = 8, HEADER_SIZE = PREFIX_SIZE + 1 + CALL_SIZE;
const BUFFER_SIZE = 64 * 1024;
const MAX_LINES = 64; // of the console, for each call
const MAX_TEXT = 1024; // UTF-16 units of a line or a message: at most 3072 bytes
const MAX_PIECE = 1024 * 1024; // bytes that one step of a stream puts out
const MAX_YIELD = 16 * 1024 * 1024; // bytes that a stream yields at once
const STEP_TIME = 100; // milliseconds after which a step that could go on ends all the same, at the next yield
const BROKEN_PIPE = 70, BROKEN_FRAME = 71; // exit codes
const MAX_DELAY = 2 ** 31 - 1; // milliseconds; the engine's timers count no further
const MAX_BACKTRACE = 16 * 1024; // UTF-16 units of a stack trace that are looked at
