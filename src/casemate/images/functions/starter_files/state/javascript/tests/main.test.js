// The function by itself, without an enclave: `deno test`. Tests are not measured.

import { spend } from "../guest/main.js";

/** What the function finds in `context`, as far as this one looks, over a state of the test's own. */
function callers() {
  const kept = new Map();
  return (caller = null) => ({
    entry: "spend",
    caller,
    state: { get: (key) => kept.get(key), put: (key, value) => void kept.set(key, value) },
    refuse: (code, details) => Object.assign(new Error(code), { code, details }),
  });
}

function equal(got, want) {
  if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

Deno.test("what is spent is gone", () => {
  const called = callers();
  equal(spend({ amount: 30 }, called()).left, 70);
  equal(spend({ amount: 30 }, called()).left, 40);
  equal(spend({ amount: 0 }, called()).left, 40);
});

Deno.test("each caller has a budget", () => {
  const called = callers();
  spend({ amount: 100 }, called({ name: "alice", key: "ed25519:a" }));
  equal(spend({ amount: 0 }, called({ name: "bob", key: "ed25519:b" })).left, 100);
});

Deno.test("more than what is left is refused", () => {
  const called = callers();
  spend({ amount: 90 }, called());
  try {
    spend({ amount: 11 }, called());
  } catch (error) {
    equal(error.code, "budget-spent");
    equal(error.details.left, 10);
    return;
  }
  throw new Error("it was spent");
});
