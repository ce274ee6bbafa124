// What V8 makes of modules, given as a list of sources (base64) on standard input: for each, `null` where it is none,
// or the specifiers that it imports and those that it would import as it runs. Nothing that is imported is there.

import vm from "node:vm";

addEventListener("unhandledrejection", (event) => event.preventDefault());
addEventListener("error", (event) => event.preventDefault());

const sources = JSON.parse(new TextDecoder().decode(await new Response(Deno.stdin.readable).bytes()));
const found = [];
for (const source of sources) {
  const text = new TextDecoder().decode(Uint8Array.fromBase64(source)); // as the engine does: without a first BOM
  const later = [];
  const refuse = (specifier) => {
    later.push(String(specifier));
    throw new Error("not here");
  };
  let module;
  try {
    module = new vm.SourceTextModule(text, { importModuleDynamically: refuse });
  } catch (error) {
    if (error.name !== "SyntaxError") throw error;
    found.push(null);
    continue;
  }
  const requests = module.moduleRequests.map(({ specifier }) => specifier);
  try {
    await module.link(() => new vm.SyntheticModule(["default", "a"], () => {}));
    await module.evaluate({ timeout: 1000 });
  } catch { /* the program's own affair */ }
  await new Promise((done) => setTimeout(done, 0));
  found.push({ requests, later });
}
console.log(JSON.stringify(found));
Deno.exit();
