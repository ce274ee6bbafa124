"""uvicorn without its command line, which it imports with everything else and a gateway never uses.

click and that command line take 1.5 MiB of each gateway. Nothing else of uvicorn is changed.
"""

import sys
from types import ModuleType


def leave_out_command_line() -> None:
    """Keeps uvicorn from importing its command line. It must be called before uvicorn is first imported."""
    if "uvicorn.main" not in sys.modules:
        instead = ModuleType("uvicorn.main")
        instead.__dict__["__getattr__"] = _named
        sys.modules["uvicorn.main"] = instead


def _named(name: str) -> object:
    """Attributes of the module in place of uvicorn's command line: the server, and None for two functions."""
    if name == "Server":
        from uvicorn.server import Server

        return Server
    if name in {"main", "run"}:
        return None
    raise AttributeError(name)
