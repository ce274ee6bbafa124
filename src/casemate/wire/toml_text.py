"""TOML from strangers: one table, or :class:`WireError` that says where the text goes wrong."""

import tomllib
from typing import Any

from casemate.wire.errors import WireError


def parse_toml(field: str, text: bytes, *, limit: int) -> dict[str, Any]:
    """The top table of a TOML document.

    Args:
        field: what the text is, for the error.
        text: UTF-8.
        limit: the longest text accepted (bytes).

    Raises:
        WireError: the text is too long, no TOML, or nested too deeply.
    """
    if len(text) > limit:
        raise WireError(field, got=f"{len(text)} bytes", want=f"at most {limit}")
    try:
        return tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise WireError(field, got="bytes that are no UTF-8", want="TOML as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise WireError(field, got=f"no TOML: {error}", want="TOML") from None
    except RecursionError:
        raise WireError(field, got="deeper nesting", want="tables a person would write") from None
    except ValueError:  # an integer of more digits than Python converts, or a date that is none
        raise WireError(field, got="a number or date out of range", want="TOML") from None
