"""The options that the chip's first stage hands to its second, as one argument of its command line."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from casemate.chip.runtime import RuntimeCopy
from casemate.wire.encodings.message import U8, U32, Limit, encode_fields, parse_fields
from casemate.wire.protocol.runtime_lock import Runtime
from casemate.wire.protocol.sandbox_layers import LayerRequest
from casemate.wire.snp.tcb import Product

Place = Annotated[bytes, Limit(4096)]
"""A path as the operating system has it."""


@dataclass(frozen=True, slots=True)
class ChipOptions:
    """The command line (see the package's ``__main__``), and the runtime's copy that was found or made."""

    state: Place
    seed: Annotated[str, Limit(4096)] | None
    host_fd: U32
    supervisor_fd: U32
    layers: tuple[LayerRequest, ...]
    pool: U32
    runtime: Place
    runtime_parts: Runtime
    runtime_rebuilt: bool
    runtime_lock: U32
    """A descriptor whose lock keeps the copy from being removed while the chip runs."""
    python: Place
    """The interpreter that has all of Casemate: VMs run on it, whose emulator is no part of the runtime."""
    snp_product: Product | None
    """What SEV-SNP processor a new chip is, and one that there is has to be; None leaves it open."""
    snp_report: U8 | None
    """The version of ATTESTATION_REPORT that it writes; None leaves it open."""
    accept_loss: Annotated[str, Limit(1024)] | None
    """Why the owner accepts that files of the chip are lost, and has it begin anew without them; None if not."""

    @property
    def copy(self) -> RuntimeCopy:
        """The verified copy."""
        return RuntimeCopy(Path(os.fsdecode(self.runtime)), self.runtime_parts, self.runtime_rebuilt)

    def to_word(self) -> str:
        """The options as one argument of a command line."""
        return encode_fields(self).hex()

    @classmethod
    def from_word(cls, word: str) -> "ChipOptions":
        """The way back."""
        return parse_fields(cls, bytes.fromhex(word))
