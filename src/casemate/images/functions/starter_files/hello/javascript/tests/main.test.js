// The function by itself, without an enclave: `deno test`. Tests are not measured.

import { rate } from "../guest/main.js";
import input from "../input.json" with { type: "json" };

/** What the function finds in `context`, as far as this one looks. */
const called = (caller) => ({
  entry: "rate",
  caller,
  refuse: (code, details) => Object.assign(new Error(code), { code, details }),
});
const NOBODY = called(null);

function equal(got, want) {
  if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

Deno.test("a long password is strong", () => equal(rate(input, NOBODY).verdict, "strong"));

Deno.test("a common password is weak, in either case", () => {
  equal(rate({ password: "PassWord" }, NOBODY).verdict, "weak");
  equal(rate({ password: "PassWord" }, NOBODY).advice.length, 2);
});

Deno.test("repeating a letter does not help", () => equal(rate({ password: "a".repeat(200) }, NOBODY).verdict, "weak"));

Deno.test("the result names the caller", () => {
  equal(rate(input, NOBODY).rated_for, "anyone");
  equal(rate(input, called({ name: "alice", key: "" })).rated_for, "alice");
});

Deno.test("a short password is refused", () => {
  try {
    rate({ password: "abc" }, NOBODY);
  } catch (error) {
    equal(error.code, "too-short");
    equal(error.details.least, 4);
    return;
  }
  throw new Error("it was rated");
});
