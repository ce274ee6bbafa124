// Places in the program: paths, lines and columns of the measured files, wherever the engine tells of its own.
//
// Guards against: addresses of the engine's. It has each module under a blob URL that it draws by lot, with every import
// specifier replaced by such a URL, and this bootstrap under a URL that is its whole text. A developer wants the path in
// the image and the column in his own file; and a program must not find a random number in a name.

const pathOf = create(null); // the path in the image, by the URL that a module has in the engine
const changesOf = create(null); // by the same URL: `links`, where specifiers were replaced, and `added` on the first line

const BLOB = "blob:null/", BLOB_SIZE = BLOB.length + 36; // a blob's name is a UUID, which has 36 characters

// What a module begins with that uses import.meta: in there the engine names the module by its URL.
const introduction = (path) => `import.meta.url=${stringify(path)};delete import.meta.resolve;`;

// A text with the paths of modules in place of the URLs that the engine gave them.
function named(text) {
  const parts = split(text, BLOB);
  let made = parts[0];
  for (let number = 1; number < parts.length; number++) {
    const url = slice(BLOB + parts[number], 0, BLOB_SIZE);
    const path = pathOf[url];
    const rest = slice(parts[number], BLOB_SIZE - BLOB.length);
    made += path === undefined ? BLOB + parts[number] : path + measured(url, rest);
  }
  return made;
}

const POSITION = /^:(\d+):(\d+)/;

// A text that begins with `:LINE:COLUMN`, with the column that the place has in the measured file.
function measured(url, text) {
  const place = execute(POSITION, text);
  if (place === null) return text;
  return `:${place[1]}:${columnIn(url, +place[1], +place[2])}${slice(text, place[0].length)}`;
}

// A column of the measured file. The engine sees each import specifier replaced by a longer URL, so on a line with
// imports it counts further than the developer does.
function columnIn(url, line, column) {
  const { links, added } = changesOf[url];
  if (line === 1) column = column > added ? column - added : 1;
  for (let number = 0; number < links.length; number++) {
    const link = links[number], at = link[4]; // by index: the program may replace the iterator that `of` would use
    const longer = BLOB_SIZE + 2 - (link[1] - link[0]); // two quotation marks; specifiers are ASCII
    if (link[3] === line && column > at) column = column < at + BLOB_SIZE + 2 ? at : column - longer;
  }
  return column;
}

const FRAME = "    at ";
const PLACED = /(?:^|[ (])(guest\/[^ ():]+):(\d+):(\d+)\)?$/; // how a frame ends, and the engine's words on bad source
const MISSPELT = /^SyntaxError: ([^\n]*)\n/; // how the engine's parser begins, before it draws the line in question

const placed = (found) => ({ __proto__: null, path: found[1], line: +found[2], column: +found[3] });

// Where an exception was thrown: the innermost frame of its stack trace that lies in measured code, or null.
function placeIn(thrown) {
  try {
    const { stack } = thrown;
    const text = typeof stack === "string" ? split(slice(stack, 0, MAX_BACKTRACE), "\n") : [];
    for (let number = 0; number < text.length; number++) {
      const found = startsWith(text[number], FRAME) ? execute(PLACED, text[number]) : null;
      if (found !== null) return placed(found);
    }
  } catch {
    // `stack` is a getter that throws: no place is told
  }
  return null;
}

// The engine's words on a source that it cannot take, which has no stack trace: the place stands at their end.
function ofSource(name, message) {
  const found = execute(PLACED, message), misspelt = execute(MISSPELT, message);
  const place = found === null ? null : placed(found);
  if (place !== null && misspelt !== null) return { name: "SyntaxError", message: misspelt[1], place };
  if (place !== null && name === "SyntaxError") return { name, message: slice(message, 0, -found[0].length - 3), place };
  return { name: name || "Error", message, place: null };
}

// Whether a frame is of the program or of WebAssembly. Those of the engine and of the bootstrap are not shown.
function isShown(frame) {
  return !includes(frame, "data:") && !includes(frame, "ext:");
}

// What `error.stack` is.
function stackTrace(error, sites) {
  let text = "Error";
  try {
    text = describe(error);
  } catch {
    // its name or message is a getter that throws
  }
  for (let number = 0; number < sites.length; number++) {
    const frame = Text(sites[number]);
    if (isShown(frame)) text += "\n" + FRAME + named(frame);
  }
  return text;
}

const TOLD_OF_SITES = ["getTypeName", "getFunctionName", "getMethodName", "getLineNumber", "isToplevel", "isEval",
  "isNative", "isConstructor", "isAsync", "isPromiseAll", "getPromiseIndex"];

// A frame as a function of the program's own may see it that makes stack traces.
function shownSite(site) {
  const shown = create(null);
  for (let number = 0; number < TOLD_OF_SITES.length; number++) {
    const name = TOLD_OF_SITES[number], value = site[name]();
    shown[name] = () => value;
  }
  const url = site.getFileName(), line = site.getLineNumber(), column = site.getColumnNumber();
  const path = pathOf[url];
  shown.getFileName = shown.getScriptNameOrSourceURL = () => path ?? null;
  shown.getColumnNumber = () => path === undefined ? column : columnIn(url, line, column);
  shown.getThis = shown.getFunction = shown.getEvalOrigin = () => undefined;
  shown.toString = () => named(Text(site));
  return shown;
}

// `Error.prepareStackTrace`, which the engine calls with frames that tell its URLs. A program may set it to a function
// of its own, and that one gets frames that tell paths.
function guardStackTraces() {
  let prepare = stackTrace;
  defineProperty(Failure, "prepareStackTrace", {
    __proto__: null,
    get: () => prepare,
    set(wanted) {
      prepare = typeof wanted !== "function" ? stackTrace : function prepareStackTrace(error, sites) {
        const shown = [];
        for (let number = 0; number < sites.length; number++) {
          if (isShown(Text(sites[number]))) shown[shown.length] = shownSite(sites[number]);
        }
        return apply(wanted, Failure, [error, shown]);
      };
    },
    enumerable: false,
    configurable: false,
  });
  fix(globalThis, ["Error"]); // by which name the engine finds it
}
