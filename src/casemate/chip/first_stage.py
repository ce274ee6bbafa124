"""The first stage of power-on: hardens the process, verifies the runtime's copy, and becomes its second stage there.

The chip itself runs on the interpreter and libraries of the verified copy, too. So it shares their memory with the
spawner (some 12 MB), what it needed to find and hash the copy is gone, and no secret has been near it.
"""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from casemate.chip.errors import RuntimeCopyError
from casemate.chip.options import ChipOptions
from casemate.chip.runtime import PYTHON, RuntimeCopy, hold, loader_environment
from casemate.chip.runtime_copy import cache_root, compiled_folder, prepare_runtime
from casemate.chip.runtime_sources import runtime_sources
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.process.hardening import die_with_parent, keep_secrets_in
from casemate.wire.encodings.message import encode_message
from casemate.wire.errors import MissingExtraError
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.sandbox_layers import LayerMode, LayerName, LayerRequest
from casemate.wire.snp.report import VERSIONS
from casemate.wire.snp.tcb import Product

SECOND_STAGE = Path(__file__).with_name("second_stage.py")
DEFAULT_POOL = 1
MAX_POOL = 64


def run_chip(arguments: Sequence[str]) -> int:
    """Becomes the chip's second stage, whose exit status counts; returns one only where it cannot."""
    supervisor = os.getppid()
    options = _parser().parse_args(arguments)
    die_with_parent(supervisor)
    keep_secrets_in()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to act on; enclaves inherit this
    try:
        copy = prepare_runtime(runtime_sources(), cache_root())
        lock = hold(copy)
        _become_second_stage(options, copy, lock)
    except (MissingExtraError, RuntimeCopyError) as error:
        return _give_up(options.supervisor_fd, str(error))


def _become_second_stage(options: argparse.Namespace, copy: RuntimeCopy, lock: int) -> NoReturn:
    told = ChipOptions(
        state=os.fsencode(options.state),
        seed=options.seed,
        host_fd=options.host_fd,
        supervisor_fd=options.supervisor_fd,
        layers=tuple(options.layer),
        pool=options.pool,
        runtime=os.fsencode(copy.directory),
        runtime_parts=copy.parts,
        runtime_rebuilt=copy.rebuilt,
        runtime_lock=lock,
        python=os.fsencode(sys.executable),
        snp_product=options.snp_product,
        snp_report=options.snp_report,
        accept_loss=options.accept_loss,
    )
    # Python opens and receives descriptors closed on exec; these three are the second stage's. The lock has to go on
    # without a gap, or another chip could remove the copy between the stages.
    for descriptor in (options.host_fd, options.supervisor_fd, lock):
        os.set_inheritable(descriptor, True)
    python = copy.directory / PYTHON
    # Compiled modules lie outside the copy, which has none: they are the chip's convenience, not the enclaves' runtime.
    compiled = f"pycache_prefix={compiled_folder(copy.directory)}"
    command = [
        str(python),
        "-I",
        "-S",
        "-X",
        "no_debug_ranges",
        "-X",
        compiled,
        str(SECOND_STAGE),
        str(options.state),
        told.to_word(),
    ]
    os.execve(python, command, loader_environment(copy.directory))  # noqa: S606 - no shell is what we want


def _give_up(descriptor: int, reason: str) -> int:
    sys.stderr.write(f"casemate.chip: {reason}\n")
    try:
        Channel(socket.socket(fileno=descriptor)).send(encode_message(fault(Code.UNAVAILABLE, reason)), timeout=1.0)
    except PeerGoneError:
        return 1  # the reason is on standard error already
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="casemate.chip", description="The simulated silicon.", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True, help="the machine's state directory")
    parser.add_argument("--host-fd", type=int, required=True, help="an end of the host's link")
    parser.add_argument("--supervisor-fd", type=int, required=True, help="an end of the supervisor's link")
    parser.add_argument("--seed", help="a public text that makes the fuses of a new chip")
    parser.add_argument("--layer", type=_layer, action="append", default=[], help="NAME=require, prefer or off")
    parser.add_argument("--snp-product", type=_product, help="what SEV-SNP processor a new chip is")
    parser.add_argument("--snp-report", type=int, choices=VERSIONS, help="the version of its ATTESTATION_REPORT")
    parser.add_argument("--accept-loss", metavar="REASON", help="begin anew with what this chip has lost, and log why")
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


def _product(text: str) -> Product:
    try:
        return Product(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: want {' or '.join(Product)}") from None


def _pool(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_POOL):
        raise argparse.ArgumentTypeError(f"{text!r}: want 0 to {MAX_POOL}")
    return int(text)
