// The program's modules: their paths in error messages, and which imports the engine may follow.
//
// Guards against: code that nobody has measured. The engine itself would import `data:` and `blob:` URLs, which a
// program can make, and some modules of its own, which can run a text as code. See casemate.engines.javascript.engine
// for how an image is recognised that could try.

const pathOf = create(null); // the path in the image, by the URL that a module has in the engine
const linksOf = create(null); // by the same URL: where import specifiers of the source were replaced by URLs

const BLOB = "blob:null/", BLOB_SIZE = BLOB.length + 36; // a blob's name is a UUID, which has 36 characters

// A text with the paths of modules in place of the URLs that the engine gave them.
function named(text) {
  const parts = split(text, BLOB);
  let made = parts[0];
  for (let number = 1; number < parts.length; number++) {
    const url = slice(BLOB + parts[number], 0, BLOB_SIZE);
    const path = pathOf[url];
    const rest = slice(parts[number], BLOB_SIZE - BLOB.length);
    made += path === undefined ? BLOB + parts[number] : path + measured(linksOf[url], rest);
  }
  return made;
}

const PLACE = /^:(\d+):(\d+)/;

// A text that begins with `:LINE:COLUMN`, with the column that the place has in the measured file. The engine sees each
// import specifier replaced by a longer URL, so on a line with imports it counts further than the developer does.
function measured(links, text) {
  const place = execute(PLACE, text);
  if (place === null) return text;
  let column = +place[2];
  for (let number = 0; number < links.length; number++) {
    const link = links[number], at = link[4]; // by index: the program may replace the iterator that `of` would use
    const longer = BLOB_SIZE + 2 - (link[1] - link[0]); // two quotation marks; specifiers are ASCII
    if (link[3] === +place[1] && column > at) column = column < at + BLOB_SIZE + 2 ? at : column - longer;
  }
  return `:${place[1]}:${column}${slice(text, place[0].length)}`;
}

let refused = null; // words about the first import that the image's index does not list

// Has the engine ask here, from its own loader and before any program runs, about each import. It costs 15 ms to load
// the part of the engine that can do so, hence only programs whose text may hold an import that the index does not list
// are guarded. Throwing here would not do: where a resolver fails, the engine falls back on a module of its own with
// that name. So a refused import is answered with a URL of a scheme that nothing can load.
function guardImports(known) {
  globalThis.Deno = deno; // that part of the engine looks for this name
  const { registerHooks } = lazy.process().getBuiltinModule("module");
  registerHooks({
    __proto__: null,
    resolve(specifier, context, next) {
      if (known[specifier] === true) return next(specifier, context);
      const words = `${stringify(slice(specifier, 0, 64))} is not a measured module that the image's index links`;
      refused ??= words;
      return { __proto__: null, url: "refused:" + words, shortCircuit: true };
    },
  });
  takeGlobals();
}
