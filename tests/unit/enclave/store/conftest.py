from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.store_lab import Lab, LabHost, lab


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path) as made:
        yield made


@pytest.fixture
def host(machine: Lab) -> LabHost:
    return machine.host()
