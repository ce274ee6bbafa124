const SLOTS = 64;
let next = 0;

/** Keeps a text durably, in one of a few slots; its length. */
export function put(text, context) {
  context.state.put(`slot-${next++ % SLOTS}`, text);
  return text.length;
}

/** The same without keeping it. */
export function measure(text) {
  return text.length;
}
