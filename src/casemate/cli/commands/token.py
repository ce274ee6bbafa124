"""`casemate token ...`: who may pass a machine's gateway."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from casemate.cli.options import Json, State
from casemate.cli.output import Screen, facts, table
from casemate.wire.protocol.access_tokens import Role

if TYPE_CHECKING:
    from rich.console import Console

    from casemate.wire.protocol.access_tokens import AccessTokens

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Whose it is: lower-case letters, digits and inner '.', '_' and '-'.")
]
Rights = Annotated[
    Role,
    typer.Option(
        "--role", metavar="ROLE", help="call (see, attest and call), deploy (images and enclaves, too), admin."
    ),
]

app = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


@app.command()
def create(name: Name, *, role: Rights = Role.CALL, state: State = None, as_json: Json = False) -> None:
    """Make a token and print it, once: the machine keeps its digest alone.

    It is good at once, and over restarts, until it is revoked. It opens the
    gateway and never an enclave.

    Example:
        casemate token create ci --role deploy
    """
    from casemate.cli.own_machine import state_directory
    from casemate.cli.token_files import change_tokens
    from casemate.wire.protocol.access_tokens import SECRET_SIZE, AccessToken, token_digest, token_text

    text = token_text(os.urandom(SECRET_SIZE))
    made = AccessToken(name, role, datetime.now(UTC).replace(microsecond=0), token_digest(text))
    change_tokens(
        state_directory(state), lambda tokens: tokens.with_token(made), what=f"created {made.name} ({role.value})"
    )
    Screen(as_json=as_json).show(
        {"name": name, "role": role.value, "token": text},
        lambda console: facts(console, [("name", name), ("role", role.value), ("token", text)]),
    )


@app.command(name="list")
def list_tokens(*, state: State = None, as_json: Json = False) -> None:
    """List the tokens, without their texts, which nobody has any more but those who hold them."""
    from casemate.cli.own_machine import state_directory
    from casemate.cli.token_files import read_tokens

    tokens = read_tokens(state_directory(state))
    document = {
        "tokens": [
            {"name": each.name, "role": each.role.value, "created": f"{each.created:%Y-%m-%dT%H:%M:%SZ}"}
            for each in tokens.tokens
        ]
    }
    Screen(as_json=as_json).show(document, lambda console: _show(console, tokens))


@app.command()
def revoke(name: Name, *, state: State = None, as_json: Json = False) -> None:
    """Take a token away: from now it opens nothing."""
    from casemate.cli.own_machine import state_directory
    from casemate.cli.token_files import change_tokens

    change_tokens(state_directory(state), lambda tokens: tokens.without(name), what=f"revoked {name}")
    Screen(as_json=as_json).show({"revoked": name}, lambda console: facts(console, [("revoked", name)]))


def _show(console: "Console", tokens: "AccessTokens") -> None:
    if not tokens.tokens:
        console.print("no tokens but the one of each run; `casemate token create NAME` makes one")
        return
    rows = table("name", "role", "created")
    for each in tokens.tokens:
        rows.add_row(each.name, each.role.value, f"{each.created:%Y-%m-%d %H:%M:%SZ}")
    console.print(rows)
