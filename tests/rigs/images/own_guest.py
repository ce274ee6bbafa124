"""Guests of a test's own, and a chip from a seed."""

from pathlib import Path

from casemate.chip.fuses import seeded_fuses
from casemate.chip.snp.platform import SnpPlatform
from casemate.images.vm.assemble import Source
from casemate.images.vm.builtin import sources
from casemate.images.vm.firmware import build_firmware


def platform(folder: Path) -> SnpPlatform:
    folder.mkdir()
    return SnpPlatform(folder, seeded_fuses("a chip"))


def own_guest(text: str) -> bytes:
    """A guest with the common sources, and this for the rest."""
    return build_firmware([*sources("hello")[:-1], Source("own.s", text)])
