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
    first.give_back()
    assert wait_for_end(tmp_path, 0)
    lock_state(tmp_path).give_back()


def test_a_lock_that_was_left_tells_of_it_once(tmp_path: Path) -> None:
    first = lock_state(tmp_path)
    assert not first.was_left
    os.close(first.descriptor)  # as the kernel does when its holder is killed
    second = lock_state(tmp_path)
    assert second.was_left
    second.give_back()
    third = lock_state(tmp_path)
    assert not third.was_left
    third.give_back()


def test_a_state_directory_without_a_lock_has_none(tmp_path: Path) -> None:
    assert wait_for_end(tmp_path / "nowhere", 0)
