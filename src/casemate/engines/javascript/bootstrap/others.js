// `context.call`: has the enclave call another one, which its manifest names and which it has appraised.
//
// Guards against: nothing. The enclave looks at all that is asked; what the other says is checked there, too.

function othersCaller(call) {
  return function callOther(service, operation, argument = null) {
    if (typeof service !== "string" || typeof operation !== "string" || service.length > 64 || operation.length > 64) {
      throw new Misused("context.call takes the NAME of a table [uses.NAME] and one of its operations");
    }
    let text;
    try {
      text = textOf(argument, 2 * valueLimit, "the argument");
    } catch (thrown) {
      throw new Misused(told(thrown).message);
    }
    const head = { __proto__: null, do: "call", service, operation };
    const { result, error } = ask(call, WANTED, head, text);
    if (error === undefined) return result;
    throw assign(coded(error.code, error.message), { service, operation, details: error.details });
  };
}
