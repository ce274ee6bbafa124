"""Casemate: confidential computing that runs anywhere Python runs.

Example:
    from pathlib import Path

    from casemate import connect, parse_policy, read_image

    with connect("/run/casemate/host.sock") as client:
        number = client.launch(read_image(Path("dist/keyword-search.sgxs")))
        enclave = client.attest(number, parse_policy(Path("policy.toml").read_text()))
        print(enclave.call("search", {"query": "whale"}).value)

The names are looked up when they are first used: this module runs in every process of a machine, enclaves too.
"""

_OFFERED = {
    "check_receipt": "casemate.client",
    "connect": "casemate.client",
    "local_machine": "casemate.client",
    "parse_policy": "casemate.verifier",
    "read_caller_key": "casemate.client",
    "read_image": "casemate.images.image",
    "running_machine": "casemate.client",
}
"""Name and the module that has it."""

__all__ = ["__version__", *_OFFERED]  # noqa: PLE0604 - names alone


def __getattr__(name: str) -> object:
    """``__version__``, as installed, and the names of ``__all__``."""
    if name == "__version__":
        from importlib.metadata import version

        return version("casemate")
    if name not in _OFFERED:
        raise AttributeError(f"module 'casemate' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_OFFERED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
