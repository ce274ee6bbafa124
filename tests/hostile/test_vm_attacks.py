"""The table of attacks on confidential VMs, mode by mode and door by door, against bare VM processes."""

import pytest

from casemate.testing.hostile.scenes import LoneScene
from casemate.testing.hostile.table import TABLE, Attack, expected
from casemate.wire.snp.mode import VmMode


@pytest.mark.parametrize("mode", VmMode, ids=str)
@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: f"{attack.name} ({attack.way})")
def test_the_machine_answers_each_attack_as_the_table_says(attack: Attack, mode: VmMode) -> None:
    result = LoneScene().carry_out(attack, mode)
    assert result.cell == expected(attack, mode), result.words
