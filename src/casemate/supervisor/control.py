"""Answers the machine's owner: a socket in the state directory that takes ``wire.messages.control``."""

import contextlib
import socket
from datetime import UTC, datetime
from hashlib import sha256

from casemate.link.call_server import CallServer
from casemate.link.calls import Reply
from casemate.process.audit_log import log_act
from casemate.process.ownership import PlaceError
from casemate.supervisor.machine import Machine
from casemate.supervisor.shutdown import ShutdownRequests
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import os_error_text
from casemate.wire.messages.control import (
    AskSnpRoot,
    Done,
    EndMachine,
    InUse,
    MachineIs,
    MachineStatus,
    RecoverSnpTcb,
    RecoverTcb,
    RenewMachine,
    RevokeChip,
    RevokeSnpKey,
    SnpRootIs,
    UpdateMicrocode,
    UpdateSnpFirmware,
    UseMachine,
    seed_digest,
)
from casemate.wire.messages.snp_certification import FirmwareIs, UpdateFirmware
from casemate.wire.messages.supervisor import (
    AcceptRollback,
    AnchorGivenUp,
    AnchorsAre,
    ChipReady,
    GiveUpAnchor,
    ListAnchors,
    MicrocodeIs,
    MicrocodeUpdate,
    RollbackAccepted,
)
from casemate.wire.protocol.faults import Code, FaultError, refuse
from casemate.wire.snp.simulated_platform import CHIP_ID_SIZE

_LEVERS = (
    RecoverTcb,
    UpdateMicrocode,
    RevokeChip,
    RenewMachine,
    AcceptRollback,
    GiveUpAnchor,
    RecoverSnpTcb,
    UpdateSnpFirmware,
    RevokeSnpKey,
    EndMachine,
)

MAX_OWNERS = 16
"""Most connections at a time: the next one waits."""

CONTROL_FRAME = 262_144
"""Longest frame on the control socket (bytes)."""


