// `context.nonce`, `context.appraise` and `context.open`: what the enclave knows of others.
//
// Guards against: nothing. The enclave appraises, and seals to the key that it has found in the evidence: all that a
// program has of that key is a number.

function valueText(value) {
  try {
    return textOf(value, 2 * valueLimit, "the value");
  } catch (thrown) {
    throw new Misused(told(thrown).message);
  }
}

function appraiser(call) {
  return function appraise(evidence, policy, nonce = null) {
    const text = valueText([evidence, policy, nonce]);
    const { claims, number, error } = ask(call, WANTED, { __proto__: null, do: "appraise" }, text);
    if (error !== undefined) throw assign(coded("appraisal-refused", error.message), error);
    const seal = (value) => ask(call, WANTED, { __proto__: null, do: "seal-for", claims: number }, valueText(value));
    defineProperty(claims, "seal", { __proto__: null, value: seal });
    return freeze(claims);
  };
}

function nonceDrawer(call) {
  return () => ask(call, WANTED, { __proto__: null, do: "nonce" }, null);
}

function opener(call) {
  return function open(text) {
    if (typeof text !== "string") throw new Misused("a sealed secret is a string");
    return ask(call, WANTED, { __proto__: null, do: "open" }, encode(text));
  };
}
