from pathlib import Path

import pytest

from casemate.images.functions.starter import write_starter
from casemate.images.keys import DeveloperKey
from casemate.images.lock import this_platform, write_lock
from casemate.wire.protocol.runtime_lock import RuntimeLock, RuntimePart

RUNTIME = (RuntimePart("core", bytes(32)), RuntimePart("javascript", b"\x01" * 32))


@pytest.fixture(scope="session")
def developer_key() -> DeveloperKey:
    return DeveloperKey.generate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The starter, with a lock: all that `build` wants."""
    folder = tmp_path / "starter"
    write_starter(folder)
    write_lock(folder, RuntimeLock().with_runtime(this_platform(), RUNTIME))
    return folder
