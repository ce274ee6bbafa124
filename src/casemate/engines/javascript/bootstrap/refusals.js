// `context.refuse`: errors of the program's own, which reach the caller by the names that the manifest declares.
//
// Guards against: a refusal that `refuse` has not checked. What such an error tells the caller is kept here and not in
// the object: the program can copy an object, or make another one of its class, but not add it to this map.

const refusals = new WeakMap(); // code and details (JSON, or null), by the error that `refuse` gave
const declared = create(null); // the names of the manifest's [errors]

function declare(names) {
  for (let number = 0; number < names.length; number++) declared[names[number]] = true;
}

const refusalOf = (thrown) => recall(refusals, thrown); // undefined for all else; it asks nothing of a proxy

// The error to throw. It is frozen, so that it still says what it was made to say where it is caught.
function refuse(code, details) {
  if (typeof code !== "string") throw new Misused("a refusal's code is a string");
  if (declared[code] !== true) {
    const name = words(code, "");
    throw new Misused(`no error is declared as ${stringify(name)}: add it to [errors] in casemate.toml, with its words`);
  }
  let text = null;
  try {
    if (details !== undefined) text = textOf(details, outputLimit, "what a refusal tells");
  } catch (thrown) {
    throw new Misused(told(thrown).message); // an Untellable is of no use to the program
  }
  const error = coded("Refusal", `the call is refused: ${code}`);
  defineProperty(error, "code", { __proto__: null, value: code, enumerable: true });
  remember(refusals, error, { __proto__: null, code, details: text });
  return freeze(error);
}
