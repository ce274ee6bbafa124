// `console`: lines that a debug enclave sends to its operator. Any other enclave drops them.
//
// Guards against: a program that prints without end. The enclave ends a guest that prints more than 256 lines in one
// call; this file stops at MAX_LINES and cuts each line, so that an honest program does not notice.

function print(...values) {
  if (!listening || ++lines > MAX_LINES) return;
  let line = "";
  for (let number = 0; number < values.length && line.length < MAX_TEXT; number++) {
    const value = values[number];
    line += (number ? " " : "") + (typeof value === "string" ? value : inspect(value));
  }
  send(PRINTED, current, null, slice(line, 0, MAX_TEXT));
}

// Prints an exception that no call throws, in a debug enclave.
function printLoss(what, thrown) {
  if (!debug) return;
  const { name, message, place } = told(thrown);
  print(`${what}: ${name}: ${message}${place === null ? "" : ` at ${place.path}:${place.line}:${place.column}`}`);
}
