// Timers, and waiting on shared memory.
//
// The engine's own versions do not work in here. Its timers warn about a delay that they clamp, with a part of Node
// whose globals are gone. Its Atomics.waitAsync is woken by tasks that V8 runs on helper threads, of which there are
// none (--single-threaded). As there is one thread, all that wait and all that notify are in this file.

function clamped(delay) {
  delay = +delay; // throws for a symbol and a BigInt, as the engine's own does
  return delay >= 1 && delay <= MAX_DELAY ? delay : 1;
}

function timerOf(name) {
  let start = null;
  return {
    [name](callback, delay, ...args) {
      if (clockStands) return startStill(callback, clamped(delay), args, name === "setInterval");
      start ??= lazy[name]();
      return start(callback, clamped(delay), ...args);
    },
  }[name];
}

// A timer of the bootstrap's own, and how it is cancelled.
const later = (run, delay) =>
  clockStands ? startStill(run, delay, [], false) : createTimer(run, delay, undefined, false, true, false);
const notLater = (timer) => clockStands ? clearStill(timer) : cancelTimer(timer);

let waiters = null; // linked by hand, in the order in which they came; see chunksOf

function waitAsync(cell, index, value, timeout) {
  const place = +index, limit = timeout === undefined ? NaN : +timeout;
  // With a timeout of 0 the engine's own function checks all arguments, and waits for nothing.
  const tried = apply(startWaiting, Atomics, [cell, place, value, 0]);
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
    waiter.timer = later(expire, min(limit, MAX_DELAY));
  }
  return { async: true, value: promise };
}

function notify(cell, index, count) {
  const place = +index, most = count === undefined ? Infinity : +count;
  let woken = apply(notifyThreads, Atomics, [cell, place, most]); // wakes no one; it checks all arguments
  const buffer = bufferOf(cell), at = byteAt(cell, place);
  for (let waiter = waiters; waiter !== null && woken + 1 <= most; waiter = waiter.next) {
    if (waiter.buffer !== buffer || waiter.at !== at) continue;
    forgetWaiter(waiter);
    if (waiter.timer !== null) notLater(waiter.timer);
    waiter.settle("ok");
    woken++;
  }
  return woken;
}

// The byte in the buffer: two arrays over one buffer may name the same place by different numbers. Of a number, the
// specification takes the integer: `place - place % 1 || 0` (NaN counts as 0).
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
