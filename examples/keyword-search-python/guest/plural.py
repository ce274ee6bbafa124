"""English plurals to singulars, cautiously."""

import re

_PLURAL = re.compile(r"[a-z]{3,}s")
_IES = re.compile(r"(?<![ea])ies$")


def without_plural(word: str) -> str:
    """The word (in lower case) without its plural ending.

    This is the S stemmer of D. Harman, "How effective is suffixing?", JASIS 42(1), 1991, table 1. It leaves short words
    and words with anything but a to z alone. It knows no exceptions ("boxes" becomes "boxe"), so some plurals are not
    found by their singular; in return it hardly ever merges two different words.
    """
    if not _PLURAL.fullmatch(word):
        return word
    if _IES.search(word):
        return word[:-3] + "y"
    return word if word.endswith(("us", "ss")) else word[:-1]  # both other rules take away the "s" alone
