"""Prints the input of `add` for a folder of text files.

Without arguments it takes the documents of this example:

    python3 make_input.py | casemate call 1 add --input - --caller owner.pem --policy policy.toml
    python3 make_input.py ~/letters > letters.json
"""

import argparse
import json
import sys
from pathlib import Path

HERE = Path(__file__).parent


def read_documents(folder: Path) -> list[dict[str, str]]:
    """The `*.txt` files of a folder in the order of their names, byte for byte as they are (line ends too)."""
    documents = []
    for path in sorted(folder.glob("*.txt")):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise SystemExit(f"{path}: byte {error.start} is not UTF-8") from error
        documents.append({"name": path.name, "text": text})
    if not documents:
        raise SystemExit(f"{folder}: no file ends in .txt")
    return documents


def make_input(folder: Path) -> str:
    """The input as JSON text, the same for the same folder."""
    return json.dumps({"documents": read_documents(folder)}, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """Prints the input, as UTF-8 whatever the locale."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=HERE / "documents", metavar="DIR")
    sys.stdout.buffer.write(make_input(parser.parse_args().folder).encode())


if __name__ == "__main__":
    main()
