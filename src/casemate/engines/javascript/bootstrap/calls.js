// Calls of the program's functions, one at a time, and what a function can ask of the enclave meanwhile.
//
// Guards against: a program that speaks when it is not its turn. The enclave ends a guest that does. So `current` names
// the call under way, `listening` says whether the enclave expects frames at all, and code that a call has left behind
// (a timer, a promise, an object kept in a global) finds both cleared. One program is one party: its own calls are not
// kept apart from each other, since they share all the globals.

let current = NO_CALL; // the call under way
let listening = false; // whether the enclave expects anything of this guest now
let lines = 0; // printed during this call
let functions = create(null);
let outputLimit = 0, ocallLimit = 0, valueLimit = 0, keyLimit = 0, sealedLimit = 0, listLimit = 0;
let configuration = "null"; // of the service, as JSON
let giveUp = null; // rejects what is awaited
let debug = false; // whether the enclave has no secrets, so that the program's words may be told to its developer
let tellsPlaces = false; // of exceptions: in a debug enclave; and while loading, when only measured code has run

// The outcome of a promise or value; a rejection once nothing is left to run that could settle it (see serve.js).
function settled(value) {
  return new Pledge((resolve, reject) => {
    giveUp = reject;
    // Not resolve(value): this promise would then follow that one, and `reject` would have no effect.
    promiseThen(outcome(value), resolve, reject);
  });
}

async function outcome(value) {
  return await value;
}

// In a debug enclave, lets the engine report promises that were rejected without a handler while the call to which they
// belong still lasts. It reports them between two turns of its event loop; a timer that is already due comes before that,
// so one turn is not enough. (`createTimer`, because setTimeout would load Node's timers into every guest.)
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
    sendThrown(call, thrown);
    return;
  }
  over();
  send(RETURNED, call, null, text);
}

// One getter for all calls: V8 would make a new hidden class, which is long lived, for a context with a getter of its own.
const CONFIG = { __proto__: null, get: () => parse(configuration), enumerable: true };

// `context`, the second argument of every function. Frozen, so that one call cannot prepare it for the next.
function contextOf(call, { entry, caller, trace = null, timeMs = null, config = "null" }) {
  configuration = config;
  const context = {
    entry,
    caller,
    trace,
    deadline: timeMs,
    permissions: grants,
    ocall: asker(call),
    state: stateOf(call),
    seal: sealer(call),
    unseal: unsealer(call),
    call: othersCaller(call),
    run: runner(call),
    nonce: nonceDrawer(call),
    appraise: appraiser(call),
    open: opener(call),
    keys: keysOf(call),
    refuse,
  };
  defineProperty(context, "config", CONFIG);
  return freeze(context);
}

// The call is over: what the program goes on to say or print is dropped from here on.
function over() {
  current = NO_CALL;
  listening = false;
}

// Asks the enclave and waits for its answer: a JSON value, or undefined where it sends nothing. A refusal is thrown.
function ask(call, kind, head, text) {
  if (current !== call) throw new Failure("this call is over");
  send(kind, call, stringify(head), text);
  const answer = receive();
  if (answer.kind === ANSWER) return sizeOf(answer.body) === 0 ? undefined : parse(decode(answer.body));
  if (answer.kind !== REFUSAL) exit(BROKEN_FRAME); // the enclave never sends anything else here
  const { name, message } = opened(answer.body).head;
  throw name === "guest-error" ? new Misused(message) : coded(name, message); // a mistake of the program's own
}

// An error whose name is a code of the enclave's. defineProperty, as an assignment could run a setter of the program's.
function coded(name, message) {
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
      throw new Misused(told(thrown).message); // an Untellable is of no use to the program
    }
    return ask(call, ASKED, { __proto__: null, name: words(name, "") }, text);
  };
}
