from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.docs.warm_commands import WarmCommands


@pytest.fixture(scope="session")
def warm_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose `casemate` starts at once."""
    folder = tmp_path_factory.mktemp("commands")
    with WarmCommands(folder):
        yield folder
