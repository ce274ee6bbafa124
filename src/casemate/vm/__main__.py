"""The process of one VM.

``python -I -m casemate.vm --chip-fd N --hypervisor-fd N --dram-fd N``

Started by the chip, which hands it three descriptors: an end of its own link, plain frames of the messages in
:mod:`casemate.wire.messages.vm.silicon`, strictly in turns; an end of the hypervisor's, numbered calls of those in
:mod:`casemate.wire.messages.vm.hypervisor`; and the DRAM, a file. It ends when the chip's link closes. Exit status 0,
1 where the emulator is not installed, 2 for a wrong command line.
"""

import argparse
import socket
import sys
from collections.abc import Sequence
from importlib import import_module

from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError, TimedOutError
from casemate.wire.errors import MissingExtraError, importing
from casemate.wire.protocol.faults import Code, encode_reply, fault

MAX_FRAME = 2 * 1024 * 1024
"""Longest frame that chip or hypervisor may send (bytes): a store of the largest size."""

FAREWELL_TIME = 10.0
"""Seconds that the chip has to power on a VM that cannot run, and to take the answer that says so."""


def main(arguments: Sequence[str]) -> int:
    """Serves chip and hypervisor until one of them is gone; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m casemate.vm", description="One confidential VM; started by the chip."
    )
    for name in ("--chip-fd", "--hypervisor-fd", "--dram-fd"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args(arguments)
    chip, hypervisor = (
        Channel(socket.socket(fileno=number), limit=MAX_FRAME) for number in (given.chip_fd, given.hypervisor_fd)
    )
    try:
        with importing("vm", "a confidential VM"):
            import_module("unicorn")
    except MissingExtraError as error:
        _decline(chip, str(error))
        chip.close()
        hypervisor.close()
        return 1
    from casemate.vm.process import VmProcess

    VmProcess(chip, hypervisor, given.dram_fd).run()
    return 0


def _decline(chip: Channel, reason: str) -> None:
    """Answers the chip's first frame with the reason."""
    try:
        chip.receive(timeout=FAREWELL_TIME)
        chip.send(encode_reply(fault(Code.UNAVAILABLE, reason)), timeout=FAREWELL_TIME)
    except (PeerGoneError, TimedOutError):
        sys.stderr.write(f"{reason}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
