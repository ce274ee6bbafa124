// Words about exceptions of the program: their names and messages, and how a call that threw ends.
//
// Guards against: exceptions made to do harm. Anything can be thrown: a proxy, an object whose getters throw or never
// return, an endless message. So each property is read once, inside a `try`, and every text is cut to a length. What
// never returns is ended by the time limit of the call, as any other endless loop.
//
// It stands before calls.js, which reports through it, because a class has to be defined before it is used.

// A text of the program's, cut, without lone surrogates (UTF-8 has none); or something else where it is no text.
const words = (value, otherwise) => (typeof value === "string" ? wellFormed(slice(value, 0, MAX_TEXT)) : otherwise);

// Name and message of whatever was thrown, and where: null unless `tellsPlaces`, since that can tell what it has seen.
function told(thrown) {
  if (typeof thrown !== "object" && typeof thrown !== "function" || thrown === null) {
    return { name: "Thrown", message: words(Text(thrown), ""), place: null }; // String(), unlike `+ ""`, also takes a symbol
  }
  const name = read(thrown, "name"), message = named(read(thrown, "message"));
  if (message === "" && (name === "" || typeof thrown === "function")) { // a class has a name, too, but not an error's
    const message = typeof thrown === "function" ? "a function" : "an object without a message";
    return { name: "Thrown", message, place: null };
  }
  const place = tellsPlaces ? placeIn(thrown) : null;
  return place === null && tellsPlaces ? ofSource(name, message) : { name: name || "Error", message, place };
}

// A property of a value of the program's if it is a text; the empty text otherwise, also where its getter throws.
function read(object, member) {
  try {
    return words(object[member], "");
  } catch {
    return "";
  }
}

function sendFailure(call, code, { name, message, place }) {
  send(FAILED, call, stringify({ __proto__: null, code, name, message, place }), null);
}

// How a call or a stream ends that threw: with a refusal of its own, or with a failure.
function sendThrown(call, thrown) {
  const refusal = refusalOf(thrown);
  if (refusal === undefined) sendFailure(call, untellable(thrown) ?? "guest-error", told(thrown));
  else send(REFUSED, call, stringify({ __proto__: null, name: refusal.code }), refusal.details);
}

// Thrown for a value of the program's that is not JSON or is too long. The code is a private field, so that a program
// cannot forge one: an object has the field only if this class has made it.
class Untellable extends Failure {
  #code;
  constructor(code, message) {
    super(message);
    this.#code = code;
  }
  static codeOf(thrown) { // undefined for everything else; `#code in` asks nothing of a proxy
    return typeof thrown === "object" && thrown !== null && #code in thrown ? thrown.#code : undefined;
  }
}

const untellable = Untellable.codeOf;

// JSON of a value of the program's: a string, or its UTF-8 bytes where only the bytes show that it is short enough.
// `stringify` runs the program's own toJSON and getters, so anything may happen in there.
function textOf(value, limit, what) {
  let text;
  try {
    text = value === undefined ? "null" : stringify(value);
  } catch (thrown) {
    const { name, message } = told(thrown);
    throw new Untellable("result-refused", `${what} is not JSON: ${name}: ${message}`);
  }
  if (typeof text !== "string") {
    const kind = typeof value; // a function, a symbol, or an object whose toJSON gives none
    const article = kind === "object" ? "an" : "a";
    throw new Untellable("result-refused", `${what} is not JSON: it is ${article} ${kind}`);
  }
  if (text.length * 3 <= limit) return text; // a UTF-16 unit takes three bytes of UTF-8 at most
  const bytes = text.length <= limit ? encode(text) : null;
  if (bytes === null || sizeOf(bytes) > limit) {
    throw new Untellable("output-limit", `${what} has more than the ${limit} bytes that are allowed`);
  }
  return bytes;
}
