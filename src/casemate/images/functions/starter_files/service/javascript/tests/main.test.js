// The operations by themselves, without an enclave: `casemate test .` runs this. Tests are not measured.

import { FakeEnclave } from "casemate/testing";
import { add, tell } from "../guest/main.js";

function equal(got, want) {
  if (got !== want) throw new Error(`got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

Deno.test("what is added is told", async () => {
  const enclave = new FakeEnclave({ errors: ["no-such-tally"] });
  equal((await enclave.call(add, { name: "apples", by: 3 })).tally, 3);
  equal((await enclave.call(add, { name: "apples", by: 2 })).tally, 5);
  equal((await enclave.call(tell, { name: "apples" })).tally, 5);
});

Deno.test("a tally that there is not is refused", async () => {
  const enclave = new FakeEnclave({ errors: ["no-such-tally"] });
  const refused = await enclave.call(tell, { name: "pears" }).catch((error) => error);
  equal(refused.code, "no-such-tally");
  equal(refused.details.name, "pears");
});
