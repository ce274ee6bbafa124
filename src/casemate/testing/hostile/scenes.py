"""The settings of attacks: bare processes or a whole machine, with a new victim or prover for each attack."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from casemate.client import Client
from casemate.client.local import LocalMachine
from casemate.testing.hostile.lone import LoneTarget
from casemate.testing.hostile.lone_prover import LoneProver
from casemate.testing.hostile.machine import MachineTarget
from casemate.testing.hostile.machine_prover import MachineProver
from casemate.testing.hostile.outcome import AttackResult
from casemate.testing.hostile.table import Attack, MemoryAttack
from casemate.wire.snp.mode import VmMode


class Scene(Protocol):
    """Carries out attacks, each on guests of its own."""

    def carry_out(self, attack: Attack, mode: VmMode) -> AttackResult:
        """The result of the attack."""


class LoneScene:
    """VM processes without a machine, with a chip and its maker in this process."""

    def carry_out(self, attack: Attack, mode: VmMode) -> AttackResult:
        if isinstance(attack, MemoryAttack):
            with LoneTarget(mode) as target:
                return attack.run(target, attack.path)
        with _folder() as folder:
            return attack.run(LoneProver(folder / "chip", mode))


class MachineScene:
    """A whole machine, reached through its host. An attack that rolls the TCB back leaves it with a newer one."""

    def __init__(self, machine: LocalMachine, client: Client) -> None:
        self._machine = machine
        self._client = client

    def carry_out(self, attack: Attack, mode: VmMode) -> AttackResult:
        if isinstance(attack, MemoryAttack):
            with MachineTarget(self._client, self._machine.state, mode) as target:
                return attack.run(target, attack.path)
        return attack.run(MachineProver(self._machine, self._client, mode))


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="casemate-hostile-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
