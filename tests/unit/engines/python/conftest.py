"""The process that these tests' guests are forked from ends with them."""

from collections.abc import Iterator

import pytest
from tests.rigs.python_guests import end_base


@pytest.fixture(scope="session", autouse=True)
def _base_process() -> Iterator[None]:
    yield
    end_base()
