"""Options and arguments that several commands share, so that each means one thing everywhere."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from casemate.cli.group import AS_JSON
from casemate.wire.encodings.decimal_text import decimal
from casemate.wire.errors import WireError
from casemate.wire.protocol.function_name import WANT, is_function_name
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName
from casemate.wire.protocol.tee import Tee

T = TypeVar("T")

_MAX_NUMBER = 2**53 - 1
"""The largest number that the host gives out: every JSON reader represents it exactly."""

FLAG = " "
"""Where the help names an option's type: a flag has none."""


def _remember(context: typer.Context, value: bool) -> bool:
    """Notes that errors are to be printed as JSON, too."""
    context.meta[AS_JSON] = value
    return value


def _inherit(context: typer.Context, parameter: typer.CallbackParam, value: T | None) -> T | None:
    """The option's value; where it is not given behind the command's name, the value from before the name."""
    key = f"casemate.{parameter.name}"
    if value is None:
        inherited: T | None = context.meta.get(key)
        return inherited
    context.meta[key] = value
    return value


def digits(value: str | int) -> int:
    """A number that names something: decimal digits alone, since it goes into a path at the gateway."""
    if isinstance(value, int):
        return value  # the default
    try:
        return decimal("number", value, most=_MAX_NUMBER)
    except WireError:
        raise typer.BadParameter(
            f"{value[:40]!r} is no number in decimal digits alone; `casemate ps` and `casemate vm ps` show the numbers"
        ) from None


def number_or_name(value: str) -> str:
    """An enclave as it was typed: its number in decimal digits, or a function's name."""
    if not is_function_name(value):
        try:
            decimal("number", value, most=_MAX_NUMBER)
        except WireError:
            raise typer.BadParameter(
                f"{value[:80]!r} is no enclave's number, and no function's name ({WANT}); `casemate ps` shows both"
            ) from None
    return value


def _layers(incomplete: str) -> list[str]:
    """Completions for ``--layer``."""
    return [text for name in LayerName for mode in LayerMode if (text := f"{name}={mode}").startswith(incomplete)]


def _check_layers(values: list[str] | None) -> list[str] | None:
    """Refuses a layer or a mode of an unknown name."""
    for value in values or ():
        name, _, mode = value.partition("=")
        if name not in set(LayerName) or mode not in set(LayerMode):
            known = f"NAME={'|'.join(LayerMode)}, NAME one of {', '.join(LayerName)}"
            raise typer.BadParameter(f"{value!r} is no layer's mode, want {known}")
    return values


Json = Annotated[
    bool,
    typer.Option(
        "--json", metavar=FLAG, help="One JSON document on standard output.", callback=_remember, is_eager=True
    ),
]

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="The machine's state directory. Default: $CASEMATE_STATE, or casemate in the XDG state directory.",
    ),
]

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="A gateway instead of a machine on this computer. Default: $CASEMATE_URL. Its token: $CASEMATE_TOKEN.",
        callback=_inherit,
    ),
]

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="The gateway's token, where $CASEMATE_TOKEN does not hold it.",
        callback=_inherit,
    ),
]

CaFile = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        help="Certificates of the CA that signed the gateway's (PEM). Default: $CASEMATE_CA, or this computer's CAs.",
        callback=_inherit,
    ),
]

TeeOption = Annotated[
    Tee, typer.Option("--tee", help="As what it runs: an SGX enclave, or a paravirtual SEV-SNP guest.")
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed",
        metavar="TEXT",
        help="The same machine every time, for tests: everybody can have its keys, and its certificates say so.",
    ),
]

Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME=MODE",
        help="A sandbox layer and require, prefer or off. May be given several times.",
        autocompletion=_layers,
        callback=_check_layers,
    ),
]

Metrics = Annotated[
    bool, typer.Option("--metrics", metavar=FLAG, help="Also show what the call used; --json always does.")
]

Ocalls = Annotated[
    Path | None,
    typer.Option(
        "--ocalls",
        metavar="FILE",
        help="A Python module that answers OCALLs, run with your rights. docs/operations.md.",
    ),
]

Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", metavar=FLAG, help="No progress on standard error: the result, warnings and errors alone."
    ),
]

PolicyFile = Annotated[
    Path,
    typer.Option("--policy", metavar="FILE", help="Whom to trust: `casemate policy IMAGE` prints one to edit."),
]

OptionalPolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Whom to trust: `casemate policy IMAGE` prints one to edit."),
]

InputFile = Annotated[
    Path, typer.Option("--input", "-i", metavar="FILE", help="The arguments, as JSON; - for standard input.")
]

CallerFile = Annotated[
    Path | None,
    typer.Option("--caller", metavar="KEY.pem", help="Sign the call with this key: `casemate keygen` makes one."),
]

OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Put the result there, as the enclave wrote it.")
]

StreamIn = Annotated[
    Path | None,
    typer.Option("--stream-in", metavar="FILE", help="Stream this file to the function; - for standard input."),
]

StreamOut = Annotated[
    Path | None,
    typer.Option(
        "--stream-out",
        metavar="FILE",
        help="Put what the function streams there, once the receipt over it holds; - for standard output, as it comes.",
    ),
]

ReceiptFile = Annotated[Path | None, typer.Option("--receipt", metavar="FILE", help="Put the receipt there.")]

DeveloperKey = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="PEM",
        help="The developer's RSA-3072 key. Default: casemate/developer.pem in the XDG configuration directory.",
    ),
]

Relock = Annotated[
    bool,
    typer.Option("--relock", metavar=FLAG, help="Replace this platform's runtime in casemate.lock. MRENCLAVE changes."),
]

Time = Annotated[
    str | None,
    typer.Option("--at", metavar="TIME", help="Appraise for this time, such as 2026-01-31T12:00:00Z. Default: now."),
]


_NONCE_SIZE = 32


def nonce_of(text: str) -> bytes:
    """A challenge as it was typed: 64 hexadecimal digits."""
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if len(nonce) != _NONCE_SIZE:
        raise typer.BadParameter(f"{text[:80]!r} is no nonce, want 64 hexadecimal digits", param_hint="--nonce")
    return nonce
