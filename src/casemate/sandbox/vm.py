"""What a confidential VM's process is held to: as an enclave is, with the one file that is its DRAM."""

import os
from collections.abc import Sequence

from casemate.sandbox.confinement import Confinement, NoGroup, confine, warm
from casemate.sandbox.rlimits import Limits
from casemate.sandbox.syscalls import VM
from casemate.wire.protocol.sandbox_layers import Layer, LayerRequest

_THREADS = 2
_DATA = 1024 * 1024 * 1024
"""Bytes beside the guest's memory: the emulator's translations, and the tables of the memory controller."""


def confine_vm(requests: Sequence[LayerRequest], *, memory: int, dram: int) -> tuple[Layer, ...]:
    """Confines the calling process, which the chip has started, for good.

    Args:
        requests: what the machine's owner asks; a layer that is not named is preferred.
        memory: what the process has mapped for its guest (bytes).
        dram: size of the DRAM file (bytes).

    Raises:
        LayerRequiredError: a required layer is unavailable; the process must end.
    """
    warm(VM)  # libseccomp is a file, which cannot be opened any more when its turn comes
    limits = Limits(open_files=64, threads=_THREADS, data=memory + _DATA, file_size=dram)
    group = NoGroup("a VM has no control group: its memory is bounded by its DRAM")
    return confine(Confinement((), limits, VM, watched=False), requests, parent=os.getppid(), group=group)
