// The function by itself, without an enclave: `casemate test .` runs this. Tests are not measured.

import { FakeEnclave } from "casemate/testing";
import { spend } from "../guest/main.js";

/** An enclave whose state is empty. */
const newEnclave = () => new FakeEnclave({ errors: ["budget-spent"] });

function equal(got, want) {
  if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

Deno.test("what is spent is gone", async () => {
  const enclave = newEnclave();
  equal((await enclave.call(spend, { amount: 30 })).left, 70);
  equal((await enclave.call(spend, { amount: 30 })).left, 40);
  equal((await enclave.call(spend, { amount: 0 })).left, 40);
});

Deno.test("each caller has a budget", async () => {
  const enclave = newEnclave();
  await enclave.call(spend, { amount: 100 }, "alice");
  equal((await enclave.call(spend, { amount: 0 }, "bob")).left, 100);
});

Deno.test("more than what is left is refused", async () => {
  const enclave = newEnclave();
  await enclave.call(spend, { amount: 90 });
  const refused = await enclave.call(spend, { amount: 11 }).catch((error) => error);
  equal(refused.code, "budget-spent");
  equal(refused.details.left, 10);
});
