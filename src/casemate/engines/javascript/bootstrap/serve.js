// The start: handlers for what no call catches, the lockdown, and the loop that serves frames.
//
// It comes last, because `lockDown` makes capturing impossible and `serve` never returns. The handlers are registered
// before, as `addEventListener` is one of the names that go.

// Calls nothing else for these events: a listener of the program's would find the engine's URLs in them.
function listen(type, then) {
  const first = { __proto__: null, capture: true };
  addEventListener(type, (event) => {
    stopEvent(event);
    preventDefault(event);
    then(event);
  }, first);
}

// A promise that nobody waits for, or a timer that throws, is the program's loss and not the process's end.
listen("unhandledrejection", ({ reason }) => printLoss("a promise was rejected, and nobody waited for it", reason));
listen("error", ({ error }) => printLoss("an exception outside of a call", error));
listen("beforeunload", () => { // the engine's event loop is empty: what is awaited will never come
  if (fireNext()) return;
  const reject = giveUp;
  giveUp = null;
  if (reject !== null) reject(new Failure("the promise can never be settled: nothing is left to run"));
  else exit(0); // nothing is awaited, and the engine would end by itself with another status
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
