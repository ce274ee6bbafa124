/** Tests of what is kept: documents that come, are replaced, and go. Run as search.test.js is. */

import assert from "node:assert/strict";
import test from "node:test";
import { FakeEnclave } from "casemate/testing";
import { add, list, remove, search } from "../guest/main.js";
import { pack, unpack } from "../guest/segment.js";
import { makeTokeniser } from "../guest/tokenise.js";

const letters = [
  { name: "boris", text: "Coffee is dear, and gold is not to be had." },
  { name: "anna", text: "The ships carry gold dust and coffee." },
];

async function filled() {
  const enclave = new FakeEnclave();
  await enclave.call(add, { documents: letters }, "owner");
  return enclave;
}

const found = async (enclave, query) =>
  (await enclave.call(search, { query }, "ann")).hits.map(({ document }) => document);

test("documents are found from the next call on, until they are removed", async () => {
  const enclave = await filled();
  assert.deepEqual((await found(enclave, "gold")).sort(), ["anna", "boris"]);
  assert.deepEqual(await enclave.call(remove, { names: ["anna", "nobody"] }, "owner"), {
    removed: 1,
    unknown: ["nobody"],
    documents: 1,
  });
  assert.deepEqual(await found(enclave, "gold"), ["boris"]);
  assert.deepEqual(await found(enclave, "ships"), []);
  await enclave.call(remove, { names: ["boris"] }, "owner");
  assert.deepEqual(await found(enclave, "gold"), []);
  assert.deepEqual([...enclave.committed.keys()], ["catalogue"]);
});

test("a document of the same name is replaced, words and all", async () => {
  const enclave = await filled();
  const again = { documents: [{ name: "anna", text: "No ship came." }] };
  assert.deepEqual(await enclave.call(add, again, "owner"), { added: 0, replaced: 1, documents: 2 });
  assert.deepEqual(await found(enclave, "dust"), []);
  assert.deepEqual(await found(enclave, "came"), ["anna"]);
});

test("documents are listed by name, whatever order they came in", async () => {
  const enclave = await filled();
  assert.deepEqual(await enclave.call(list, null, "owner"), {
    documents: [
      { name: "anna", words: 7, length: letters[1].text.length },
      { name: "boris", words: 10, length: letters[0].text.length },
    ],
  });
});

test("what is found is the same in whatever order documents came", async () => {
  const one = await filled();
  const other = new FakeEnclave();
  for (const document of letters.toReversed()) await other.call(add, { documents: [document] }, "owner");
  const query = { query: "gold coffee" };
  assert.deepEqual(await one.call(search, query, "ann"), await other.call(search, query, "ben"));
});

test("a search changes nothing", async () => {
  const enclave = await filled();
  const { epoch } = enclave;
  await found(enclave, "gold");
  assert.equal(enclave.epoch, epoch);
});

test("two enclaves in one process do not find each other's documents", async () => {
  const one = await filled();
  assert.deepEqual(await found(one, "ships"), ["anna"]);
  const other = new FakeEnclave();
  await other.call(add, { documents: [{ name: "anna", text: "nothing" }] }, "owner");
  assert.deepEqual(await found(other, "ships"), []);
  assert.deepEqual(await found(one, "ships"), ["anna"]);
});

test("documents that make no sense together are refused, all of them", async () => {
  const enclave = await filled();
  const { epoch } = enclave;
  const twice = { documents: [{ name: "x", text: "" }, { name: "x", text: "" }] };
  assert.equal((await enclave.call(add, twice, "owner")).refused.code, "same-name");
  const many = { documents: Array.from({ length: 999 }, (_, number) => ({ name: `${number}`, text: "" })) };
  assert.equal((await enclave.call(add, many, "owner")).refused.code, "too-many");
  const long = { documents: [1, 2].map((number) => ({ name: `${number}`, text: "-".repeat(2_000_001) })) };
  assert.equal((await enclave.call(add, long, "owner")).refused.code, "too-long");
  const wordy = { documents: [{ name: "a", text: "字".repeat(500_001) }] };
  assert.equal((await enclave.call(add, wordy, "owner")).refused.code, "too-long");
  assert.equal(enclave.epoch, epoch);
  assert.equal((await enclave.call(add, { documents: many.documents.slice(1) }, "owner")).documents, 1000);
});

test("brackets that are too deep are refused by name", async () => {
  const { refused } = await (await filled()).call(search, { query: "(".repeat(17) + "gold" }, "ann");
  assert.equal(refused.code, "bad-query");
});

test("names of object members are names like others", async () => {
  const enclave = new FakeEnclave();
  const names = ["__proto__", "constructor", "toString"];
  await enclave.call(add, { documents: names.map((name) => ({ name, text: `${name} valueOf` })) }, "owner");
  assert.deepEqual(await found(enclave, "valueOf"), names);
  assert.equal((await enclave.call(remove, { names: ["__proto__", "hasOwnProperty"] }, "owner")).removed, 1);
});

test("long texts are kept in pieces, and come back whole", async () => {
  const enclave = new FakeEnclave();
  for (const text of ["🔑".repeat(400_000), `x${"🔑".repeat(400_000)}`, "\u0001".repeat(1_000_000), ""]) {
    await enclave.call(add, { documents: [{ name: "long", text: `${text} comet` }] }, "owner");
    const { hits } = await enclave.call(search, { query: "comet" }, "ann");
    assert.match(hits[0].snippets[0].text, /comet$/);
  }
  await enclave.call(remove, { names: ["long"] }, "owner");
  assert.deepEqual([...enclave.committed.keys()], ["catalogue"]);
});

test("a segment of the index unpacks to what was packed", () => {
  for (const text of ["", "a", "a b a  b\nc", "__proto__ constructor __proto__", "东京 東京 🔑 é"]) {
    const tokens = makeTokeniser()(text);
    assert.deepEqual(unpack(JSON.parse(JSON.stringify(pack(tokens)))), tokens);
  }
});
