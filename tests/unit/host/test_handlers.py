import asyncio
import socket
from pathlib import Path

import pytest
from tests.rigs.host.fake_chip import host_of

from casemate.host.handlers import Handlers
from casemate.host.host_server import check_complete
from casemate.host.vm.vm_table import VmTable
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import Caller
from casemate.wire.messages.host import EnclavesAre, ListEnclaves


def test_every_verb_of_the_table_has_a_handler(tmp_path: Path) -> None:
    async def run() -> None:
        async with host_of(tmp_path) as (orchestrator, _):
            ours, theirs = socket.socketpair()
            vms = VmTable(Caller(AsyncChannel(ours)), tmp_path)
            check_complete(orchestrator.handlers, vms.handlers)
            with pytest.raises(TypeError, match=r"differ: .*Call.*ListStates"):
                check_complete(Handlers(), vms.handlers)
            theirs.close()
            ours.close()

    asyncio.run(run())


def test_an_answer_of_another_class_is_a_defect() -> None:
    async def wrong(_asked: ListEnclaves) -> object:
        return None

    async def right(_asked: ListEnclaves) -> EnclavesAre:
        return EnclavesAre(())

    handlers = Handlers()
    handlers.add(ListEnclaves, right)
    assert asyncio.run(handlers.answer(ListEnclaves())) == EnclavesAre(())
    handlers.add(ListEnclaves, wrong)
    with pytest.raises(TypeError, match="ListEnclaves is answered by NoneType, want EnclavesAre"):
        asyncio.run(handlers.answer(ListEnclaves()))
