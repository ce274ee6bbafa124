/** English plurals to singulars, cautiously. */

/**
 * The word without its plural ending: the S stemmer of D. Harman, "How effective is suffixing?", JASIS 42(1), 1991,
 * table 1. It leaves short words and words with anything but a to z alone. It knows no exceptions ("boxes" becomes
 * "boxe"), so some plurals are not found by their singular; in return it hardly ever merges two different words.
 *
 * @param {string} word in lower case
 */
export function withoutPlural(word) {
  if (!/^[a-z]{4,}$/.test(word) || !word.endsWith("s")) {
    return word;
  }
  if (/(?<![ea])ies$/.test(word)) {
    return word.slice(0, -3) + "y";
  }
  return /[us]s$/.test(word) ? word : word.slice(0, -1); // both other rules take away the "s" alone
}
