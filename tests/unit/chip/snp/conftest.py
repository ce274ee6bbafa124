"""A platform and guests to test with; all from seeds, so that nothing here is random."""

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from casemate.chip.fuses import Fuses
from casemate.chip.snp.guest_context import Command, GuestContext
from casemate.chip.snp.platform import SnpPlatform
from casemate.wire.snp.mode import VmMode

POLICY = 0x30000


@pytest.fixture
def platform(tmp_path: Path, fuses: Fuses) -> SnpPlatform:
    folder = tmp_path / "chip"
    folder.mkdir()
    return SnpPlatform(folder, fuses)


@pytest.fixture
def random() -> Callable[[int], bytes]:
    """Bytes that differ from call to call, and are the same in each run."""
    numbers = count()
    return lambda size: hashlib.shake_256(str(next(numbers)).encode()).digest(size)


@pytest.fixture
def guest(platform: SnpPlatform, random: Callable[[int], bytes]) -> GuestContext:
    """A guest that is being launched."""
    context = GuestContext.create(VmMode.SEV_SNP, POLICY, platform.state.current.tcb, random)
    context.step(Command.LAUNCH_START)
    return context