class Control:
    """Answers the machine's owner.

    Args:
        machine: whose levers these are.
        shutdown: what ends the machine, and who keeps it.
    """

    def __init__(self, machine: Machine, shutdown: ShutdownRequests) -> None:
        self._machine = machine
        self._shutdown = shutdown

    def server(self, listener: socket.socket) -> CallServer:
        """The server for the owner's requests at ``listener``, not yet running."""
        return CallServer(listener, lambda: self._answer, most=MAX_OWNERS, at_once=1, limit=CONTROL_FRAME)

    async def _answer(self, message: bytes) -> Reply:
        request: object = parse_message(message, *_LEVERS, ListAnchors, MachineStatus, AskSnpRoot, UseMachine)
        match request:
            case MachineStatus():
                return Reply(self._status())
            case UseMachine():
                return self._admit()
            case AskSnpRoot():
                return Reply(await self._snp_root())
            case ListAnchors():
                return Reply(await self._machine.chip.ask(request, AnchorsAre))
        try:
            done = await self._pull(request)
        except FaultError as error:
            with contextlib.suppress(OSError, PlaceError):
                self._log(type(request).__name__, f"{request}: refused: {error}")
            raise
        try:
            self._log(type(request).__name__, f"{request}: {done}")
        except (OSError, PlaceError) as error:
            why = os_error_text(error) if isinstance(error, OSError) else error
            raise refuse(Code.UNAVAILABLE, f"done ({done}), but the audit log cannot be written: {why}") from None
        return Reply(done)

    def _log(self, what: str, details: str) -> None:
        log_act(self._machine.options.state, what, details)

    async def _pull(self, lever: object) -> Done | RollbackAccepted | AnchorGivenUp:
        match lever:
            case RecoverTcb(advisory):
                return await self._recover(advisory)
            case UpdateMicrocode():
                return await self._update()
            case RevokeChip():
                return await self._revoke()
            case RenewMachine():
                return await self._renew()
            case AcceptRollback():
                return await self._machine.chip.ask(lever, RollbackAccepted)
            case GiveUpAnchor():
                return await self._machine.chip.ask(lever, AnchorGivenUp)
            case EndMachine(at_once):
                self._shutdown.request(at_once=at_once)
                return Done("the machine ends")
        return await self._pull_snp(lever)

    async def _pull_snp(self, lever: object) -> Done:
        match lever:
            case RecoverSnpTcb(advisory):
                return await self._recover_snp(advisory)
            case UpdateSnpFirmware(commit):
                return await self._update_snp(commit=commit)
            case RevokeSnpKey():
                return await self._revoke_snp(lever)
        raise refuse(Code.MALFORMED, "no request of an owner")

    async def _recover(self, advisory: str) -> Done:
        published = await self._machine.maker.recover_tcb(advisory)
        await self._machine.refresh_collateral()
        return Done(f"the maker published CPUSVN {published['cpu_svn']}, PCESVN {published['pce_svn']} for {advisory}")

    async def _update(self) -> Done:
        newest = await self._machine.maker.newest_tcb()
        update = MicrocodeUpdate(bytes.fromhex(newest["cpu_svn"]), newest["pce_svn"])
        now = await self._machine.chip.ask(update, MicrocodeIs)
        return Done(f"the chip is at CPUSVN {now.cpu_svn.hex()}, PCESVN {now.pce_svn}")

    async def _revoke(self) -> Done:
        await self._machine.maker.revoke(self._ready().ppid)
        await self._machine.refresh_collateral()
        return Done("the maker revoked this chip's certificate")

    async def _renew(self) -> Done:
        """Renews what it can and says what it cannot: seeded certificates have fixed dates, revoked ones stay so."""
        machine, old_root = self._machine, self._machine.root_certificate
        await machine.renew(owner=True)
        await machine.refresh_collateral()
        doubt = machine.clock_doubt(datetime.now(UTC))
        root = sha256(machine.root_certificate).hexdigest()
        changed = "" if machine.root_certificate == old_root else f"; policies must name the root {root} from now"
        return Done((f"not all could be renewed: {doubt}" if doubt else "all certificates are valid now") + changed)

    async def _recover_snp(self, advisory: str) -> Done:
        product = (await self._snp()).product
        published = await self._machine.maker.recover_firmware(product, advisory)
        return Done(f"the maker published TCB {published.tcb.hex()} of {product} for {advisory}")

    async def _update_snp(self, *, commit: bool) -> Done:
        update = UpdateFirmware(await self._machine.maker.newest_firmware(), commit)
        now = await self._machine.chip.ask(update, FirmwareIs)
        return Done(f"the platform runs TCB {now.current_tcb.hex()} and reports {now.reported_tcb.hex()}")

    async def _revoke_snp(self, lever: RevokeSnpKey) -> Done:
        snp, maker = await self._snp(), self._machine.maker
        if lever.issuer:
            role = "asvk" if lever.provider else "ask"
            await maker.revoke_snp(snp.product, "--issuer", role)
            what = f"{role.upper()} of {snp.product}"
        elif lever.provider:
            await maker.revoke_snp(snp.product, "--csp-id", lever.provider)
            what = f"VLEK of {lever.provider}"
        else:
            await maker.revoke_snp(snp.product, "--hw-id", snp.hw_id.hex())
            what = "VCEK of this chip"
        await self._machine.refresh_revocation_list(snp.product)
        return Done(f"the maker revoked the {what}")

    async def _snp_root(self) -> SnpRootIs:
        now = await self._snp()
        root = await self._machine.maker.amd_root(now.product)
        newest = {each.product: each.tcb for each in await self._machine.maker.newest_firmware()}
        crl = await self._machine.refresh_revocation_list(now.product)
        return SnpRootIs(now.product, root, crl, newest[now.product], now.hw_id.ljust(CHIP_ID_SIZE, b"\x00"))

    async def _snp(self) -> FirmwareIs:
        return await self._machine.chip.ask(UpdateFirmware((), commit=False), FirmwareIs)

    def _admit(self) -> Reply:
        descriptor = self._shutdown.admit_user()
        if descriptor is None:
            raise refuse(Code.WRONG_STATE, "the machine is ending")
        return Reply(InUse(), (descriptor,))

    def _status(self) -> MachineIs:
        machine = self._machine
        ready = self._ready()
        return MachineIs(
            processes=machine.processes,
            host_socket=machine.host_socket,
            url=machine.url,
            started_at=machine.started_at,
            lasting=machine.options.lasting,
            platform=ready.platform,
            runtime=ready.runtime,
            seed_digest=seed_digest(machine.options.seed),
            root_certificate=machine.root_certificate,
            clock=machine.clock_doubt(datetime.now(UTC)),
            ocalls=() if machine.handlers is None else machine.handlers.names,
            ocalls_module="" if machine.handlers is None else str(machine.handlers.module),
        )

    def _ready(self) -> ChipReady:
        if self._machine.ready is None:
            raise refuse(Code.WRONG_STATE, "the machine is still starting")
        return self._machine.ready
