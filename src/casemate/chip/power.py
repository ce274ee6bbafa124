"""Power-on: from the command line to a hardened process whose helper copies the runtime while the rest is imported."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from casemate.chip.hardening import die_with_parent, keep_secrets_in
from casemate.chip.runtime_helper import start_helper
from casemate.wire.sandbox import LayerMode, LayerName, LayerRequest

DEFAULT_POOL = 1
MAX_POOL = 64


def run_chip(arguments: Sequence[str]) -> int:
    """Runs the chip to its end; the exit status."""
    supervisor = os.getppid()
    options = _parser().parse_args(arguments)
    die_with_parent(supervisor)
    keep_secrets_in()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to act on; enclaves inherit this
    for descriptor in (options.host_fd, options.supervisor_fd):
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the one way to call it
    helper = start_helper()
    # asyncio imports ssl if it can and works without: that is 3 MB of OpenSSL which nothing here speaks.
    sys.modules["ssl"] = None  # type: ignore[assignment] # the import system's own way to say "not there"
    # Imported only now, so that the helper is small, and hashes while this goes on.
    from casemate.chip.machine import ChipOptions, run_machine

    return run_machine(
        ChipOptions(
            state=options.state,
            seed=options.seed,
            host_fd=options.host_fd,
            supervisor_fd=options.supervisor_fd,
            layers=tuple(options.layer),
            pool=options.pool,
        ),
        helper,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="casemate.chip", description="The simulated silicon.", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True, help="the machine's state directory")
    parser.add_argument("--host-fd", type=int, required=True, help="an end of the host's link")
    parser.add_argument("--supervisor-fd", type=int, required=True, help="an end of the supervisor's link")
    parser.add_argument("--seed", help="a public text that makes the fuses of a new chip")
    parser.add_argument("--layer", type=_layer, action="append", default=[], help="NAME=require, prefer or off")
    parser.add_argument("--pool", type=_pool, default=DEFAULT_POOL, help="warm guests to keep")
    return parser


def _layer(text: str) -> LayerRequest:
    name, _, mode = text.partition("=")
    try:
        return LayerRequest(LayerName(name), LayerMode(mode))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: want NAME=MODE, NAME one of {', '.join(LayerName)}, MODE one of {', '.join(LayerMode)}"
        ) from None


def _pool(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_POOL):
        raise argparse.ArgumentTypeError(f"{text!r}: want 0 to {MAX_POOL}")
    return int(text)
