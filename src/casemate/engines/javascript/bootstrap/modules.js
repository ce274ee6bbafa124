// Which imports of the program's the engine may follow.
//
// Guards against: code that nobody has measured. The engine itself would import `data:` and `blob:` URLs, which a
// program can make, and some modules of its own, which can run a text as code. See casemate.engines.javascript.engine
// for how an image is recognised that could try.

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
