"""The victim in a VM's process without a machine around it."""

import os
from types import TracebackType
from typing import Self

from casemate.testing.hostile.target import Heard
from casemate.testing.hostile.victim import IMAGE, PROMPT
from casemate.testing.lone_guest import LoneGuest
from casemate.testing.lone_hypervisor import UnservedError
from casemate.wire.errors import WireError
from casemate.wire.messages.vm.host import AttackPath
from casemate.wire.messages.vm.hypervisor import Done, ExitReason, MapNested, RmpUpdate
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import PAGE_SIZE


class LoneTarget:
    """A :class:`~casemate.testing.hostile.target.Target`; ends its process with its context."""

    def __init__(self, mode: VmMode) -> None:
        self.mode = mode
        self._guest = LoneGuest(IMAGE, mode)
        self._vm, self._host = self._guest.vm, self._guest.hypervisor
        self.registers = self._vm.vmsas[0]
        self.spare = self._vm.vmsas[-1] + PAGE_SIZE
        self._heard = 0

    def listen(self, commands: bytes = b"") -> Heard:
        self._host.waiting.extend(commands)
        prompts, start = max(1, len(commands)), self._heard
        try:
            ended = self._host.run(until=lambda: self._at_prompt(start, prompts))
        except (UnservedError, WireError) as error:
            return Heard(self._news(), ExitReason.VMGEXIT, f"it asked for what no hypervisor can do: {error}")
        if ended is None:
            return Heard(self._news(), None, "")
        return Heard(self._news(), ended.reason, ended.detail)

    def step(self, instructions: int) -> None:
        self._vm.run(instructions=instructions)

    def load(self, path: AttackPath, spa: int, size: int) -> bytes:
        return os.pread(self._vm.dram.fileno(), size, spa) if path is AttackPath.DRAM else self._vm.load(spa, size)

    def store(self, path: AttackPath, spa: int, content: bytes) -> None:
        if path is AttackPath.DRAM:
            os.pwrite(self._vm.dram.fileno(), content, spa)
        else:
            self._vm.store(spa, content)

    def map(self, gpa: int, spa: int) -> None:
        self._vm.ask(MapNested(gpa, spa, 1), Done)

    def assign(self, spa: int, gpa: int | None) -> None:
        update = RmpUpdate(spa=spa, count=1, assigned=gpa is not None, gpa=gpa or 0, immutable=False)
        self._vm.ask(update, Done)

    def _at_prompt(self, start: int, prompts: int) -> bool:
        text = self._host.console[start:]
        return text.endswith(PROMPT.encode()) and text.count(PROMPT.encode()) == prompts

    def _news(self) -> str:
        start, self._heard = self._heard, len(self._host.console)
        return bytes(self._host.console[start:]).decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._vm.close()
