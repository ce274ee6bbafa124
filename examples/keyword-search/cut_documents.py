"""Cuts the documents of this example from the unpacked package that documents/ORIGIN.md names.

Usage: `python3 cut_documents.py PACKAGE/data`. The package holds each address as one line. A line of a document is one
sentence of the address, so that a snippet of a search result is one. Nothing else changes: all words, in their order,
with one space or line break between them.
"""

import argparse
import hashlib
import re
from pathlib import Path

DOCUMENTS = Path(__file__).parent / "documents"

SOURCES = {
    "1790_george_washington_n.txt": "97a569db9f7833d798b5f81c7d36f89f4bda98cd5e96b3351b8a797c041da26a",
    "1794_george_washington_n.txt": "74085767846e92c2604e12e1f97c2d53ee592f6b95fad7e127ffb5d2495f5993",
    "1797_john_adams_f.txt": "d0ace36d36f6a9450887487b9a5242a455dafc4430e5ec4213344fd784036893",
    "1803_thomas_jefferson_dr.txt": "e67be9236646d0325b1974824af3be992cfecb03ff9d4f423901cf35168c121b",
    "1812_james_madison_dr.txt": "e6680f934571bdde860586d3c56c66b9ced08e5d805ea9c6b575741718e94830",
    "1823_james_monroe_dr.txt": "fb354b67a8ba9fbdc5888f954b76ac096d0b5a9cacd099dde8a4a1ede2eabfe3",
    "1825_john_quincy_adams_dr.txt": "de94fc6c8164f8d553b161fd787d20b483d1fff46d0ac65704ca354cb09a8e17",
    "1833_andrew_jackson_d.txt": "ddf25e6f7b4f4c40ba0e598037dd3c07e5a410edaa9d4a611acb22babde58e10",
    "1849_zachary_taylor_w.txt": "a84e7308029a4a9fbd679db24e6d34d6e1b54be160e6e77276a227737361b0b5",
    "1862_abraham_lincoln_r.txt": "0c23f3147d110b9d4454a81c13464d08918887f85c50d45cc0d018758a0e5025",
    "1871_ulysses_s_grant_r.txt": "16376a9323a24715b425261f703b00dd8f3da2e6a83956c6897c00ddeedefbaf",
    "1887_grover_cleveland_d.txt": "47345d210108e1fb3dbe1b2efb5ccb3c0e9efb44f5f50fe88f470b5073d8dff7",
    "1913_woodrow_wilson_d.txt": "bd25893502b9ceeacea93429919ed9cdbc0b7316c6ed6c2970c00239d4274ac4",
    "1917_woodrow_wilson_d.txt": "694bf5e071be41cd69433a2484a54174526674d082982d058b6f22126190a869",
    "1923_calvin_coolidge_r.txt": "0d50cbf80f6329bca325e363ce5c49447e16c01c201c8898b5766be407ebe607",
    "1941_franklin_d_roosevelt_d.txt": "4235f8997ef506a8f1054e4d115dd00280680fb38e55a6701d9eee643df7c704",
    "1942_franklin_d_roosevelt_d.txt": "1e52b713c69cc8dbb724627e866b21c16481dfe8b3994ac105d8e1e70981e6ca",
}
"""SHA-256 of each file that is used."""

ABBREVIATIONS = frozenset({"Mr", "Mrs", "Dr", "Messrs", "Gen", "Col", "Capt", "Lieut", "St", "No", "Nos", "Hon", "Jr"})
"""Words whose full stop does not end a sentence when a capital follows."""

_SENTENCE_END = re.compile(r"(?P<last>[^\s.]*)[.?!][\"')\]]* (?=[\"'(\[]*[A-Z])")


def sentences(text: str) -> list[str]:
    """The sentences of a text whose words are one space apart."""
    found = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        last = match["last"].lstrip("\"'([")
        if last in ABBREVIATIONS or (len(last) == 1 and last.isupper()):
            continue
        found.append(text[start : match.end()].rstrip())
        start = match.end()
    return [*found, text[start:]]


def document_name(source: str) -> str:
    """``1862-abraham-lincoln.txt`` for ``1862_abraham_lincoln_r.txt``: the party's letter is dropped."""
    year, *name, _party = source.removesuffix(".txt").split("_")
    return "-".join([year, *name]) + ".txt"


def cut(source: Path) -> str:
    """The document that is made from one file of the package."""
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SOURCES[source.name]:
        raise SystemExit(f"{source}: SHA-256 is {digest}, want {SOURCES[source.name]}")
    words = content.decode().split()
    lines = sentences(" ".join(words))
    if " ".join(lines).split() != words:
        raise SystemExit(f"{source}: cutting changed the words")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes every document anew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="the data folder of the unpacked package")
    data: Path = parser.parse_args().data
    for name in SOURCES:
        (DOCUMENTS / document_name(name)).write_text(cut(data / name), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
