"""Makes the input of `search` from a folder of text files and a query.

Without options it writes input.json as it is in the repository. Another folder, another question:

    python3 make_input.py --query '"gold coin" NOT bank' --documents ~/letters --output letters.json
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).parent
QUERY = '("slave trade" OR pirates OR piracy) NOT Japan'


def read_documents(folder: Path) -> list[dict[str, str]]:
    """The `*.txt` files of a folder in the order of their names, byte for byte as they are (line ends too)."""
    documents = []
    for path in sorted(folder.glob("*.txt")):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise SystemExit(f"{path}: byte {error.start} is not UTF-8") from error
        documents.append({"name": path.name, "text": text})
    return documents


def make_input(folder: Path, query: str, limit: int | None = None) -> str:
    """The input as JSON text, the same for the same folder, query and limit."""
    chosen = {"query": query} if limit is None else {"query": query, "limit": limit}
    return json.dumps({**chosen, "documents": read_documents(folder)}, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """Writes the input to a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=Path, default=HERE / "documents", metavar="DIR")
    parser.add_argument("--query", default=QUERY)
    parser.add_argument("--limit", type=int, help="hits at most (default: the function's own)")
    parser.add_argument("--output", type=Path, default=HERE / "input.json", metavar="FILE")
    options = parser.parse_args()
    content = make_input(options.documents, options.query, options.limit)
    options.output.write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
