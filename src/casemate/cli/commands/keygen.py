"""`casemate keygen`."""

from pathlib import Path
from typing import Annotated

import typer

from casemate.cli.options import Json
from casemate.cli.output import Screen, facts

NewFile = Annotated[Path, typer.Argument(metavar="FILE", help="Where to put the new key; never overwritten.")]


def keygen(file: NewFile, *, as_json: Json = False) -> None:
    r"""Make a caller's key.

    Writes an Ed25519 private key (PEM, mode 0600), and prints the line for the
    manifest's \[callers] table. Whoever has the file can call as you.

    Example:
        casemate keygen alice.pem
    """
    from casemate.client.caller_keys import CallerKey, write_caller_key

    key = CallerKey.generate()
    write_caller_key(file, key)
    Screen(as_json=as_json).show(
        {"file": str(file), "public_key": key.public_key.hex(), "manifest_value": key.manifest_value},
        lambda console: facts(
            console, [("key", f"{file} (mode 0600)"), ("manifest", f'NAME = "{key.manifest_value}"')]
        ),
    )
