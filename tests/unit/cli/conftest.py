import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.rigs.command_line import FAKE_RUNTIME, Casemate, casemate_here

from casemate.cli import images
from casemate.cli.images import PlatformRuntime
from casemate.images.functions.starter import write_starter
from casemate.images.keys import DeveloperKey
from casemate.images.lock import this_platform


@pytest.fixture(scope="session")
def developer_pem() -> bytes:
    """One developer's key for all tests: making one takes a second."""
    return DeveloperKey.generate().pem()


@pytest.fixture
def casemate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, developer_pem: bytes) -> Casemate:
    """The command, with a home of its own."""
    key = tmp_path / "config" / "casemate" / "developer.pem"
    key.parent.mkdir(parents=True)
    key.write_bytes(developer_pem)
    key.chmod(0o600)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CASEMATE_STATE", raising=False)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(images, "runtime", lambda: PlatformRuntime(this_platform(), FAKE_RUNTIME, "/nowhere"))
    return casemate_here


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A starter."""
    folder = tmp_path / "hello"
    write_starter(folder)
    return folder


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def not_root() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read and write everything")
