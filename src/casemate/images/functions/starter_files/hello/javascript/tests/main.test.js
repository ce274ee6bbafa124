// The function by itself, without an enclave: `casemate test .` runs this. Tests are not measured.

import { FakeEnclave } from "casemate/testing";
import { rate } from "../guest/main.js";
import input from "../input.json" with { type: "json" };

const enclave = new FakeEnclave({ errors: ["too-short"] });

function equal(got, want) {
  if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

Deno.test("a long password is strong", async () => equal((await enclave.call(rate, input)).verdict, "strong"));

Deno.test("a common password is weak, in either case", async () => {
  const rated = await enclave.call(rate, { password: "PassWord" });
  equal(rated.verdict, "weak");
  equal(rated.advice.length, 2);
});

Deno.test("repeating a letter does not help", async () => {
  equal((await enclave.call(rate, { password: "a".repeat(200) })).verdict, "weak");
});

Deno.test("the result names the caller", async () => {
  equal((await enclave.call(rate, input)).rated_for, "anyone");
  equal((await enclave.call(rate, input, "alice")).rated_for, "alice");
});

Deno.test("a short password is refused", async () => {
  const refused = await enclave.call(rate, { password: "abc" }).catch((error) => error);
  equal(refused.code, "too-short");
  equal(refused.details.least, 4);
});
