/** Names of secrets: any script, one spelling. */

import { Refusal } from "./refusal.js";

/** Longest name (bytes of UTF-8): with its owner's name it has to fit into a key of the state. */
const MAX_NAME = 160;

/**
 * The name as it is kept: in Unicode's composed form, so that "é" is the same from every keyboard. Blanks at its ends and
 * characters that nobody sees are refused rather than dropped: two names that look alike should not both be there.
 */
export function cleanName(text) {
  const name = text.normalize("NFC");
  if (name !== name.trim() || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}]/u.test(name)) {
    throw new Refusal("bad-name", "a name has no blanks at its ends, and no characters that are not seen");
  }
  const size = new TextEncoder().encode(name).length;
  if (size > MAX_NAME) throw new Refusal("bad-name", `the name has ${size} bytes of UTF-8, want at most ${MAX_NAME}`);
  return name;
}
