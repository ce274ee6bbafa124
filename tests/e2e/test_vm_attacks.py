"""The same table against a whole machine, by way of its host and of the files in its state directory."""

from collections.abc import Iterator

import pytest

from casemate.client import connect
from casemate.client.local import local_machine
from casemate.testing.hostile.scenes import MachineScene
from casemate.testing.hostile.table import TABLE, Attack, expected
from casemate.wire.snp.mode import VmMode

pytestmark = pytest.mark.machine


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineScene]:
    """A machine of its own: some attacks leave it with a newer TCB."""
    state = tmp_path_factory.mktemp("attacks") / "machine"
    with local_machine(state, seed="tests") as machine, connect(machine.host_socket) as client:
        yield MachineScene(machine, client)


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: f"{attack.name} ({attack.way})")
def test_the_machine_answers_each_attack_as_the_table_says(scene: MachineScene, attack: Attack) -> None:
    for mode in (VmMode.SEV, VmMode.AUTHENTICATED):  # bare processes are tried in every mode
        result = scene.carry_out(attack, mode)
        assert result.cell == expected(attack, mode), (mode, result.words)
