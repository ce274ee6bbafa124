/** Tests of the function without an enclave: `deno test --no-prompt tests/` in this folder. */

import assert from "node:assert/strict";
import test from "node:test";
import { FakeEnclave, keyOf, stranger } from "casemate/testing";
import { audit, list, put, read, remove, rotate, share } from "../guest/main.js";

const secret = (owner, name, version) => (version === undefined ? { owner, name } : { owner, name, version });
const code = async (answer) => (await answer).refused?.code;

/** An enclave in which alice shares "db" with deployer. */
async function shared() {
  const enclave = new FakeEnclave();
  await enclave.call(put, { name: "db", value: "s3cret", readers: ["deployer"] }, "alice");
  return enclave;
}

test("the owner and the named readers read, and nobody else", async () => {
  const enclave = await shared();
  const want = { owner: "alice", name: "db", version: 1, value: "s3cret" };
  assert.deepEqual(await enclave.call(read, secret("alice", "db"), "alice"), want);
  assert.deepEqual(await enclave.call(read, secret("alice", "db"), "deployer"), want);
  for (const who of ["bob", stranger("deployer"), stranger("eve"), null]) {
    assert.equal(await code(enclave.call(read, secret("alice", "db"), who)), "unknown-secret");
  }
});

test("a reader can be named by key, whether the manifest names it or not", async () => {
  const enclave = await shared();
  await enclave.call(put, { name: "key", value: "v", readers: [keyOf("eve"), keyOf("bob")] }, "alice");
  assert.equal((await enclave.call(read, secret("alice", "key"), stranger("eve"))).value, "v");
  assert.equal((await enclave.call(read, secret("alice", "key"), "bob")).value, "v");
  assert.equal(await code(enclave.call(read, secret("alice", "key"), "deployer")), "unknown-secret");
});

test("what is not shared looks like what is not there, and leaves no trace", async () => {
  const enclave = await shared();
  const { epoch } = enclave;
  const missing = await enclave.call(read, secret("alice", "dc"), "bob");
  const hidden = await enclave.call(read, secret("alice", "db"), "bob");
  assert.deepEqual(JSON.stringify(hidden).replaceAll("db", "dc"), JSON.stringify(missing));
  assert.equal(enclave.epoch, epoch);
  assert.deepEqual(await enclave.call(list, null, "bob"), { own: [], shared: [] });
  assert.deepEqual(await enclave.call(list, null, null), { own: [], shared: [] });
});

test("an owner cannot touch another owner's secrets", async () => {
  const enclave = await shared();
  for (const [entry, input] of [[rotate, { value: "x" }], [share, { readers: ["bob"] }], [remove, {}]]) {
    assert.equal(await code(enclave.call(entry, { name: "db", ...input }, "bob")), "unknown-secret");
  }
  await enclave.call(put, { name: "db", value: "bob's" }, "bob");
  assert.equal((await enclave.call(read, secret("alice", "db"), "alice")).value, "s3cret");
  assert.equal((await enclave.call(read, secret("bob", "db"), "bob")).value, "bob's");
  assert.deepEqual((await enclave.call(audit, {}, "bob")).entries.map(({ action }) => action), ["put", "read"]);
});

test("a secret is put once, then rotated; some earlier versions stay", async () => {
  const enclave = await shared();
  assert.equal(await code(enclave.call(put, { name: "db", value: "again" }, "alice")), "already-there");
  for (let version = 2; version <= 7; version += 1) {
    assert.deepEqual(await enclave.call(rotate, { name: "db", value: `v${version}` }, "alice"), { name: "db", version });
  }
  assert.equal((await enclave.call(read, secret("alice", "db"), "deployer")).value, "v7");
  assert.equal((await enclave.call(read, secret("alice", "db", 3), "deployer")).value, "v3");
  for (const gone of [1, 2, 8]) {
    assert.equal(await code(enclave.call(read, secret("alice", "db", gone), "deployer")), "unknown-version");
  }
  await enclave.call(rotate, { name: "db", value: "leaked before", forget_earlier: true }, "alice");
  assert.equal(await code(enclave.call(read, secret("alice", "db", 7), "deployer")), "unknown-version");
  assert.equal([...enclave.committed.keys()].filter((key) => key.startsWith("value/")).length, 1);
});

test("sharing anew replaces readers and window", async () => {
  const enclave = await shared();
  await enclave.call(share, { name: "db", readers: ["bob"], not_after: "2026-06-01T00:00:00Z" }, "alice");
  assert.equal(await code(enclave.call(read, secret("alice", "db"), "deployer")), "unknown-secret");
  assert.deepEqual((await enclave.call(list, null, "deployer")).shared, []);
  assert.deepEqual((await enclave.call(list, null, "bob")).shared, [
    { owner: "alice", name: "db", version: 1, not_after: "2026-06-01T00:00:00Z" },
  ]);
  await enclave.call(share, { name: "db", readers: [] }, "alice");
  assert.deepEqual((await enclave.call(list, null, "bob")).shared, []);
  assert.deepEqual((await enclave.call(list, null, "alice")).own, [{ name: "db", version: 1, kept: [1], readers: [] }]);
});

