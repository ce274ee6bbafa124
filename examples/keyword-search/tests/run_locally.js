/**
 * The function without an enclave: reads an input from standard input and prints what the function returns.
 *
 *     deno run --no-prompt tests/run_locally.js < input.json
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import { search } from "../guest/main.js";

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const input = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
console.log(JSON.stringify(search(input), null, 2));
