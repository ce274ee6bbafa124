"""The kinds of TEE that this chip is: one line each in ``LAUNCHES``, and in ``STATES``.

EINIT's checks are the same for all, and fix who an image is; how it is launched and proved is its TEE's own folder's. A
folder is imported when the first such image comes: a machine that runs none does without its memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.chip.attester import Attester
from casemate.chip.sgx.attester import SgxAttester
from casemate.chip.sgx.epc import Loaded
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.secs import Secs
from casemate.chip.sgx.tcb import FILE_NAME as TCB_FILE
from casemate.chip.sgx.tcb import load_tcb
from casemate.wire.protocol.tee import Tee

if TYPE_CHECKING:
    from casemate.chip.snp.platform import SnpPlatform


@dataclass(frozen=True, slots=True)
class Platforms:
    """What this chip is to each kind of TEE."""

    sgx: SgxPlatform
    snp: "Callable[[], SnpPlatform]"
    """Made when it is first wanted."""


async def _launch_sgx(platforms: Platforms, _: Loaded, secs: Secs) -> Attester:
    return SgxAttester(platforms.sgx, secs)


async def _launch_snp(platforms: Platforms, loaded: Loaded, secs: Secs) -> Attester:
    """Launches the image as a guest of SEV-SNP, with the identity that EINIT has found as its ID block."""
    from casemate.chip.snp.paravirtual import ParavirtualGuest

    platform, who = platforms.snp(), SgxAttester(platforms.sgx, secs).identity
    # in a thread: all pages are hashed, and leaf functions of others go on meanwhile
    return await asyncio.to_thread(ParavirtualGuest.launch, platform, loaded.pages, who)


LAUNCHES: Mapping[Tee, Callable[[Platforms, Loaded, Secs], Awaitable[Attester]]] = {
    Tee.SGX: _launch_sgx,
    Tee.SNP: _launch_snp,
}


@dataclass(frozen=True, slots=True)
class TeeState:
    """The file in the chip's folder in which a TEE keeps what must never fall back, such as security versions."""

    file: str
    what: str
    """What is lost with it, for a person."""
    check: Callable[[Path], object]
    """Raises :class:`StateError` if the file in this folder is damaged."""


def _check_snp(directory: Path) -> None:
    from casemate.chip.snp.platform_state import ChipKind, load_platform_state

    load_platform_state(directory, ChipKind())


STATES: Mapping[Tee, TeeState] = {
    Tee.SGX: TeeState(TCB_FILE, "this chip's microcode and its security versions", load_tcb),
    Tee.SNP: TeeState("snp.bin", "the SEV-SNP processor that it is, and its firmware's security versions", _check_snp),
}