test("readers keep to the window, by the host's clock; the owner need not", async () => {
  const enclave = new FakeEnclave();
  const window = { not_before: "2026-02-01T00:00:00Z", not_after: "2026-02-01T01:00:00+01:00" }; // one instant
  await enclave.call(put, { name: "w", value: "v", readers: ["bob"], ...window }, "alice");
  assert.equal(await code(enclave.call(read, secret("alice", "w"), "bob")), "too-early");
  assert.equal((await enclave.call(read, secret("alice", "w"), "alice")).value, "v");
  enclave.now = Date.parse(window.not_before);
  assert.equal((await enclave.call(read, secret("alice", "w"), "bob")).value, "v");
  enclave.now += 1;
  assert.equal(await code(enclave.call(read, secret("alice", "w"), "bob")), "too-late");
  const { entries } = await enclave.call(audit, {}, "alice");
  assert.deepEqual(entries.map(({ who, action }) => [who, action]), [
    ["alice", "put"], ["bob", "refused-early"], ["alice", "read"], ["bob", "read"], ["bob", "refused-late"],
  ]);
});

test("windows that make no sense are refused", async () => {
  const enclave = new FakeEnclave();
  const from = { name: "w", value: "v", not_before: "2026-02-01T00:00:01Z" };
  assert.equal(await code(enclave.call(put, { ...from, not_after: "2026-02-01T00:00:00Z" }, "alice")), "empty-window");
  assert.equal(await code(enclave.call(put, { ...from, not_after: "2016-12-31T23:59:60Z" }, "alice")), "no-such-time");
  assert.equal(enclave.epoch, 0);
});

test("a removed secret is gone with its values and grants, and its name begins anew", async () => {
  const enclave = await shared();
  await enclave.call(rotate, { name: "db", value: "two" }, "alice");
  await enclave.call(remove, { name: "db" }, "alice");
  assert.equal(await code(enclave.call(read, secret("alice", "db"), "deployer")), "unknown-secret");
  assert.doesNotMatch(JSON.stringify([...enclave.committed]), /s3cret|two|grant/);
  await enclave.call(put, { name: "db", value: "new" }, "alice");
  assert.equal(await code(enclave.call(read, secret("alice", "db"), "deployer")), "unknown-secret");
  assert.equal((await enclave.call(read, secret("alice", "db"), "alice")).version, 1);
});

test("the audit says who did what and when the host said it was, in pages", async () => {
  const enclave = await shared();
  enclave.now += 1000;
  await enclave.call(put, { name: "k", value: "v", readers: [keyOf("eve")] }, "alice");
  await enclave.call(read, secret("alice", "k"), stranger("eve"));
  assert.deepEqual(await enclave.call(audit, { after: 1 }, "alice"), {
    entries: [
      { number: 2, host_said: "2026-01-01T00:00:01.000Z", who: "alice", action: "put", name: "k", version: 1 },
      { number: 3, host_said: "2026-01-01T00:00:01.000Z", who: keyOf("eve"), action: "read", name: "k", version: 1 },
    ],
    last: 3,
  });
  assert.deepEqual((await enclave.call(audit, { limit: 1 }, "alice")).entries.map(({ number }) => number), [1]);
  assert.deepEqual((await enclave.call(audit, { after: 9 }, "alice")).entries, []);
});

test("the audit keeps the last thousand entries", async () => {
  const enclave = await shared();
  for (let count = 0; count < 1002; count += 1) await enclave.call(read, secret("alice", "db"), "deployer");
  const { entries, last } = await enclave.call(audit, { limit: 1000 }, "alice");
  assert.deepEqual([entries.length, entries[0].number, last], [1000, 4, 1003]);
});

test("an owner has a hundred secrets at most", async () => {
  const enclave = new FakeEnclave();
  for (let count = 0; count < 100; count += 1) await enclave.call(put, { name: `n${count}`, value: "v" }, "alice");
  assert.equal(await code(enclave.call(put, { name: "one more", value: "v" }, "alice")), "too-many");
  assert.equal((await enclave.call(put, { name: "bob's first", value: "v" }, "bob")).version, 1);
});

test("a name has one spelling, of any script, and may be that of a member of objects", async () => {
  const enclave = new FakeEnclave();
  await enclave.call(put, { name: "cle\u0301", value: "composed" }, "alice");
  assert.equal((await enclave.call(read, secret("alice", "cl\u00e9"), "alice")).value, "composed");
  for (const name of ["__proto__", "constructor", "a/b", "../alice", "密码", "🔑", "x".repeat(160)]) {
    assert.equal((await enclave.call(put, { name, value: name }, "alice")).version, 1, name);
    assert.equal((await enclave.call(read, secret("alice", name), "alice")).value, name);
  }
  assert.ok((await enclave.call(list, null, "alice")).own.some(({ name }) => name === "__proto__"));
  for (const name of [" a", "a\n", "a\u200bb", "a\u0000", "\u202ea", "é".repeat(81)]) {
    assert.equal(await code(enclave.call(put, { name, value: "v" }, "alice")), "bad-name", JSON.stringify(name));
  }
});

test("no owner's name begins another's keys", async () => {
  const enclave = new FakeEnclave();
  await enclave.call(put, { name: "x", value: "1" }, "bob");
  await enclave.call(put, { name: "x", value: "2" }, "bob.jr");
  assert.equal((await enclave.call(list, null, "bob")).own.length, 1);
});

test("values come back as they were, whatever they hold", async () => {
  const enclave = new FakeEnclave();
  for (const [name, value] of Object.entries({ empty: "", nul: "a\u0000b", long: "🔑".repeat(8192), json: '{"__proto__":1}' })) {
    await enclave.call(put, { name, value }, "alice");
    assert.equal((await enclave.call(read, secret("alice", name), "alice")).value, value);
  }
});
