/** Texts that are longer than a value of the state may be (1 MiB of JSON): KEY/0, KEY/1 and so on. */

/** UTF-16 code units of a piece. One takes six bytes of JSON at most ("\\u0001"). */
const PIECE = 128 * 1024;

/** Writes a well-formed text where there is none. A surrogate pair is never parted, since half of one is no text. */
export function write(state, key, text) {
  for (let from = 0, number = 0; from < text.length; number += 1) {
    let piece = text.slice(from, from + PIECE);
    if (!piece.isWellFormed()) piece = piece.slice(0, -1);
    state.put(`${key}/${number}`, piece);
    from += piece.length;
  }
}

/** The text; "" where there is none. */
export function read(state, key) {
  let text = "";
  for (let number = 0; ; number += 1) {
    const piece = state.get(`${key}/${number}`);
    if (piece === undefined) return text;
    text += piece;
  }
}

/** Deletes a text. */
export function drop(state, key) {
  for (let number = 0; state.delete(`${key}/${number}`); number += 1);
}
