from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.gateway.front import Front, close_all, front


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def gateway(tmp_path: Path) -> Front:
    return front(tmp_path)
