"""Plain SEV: the hypervisor serves exits in registers that anybody may have written to in between."""

import asyncio
from pathlib import Path

from tests.rigs.host.fake_guest import fake_guest

from casemate.host.vm.vm import serve_open_registers
from casemate.wire.messages.vm.hypervisor import ExitReason, VcpuExit
from casemate.wire.snp.mode import VmMode

OUT_COM1 = 0x3F8 << 16 | 1 << 4
VMSA = 0x3000


def test_registers_that_were_changed_while_they_lay_open_stop_the_guest(tmp_path: Path) -> None:
    guest, link = fake_guest(tmp_path, VmMode.SEV)
    link.memory[VMSA : VMSA + 4096] = b"\xa5" * 4096
    ended = VcpuExit(reason=ExitReason.PORT, info_1=OUT_COM1, info_2=0, ghcb=0, executed=0, detail="")
    stopped = asyncio.run(serve_open_registers(guest, ended, VMSA))
    assert stopped is not None
    assert "were changed while they lay open" in stopped
    assert link.memory[VMSA : VMSA + 4096] == b"\xa5" * 4096
