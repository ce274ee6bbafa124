/** Tests of the function without an enclave: `deno test --no-prompt tests/` in this folder. */

import assert from "node:assert/strict";
import test from "node:test";
import { FakeEnclave } from "casemate/testing";
import { increment, read } from "../guest/main.js";

test("each caller has a counter, and alice a higher limit", async () => {
  const enclave = new FakeEnclave();
  assert.deepEqual(await enclave.call(increment, {}, "alice"), { value: 1, limit: 5, left: 4 });
  assert.deepEqual(await enclave.call(increment, { by: 2 }, "alice"), { value: 3, limit: 5, left: 2 });
  assert.deepEqual(await enclave.call(increment, {}, "bob"), { value: 1, limit: 3, left: 2 });
  assert.deepEqual(await enclave.call(read, null, "alice"), { value: 3, limit: 5, left: 2 });
});

test("the limit can be reached and not passed, and a refusal counts nothing", async () => {
  const enclave = new FakeEnclave();
  const { refused } = await enclave.call(increment, { by: 6 }, "alice");
  assert.equal(refused.code, "limit-reached");
  assert.equal(enclave.epoch, 0);
  assert.equal((await enclave.call(increment, { by: 5 }, "alice")).left, 0);
  assert.equal((await enclave.call(increment, {}, "alice")).refused.code, "limit-reached");
  assert.equal((await enclave.call(read, null, "alice")).value, 5);
});

test("reading changes nothing", async () => {
  const enclave = new FakeEnclave();
  assert.deepEqual(await enclave.call(read, null, "bob"), { value: 0, limit: 3, left: 3 });
  assert.equal(enclave.epoch, 0);
});

test("a caller who is called like a member of objects has the default limit", async () => {
  const enclave = new FakeEnclave();
  for (const name of ["constructor", "toString", "valueOf"]) {
    assert.deepEqual(await enclave.call(increment, {}, name), { value: 1, limit: 3, left: 2 });
  }
});
