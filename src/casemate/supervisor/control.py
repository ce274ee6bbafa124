"""The owner's levers: a socket in the state directory that answers ``wire.messages.control``."""

import os
import socket

from casemate.link.calls import Reply
from casemate.link.door import Door
from casemate.link.places import host_socket
from casemate.supervisor.machine import Machine
from casemate.wire.faults import Code, refuse
from casemate.wire.message import parse_message
from casemate.wire.messages.control import Done, MachineIs, MachineStatus, RecoverTcb, RevokeChip, UpdateMicrocode
from casemate.wire.messages.supervisor import ChipReady

MAX_OWNERS = 16
"""Most connections at a time: the next one waits."""

CONTROL_FRAME = 65_536
"""Longest frame on the control socket (bytes)."""


class Control:
    """Answers the machine's owner."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def door(self, listener: socket.socket) -> Door:
        """The door at ``listener``."""
        return Door(listener, self._answer, most=MAX_OWNERS, at_once=1, limit=CONTROL_FRAME)

    async def _answer(self, message: bytes) -> Reply:
        request: object = parse_message(message, RecoverTcb, UpdateMicrocode, RevokeChip, MachineStatus)
        match request:
            case RecoverTcb(advisory):
                return Reply(await self._recover(advisory))
            case UpdateMicrocode():
                return Reply(await self._update())
            case RevokeChip():
                return Reply(await self._revoke())
            case _:
                return Reply(self._status())

    async def _recover(self, advisory: str) -> Done:
        published = await self._machine.vendor.recover_tcb(advisory)
        await self._machine.refresh_collateral()
        return Done(f"the vendor published CPUSVN {published['cpu_svn']}, PCESVN {published['pce_svn']} for {advisory}")

    async def _update(self) -> Done:
        newest = await self._machine.vendor.newest_tcb()
        now = await self._machine.update_microcode(bytes.fromhex(newest["cpu_svn"]), newest["pce_svn"])
        return Done(f"the chip is at CPUSVN {now.cpu_svn.hex()}, PCESVN {now.pce_svn}")

    async def _revoke(self) -> Done:
        await self._machine.vendor.revoke(self._ready().ppid)
        await self._machine.refresh_collateral()
        return Done("the vendor revoked this chip's certificate")

    def _status(self) -> MachineIs:
        machine = self._machine
        ready = self._ready()
        return MachineIs(
            supervisor_pid=os.getpid(),
            chip_pid=ready.pid,
            host_pid=0 if machine.host is None else machine.host.pid,
            host_socket=str(host_socket(machine.options.state)),
            platform=ready.platform,
            runtime_digest=ready.runtime_digest,
            seeded=machine.options.seed is not None,
            root_certificate=machine.root_certificate,
        )

    def _ready(self) -> ChipReady:
        if self._machine.ready is None:
            raise refuse(Code.WRONG_STATE, "the machine is still starting")
        return self._machine.ready
