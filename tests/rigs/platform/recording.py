"""Runs a host with every frame of its sockets written to a file: of clients, of the chip, and of enclaves.

``python recording.py MODULE FILE ARGUMENT...`` does what ``python -m MODULE ARGUMENT...`` does.
"""

import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

from casemate.link.async_channel import AsyncChannel
from casemate.link.channel import Frame

_send, _post, _receive = AsyncChannel.send, AsyncChannel.post, AsyncChannel.receive


def main() -> None:
    """Takes itself out of the arguments, and becomes the module."""
    _, module, record, *arguments = sys.argv
    file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # before the host gives up opening files

    async def send(self: AsyncChannel, payload: bytes, descriptors: Sequence[int] = ()) -> None:
        os.write(file, payload)
        await _send(self, payload, descriptors)

    def post(self: AsyncChannel, payload: bytes) -> None:
        os.write(file, payload)
        _post(self, payload)

    async def receive(self: AsyncChannel, *, prefix: int = 0) -> Frame:
        frame = await _receive(self, prefix=prefix)
        os.write(file, frame.prefix + frame.payload)
        return frame

    patched: Any = AsyncChannel
    patched.send, patched.post, patched.receive = send, post, receive
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
