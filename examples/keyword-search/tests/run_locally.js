/**
 * The function without an enclave: reads `{ documents, query, limit }` from standard input, takes the documents in,
 * searches, and prints what the search returns.
 *
 *     deno run --no-prompt tests/run_locally.js < all.json
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import { FakeEnclave } from "casemate/testing";
import { add, search } from "../guest/main.js";

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const { documents, ...query } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
const enclave = new FakeEnclave();
const { refused } = await enclave.call(add, { documents }, "owner");
if (refused !== undefined) {
  throw new Error(refused.message);
}
console.log(JSON.stringify(await enclave.call(search, query, "ann"), null, 2));
