// `context.run`: has the enclave run code that a caller has brought, in a guest of its own.
//
// Guards against: nothing. The enclave looks at all that is asked, and code that it runs never meets this process.

function runner(call) {
  return function run(engine, code, entry, argument = null, limits = {}) {
    let text;
    try {
      text = textOf([engine, code, entry, argument, limits], 2 * valueLimit, "what to run");
    } catch (thrown) {
      throw new Misused(told(thrown).message);
    }
    const { result, error, code_sha256, metrics } = ask(call, WANTED, { __proto__: null, do: "run" }, text);
    if (error === undefined) return { result, code_sha256, metrics };
    throw assign(coded(error.code, error.message), { code_sha256, metrics });
  };
}
