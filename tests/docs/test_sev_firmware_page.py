import re
from pathlib import Path

import pytest

from casemate.wire.messages import snp_firmware

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sev-firmware.md").read_text()
SOURCES = [*(ROOT / "src/casemate/chip/snp").glob("*.py"), ROOT / "src/casemate/vm/silicon.py"]


def rows(heading: str) -> list[str]:
    """First cells of the table under a line that begins so."""
    table = PAGE.split(heading, 1)[1].split("\n\n")[0]
    return re.findall(r"^\| `(\w+)`", table, re.MULTILINE)


def test_statuses_are_those_that_the_firmware_gives() -> None:
    given = {
        status
        for source in SOURCES
        for status in re.findall(r'(?:FirmwareStatus\.|CommandError\(\s*")([A-Z_]+)', source.read_text())
    }
    given -= {"INVALID_LENGTH"}  # the memory controller's: the firmware has checked counts before
    assert set(rows("| status | why |")) == given


@pytest.mark.parametrize("name", rows("| command | when |"))
def test_commands_are_messages_to_the_chip(name: str) -> None:
    assert hasattr(snp_firmware, name)
