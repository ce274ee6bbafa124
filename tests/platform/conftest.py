"""A machine as an operator runs it, and the function that the proofs call."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.platform.machine import Platform, ledger_image, platform_on

from casemate.images.image import Image


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return ledger_image(tmp_path_factory.mktemp("ledger") / "function")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    with platform_on(tmp_path / "machine") as running:
        yield running
