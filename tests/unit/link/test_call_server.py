import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rigs.two_users import ATTACKER, VICTIM, shared_folder, two_users, user

from casemate.link.async_channel import AsyncChannel
from casemate.link.call_server import CallServer
from casemate.link.calls import Caller, Reply
from casemate.link.errors import PeerGoneError
from casemate.wire.messages.control import Done, MachineStatus


@pytest.fixture
def shared() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder


async def _answer(_: bytes) -> Reply:
    return Reply(Done("yes"))


@two_users
@pytest.mark.parametrize(("uid", "lets_in"), [(VICTIM, True), (0, True), (ATTACKER, False)])
def test_only_the_owner_and_root_are_let_in(shared: Path, uid: int, lets_in: bool) -> None:
    """Though the socket's mode would let others connect."""
    path = shared / "host.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    path.chmod(0o777)
    client = socket.socket(socket.AF_UNIX)
    with user(uid):
        client.connect(str(path))

    async def ask() -> Done:
        serving = asyncio.create_task(CallServer(listener, lambda: _answer, most=2, at_once=1).run())
        channel = AsyncChannel(client)
        caller = Caller(channel)
        running = asyncio.create_task(caller.run())
        try:
            said, _ = await caller.call(MachineStatus(), Done, timeout=10)
            return said
        finally:
            serving.cancel()
            channel.close()
            await asyncio.wait({serving, running}, timeout=5)

    with listener, user(VICTIM):
        if lets_in:
            assert asyncio.run(ask()) == Done("yes")
        else:
            with pytest.raises(PeerGoneError):
                asyncio.run(ask())
