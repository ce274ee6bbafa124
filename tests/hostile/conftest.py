from collections.abc import Iterator

import pytest
from tests.rigs.costs import Meter


@pytest.fixture(scope="session")
def meter() -> Iterator[Meter]:
    with Meter() as running:
        yield running
