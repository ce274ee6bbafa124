/** Tests of the function without an enclave: `deno test --no-prompt tests/` in this folder. */

import assert from "node:assert/strict";
import test from "node:test";
import { FakeEnclave, FunctionRefusedError } from "casemate/testing";
import { public_key, register, rotate } from "../guest/main.js";

const notary = () => new FakeEnclave({ errors: ["another-number"], keys: { register: ["sign", "ed25519"] } });
const DOCUMENTS = ["ab".repeat(32), "cd".repeat(32)];

test("documents are numbered in their order, and each once", async () => {
  const enclave = notary();
  for (const [at, sha256] of DOCUMENTS.entries()) {
    const { line, version } = await enclave.call(register, { sha256 }, null);
    assert.equal(line, `register v1, number ${at + 1}: ${sha256}`);
    assert.equal(version, 1);
  }
  const again = enclave.call(register, { sha256: DOCUMENTS[0] }, null);
  await assert.rejects(again, (error) => error instanceof FunctionRefusedError && error.details.number === 1);
});

test("a new key signs otherwise, and says its number", async () => {
  const enclave = notary(), before = await enclave.call(public_key, null, null);
  assert.equal(await enclave.call(rotate, null, "owner"), 2);
  const after = await enclave.call(public_key, null, null);
  assert.deepEqual([before.version, after.version], [1, 2]);
  assert.notEqual(before.spki, after.spki);
  assert.equal((await enclave.call(register, { sha256: DOCUMENTS[0] }, null)).version, 2);
});

test("keys are for one purpose, and stand-ins say so as an enclave does", async () => {
  const enclave = new FakeEnclave({
    keys: {
      box: ["encrypt", "aes-256-gcm"],
      seeds: ["derive", "hkdf-sha-256"],
      tags: ["mac", "hmac-sha-256"],
      ours: ["agree", "x25519"],
      theirs: ["agree", "x25519"],
    },
  });
  const result = await enclave.call((_, { keys }) => {
    const text = keys.encrypt("box", "secret", "beside");
    assert.throws(() => keys.decrypt("box", text, "other"), { name: "cannot-open" });
    assert.throws(() => keys.sign("box", "data"), /is for 'encrypt'/);
    assert.throws(() => keys.sign("none", "data"), /no \[keys.none\]/);
    assert.equal(keys.derive("seeds", "info", { length: 48 }).length, 48);
    assert.ok(keys.verify("tags", "data", keys.mac("tags", "data")));
    assert.ok(!keys.verify("tags", "other", keys.mac("tags", "data")));
    const [mine, yours] = ["ours", "theirs"].map((name) => keys.public(name).spki);
    assert.deepEqual(keys.agree("ours", yours), keys.agree("theirs", mine));
    assert.throws(() => keys.retire("box", 1), /is the newest/);
    keys.rotate("box");
    assert.ok(keys.retire("box", 1));
    assert.throws(() => keys.decrypt("box", text, "beside"), { name: "cannot-open" });
    return new TextDecoder().decode(keys.decrypt("box", keys.encrypt("box", "secret")));
  }, null, null);
  assert.equal(result, "secret");
});

test("an image without keys is told which table to add", async () => {
  const failing = new FakeEnclave().call(public_key, null, null);
  await assert.rejects(failing, /\[keys\.NAME\]/);
});
