// Has the engine load modules without running them, and writes what it says to that: `null`, or its words.
// Standard input has the modules in JSON, each after those that it imports: pieces of text, and numbers of modules.

const STOP = "the modules are loaded"; // thrown by a module that is evaluated before all others, so that no other is
const moduleOf = (text, type = "text/javascript") => URL.createObjectURL(new Blob([text], { type }));

const modules = JSON.parse(await new Response(Deno.stdin.readable).text());
const urls = [];
for (const { pieces, json } of modules) {
  const text = pieces.map((piece) => typeof piece === "number" ? JSON.stringify(urls[piece]) : piece).join("");
  urls.push(moduleOf(text, json ? "application/json" : undefined));
}
const stop = JSON.stringify(moduleOf(`throw ${JSON.stringify(STOP)};`));
let words = null;
try {
  await import(moduleOf(`import ${stop}; import ${JSON.stringify(urls.at(-1))};`));
} catch (error) {
  if (error !== STOP) words = String(error?.message ?? error);
}
console.log(JSON.stringify({ words, urls }));
