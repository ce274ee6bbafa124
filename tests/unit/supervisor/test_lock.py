import os
from pathlib import Path

import pytest

from casemate.client.local import wait_for_end
from casemate.supervisor.errors import StateInUseError
from casemate.supervisor.lock import lock_state


def test_a_state_directory_has_one_machine_at_a_time(tmp_path: Path) -> None:
    first = lock_state(tmp_path)
    with pytest.raises(StateInUseError, match=f"its supervisor is process {os.getpid()}; `casemate down` ends it"):
        lock_state(tmp_path)
    assert not wait_for_end(tmp_path, 0)
    os.close(first)
    assert wait_for_end(tmp_path, 0)
    os.close(lock_state(tmp_path))


def test_a_state_directory_without_a_lock_has_none(tmp_path: Path) -> None:
    assert wait_for_end(tmp_path / "nowhere", 0)
