// A clock that stands at the epoch, for a program that may not tell the time, and timers that do not tell it either.
//
// Guards against: time that comes by another way than `Date.now`. Whatever the engine fills in by itself where no time
// is given is replaced. A timer of the engine's would tell the time by when it fires, as seen by a program that counts
// how often something else happens. So here no timer waits: when nothing else of the program is left to run, the one
// that is due first fires, as if its time had passed. The order is what the delays say, and nothing more can be learnt.

let clockStands = false;
let elapsed = 0, timers = null, timerCount = 0; // milliseconds as if passed; timers linked in the order in which they fire

function startStill(callback, delay, given, repeats) {
  if (typeof callback !== "function") throw new Misused("a timer calls a function");
  const timer = { __proto__: null, id: ++timerCount, due: 0, delay, callback, given, repeats, next: null, handle: null };
  timer.handle = freeze({
    ref: () => timer.handle,
    unref: () => timer.handle,
    hasRef: () => true,
    refresh() {
      forgetTimer(timer);
      schedule(timer);
      return timer.handle;
    },
    close: () => forgetTimer(timer),
    [Symbol.toPrimitive]: () => timer.id,
  });
  schedule(timer);
  return timer.handle;
}

function schedule(timer) {
  timer.due = elapsed + timer.delay;
  let before = null, after = timers;
  while (after !== null && after.due <= timer.due) {
    before = after;
    after = after.next;
  }
  timer.next = after;
  if (before === null) timers = timer;
  else before.next = timer;
}

function forgetTimer(timer) {
  let before = null;
  for (let other = timers; other !== null; before = other, other = other.next) {
    if (other !== timer) continue;
    if (before === null) timers = timer.next;
    else before.next = timer.next;
    return;
  }
}

function clearStill(handle) {
  for (let timer = timers; timer !== null; timer = timer.next) {
    if (timer.handle === handle || typeof handle === "number" && timer.id === handle) {
      forgetTimer(timer);
      return;
    }
  }
}

// Fires the timer that is due first; false where there is none. To be called when nothing else is left to run.
function fireNext() {
  const timer = timers;
  if (timer === null) return false;
  timers = timer.next;
  elapsed = timer.due;
  if (timer.repeats) schedule(timer);
  apply(timer.callback, timer.handle, timer.given);
  return true;
}

function stopTheClock(usesTemporal) {
  clockStands = true;
  redefine(globalThis, "clearTimeout", { clearTimeout: (handle) => clearStill(handle) }.clearTimeout);
  redefine(globalThis, "clearInterval", { clearInterval: (handle) => clearStill(handle) }.clearInterval);
  stopDate();
  stopIntl();
  stopPerformance();
  redefine(AbortSignal, "timeout", { timeout(delay) {
    const controller = new Controller();
    const late = () => abort(controller, new PlatformError("Signal timed out.", "TimeoutError"));
    startStill(late, clamped(delay), [], false);
    return signalOf(controller);
  } }.timeout);
  // V8 makes Temporal when it is first touched, which takes 0.4 ms: so it goes where no source has the name.
  if (usesTemporal) stopTemporal(Temporal);
  else deleteProperty(globalThis, "Temporal");
}

function stopDate() {
  const Engine = Date;
  const { toString } = Engine.prototype;
  function StillDate(...given) {
    if (new.target === undefined) return apply(toString, new Engine(0), []);
    return construct(Engine, given.length === 0 ? [0] : given, new.target === StillDate ? Engine : new.target);
  }
  for (const name of ["parse", "UTC", "length", "name", "prototype"]) {
    defineProperty(StillDate, name, getOwnPropertyDescriptor(Engine, name));
  }
  defineProperty(StillDate, "now", { ...getOwnPropertyDescriptor(Engine, "now"), value: { now: () => 0 }.now });
  redefine(Engine.prototype, "constructor", StillDate);
  redefine(globalThis, "Date", StillDate);
}

// Date formats, for which `undefined` is the present.
function stopIntl() {
  const formats = Intl.DateTimeFormat.prototype;
  const { formatToParts } = formats, property = getOwnPropertyDescriptor(formats, "format");
  const formatOf = property.get;
  defineProperty(formats, "format", { ...property, get() {
    const format = apply(formatOf, this, []);
    return { format: (date) => format(date === undefined ? 0 : date) }.format;
  } });
  redefine(formats, "formatToParts", { formatToParts(date) {
    return apply(formatToParts, this, [date === undefined ? 0 : date]);
  } }.formatToParts);
}

function stopPerformance() {
  const shared = getPrototypeOf(performance);
  for (const name of ["mark", "measure"]) {
    redefine(shared, name, { [name]() {
      throw ungranted("now", `performance.${name}`);
    } }[name]);
  }
  redefine(shared, "now", { now: () => 0 }.now);
  redefine(shared, "timeOrigin", 0);
  redefine(shared, "toJSON", { toJSON: () => ({ timeOrigin: 0 }) }.toJSON);
}

function stopTemporal({ Instant, Now }) {
  const zoned = (zone = "UTC") => Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(zone);
  const still = {
    instant: () => Instant.fromEpochMilliseconds(0),
    zonedDateTimeISO: (zone) => zoned(zone),
    plainDateTimeISO: (zone) => zoned(zone).toPlainDateTime(),
    plainDateISO: (zone) => zoned(zone).toPlainDate(),
    plainTimeISO: (zone) => zoned(zone).toPlainTime(),
  };
  for (const name of ownKeys(still)) redefine(Now, name, still[name]);
}
