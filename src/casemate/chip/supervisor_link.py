"""The chip's side of its link to the supervisor: certificates, microcode, and the owner's orders about anchors."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from casemate.chip.anchors import Anchor, Anchors
from casemate.chip.audit import log_act
from casemate.chip.errors import AnchorLimitError, AnchorRefusedError, CertificationError, LeafError, StateError
from casemate.chip.sgx.platform import SgxPlatform
from casemate.chip.sgx.tcb import Tcb
from casemate.link.async_channel import AsyncChannel
from casemate.link.calls import answer_of
from casemate.link.channel import Frame
from casemate.link.errors import PeerGoneError
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages.supervisor import (
    AcceptRollback,
    AnchorGivenUp,
    AnchorsAre,
    AnchorShown,
    Certified,
    GiveUpAnchor,
    ListAnchors,
    MicrocodeIs,
    MicrocodeUpdate,
    NewHost,
    PckChainIs,
    RenewCertificates,
    RollbackAccepted,
)
from casemate.wire.protocol.faults import Code, Fault, FaultError, encode_reply, fault

if TYPE_CHECKING:
    from casemate.chip.snp.certification import SnpCertification

_UPDATE_FIRMWARE = bytes((0x8E,))
"""Tag of the one order for SEV-SNP."""
T = TypeVar("T")


class SupervisorLink:
    """Two conversations over one link: the supervisor's orders, and the chip's questions.

    Each has one message under way at a time, so its messages need no numbers.

    :meth:`listen` comes first.
    """

    def __init__(
        self,
        channel: AsyncChannel,
        sgx: SgxPlatform,
        anchors: Anchors,
        *,
        directory: Path,
        new_host: Callable[[AsyncChannel], None],
        snp: "Callable[[], SnpCertification]",
    ) -> None:
        self._channel = channel
        self._sgx = sgx
        self._anchors = anchors
        self._directory = directory
        self._new_host = new_host
        self._snp = snp
        self._turn = asyncio.Lock()
        self._asked: asyncio.Future[bytes] | None = None
        self._orders: asyncio.Queue[object | None] = asyncio.Queue()
        self._listening: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Begins to receive what the supervisor sends."""
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, question: object, wanted: type[T]) -> T:
        """The maker's answer to a question of the chip's.

        Raises:
            CertificationError: it refused.
            PeerGoneError: the supervisor is gone.
        """
        async with self._turn:
            self._asked = asyncio.get_running_loop().create_future()
            try:
                await self.say(question)
                return answer_of(await self._asked, wanted)
            except FaultError as refusal:
                raise CertificationError(f"the maker did not certify this chip: {refusal.fault.reason}") from None
            except WireError as error:
                raise CertificationError(f"the maker did not certify this chip: {error}") from None
            finally:
                self._asked = None

    async def certify(self, now: datetime) -> None:
        """Sees to it that the PCK is certified, by certificates that are valid now; asks for nothing if it is already.

        Raises:
            CertificationError: the maker refused, or certified another key, and there is no older certificate.
            PeerGoneError: the supervisor is gone.
        """
        request = self._sgx.certification_request
        if request is None and not self._sgx.certificate.validity.holds(now):
            await self._renew()
        if request is not None:
            self._sgx.certified((await self.ask(request, Certified)).chain)

    async def _renew(self) -> None:
        """Another certificate of the same PCK; where the maker refuses, the old one stays."""
        try:
            self._sgx.certified((await self.ask(self._sgx.renewal_request, Certified)).chain)
        except CertificationError as error:
            sys.stderr.write(f"casemate.chip: the PCK's certificate was not renewed: {error}\n")

    async def say(self, message: object) -> None:
        """Sends one message."""
        await self._channel.send(encode_message(message))

    async def run(self) -> None:
        """Carries out the supervisor's orders until it is gone."""
        try:
            while (order := await self._orders.get()) is not None:
                await self._channel.send(encode_reply(await self._answer(order)))
        except PeerGoneError:
            return

    async def _listen(self) -> None:
        try:
            while True:
                self._take(await self._channel.receive())
        except (PeerGoneError, WireError) as error:
            self._orders.put_nowait(None)
            if self._asked is not None and not self._asked.done():
                self._asked.set_exception(PeerGoneError(str(error)))

    def _take(self, frame: Frame) -> None:
        """An answer to what the chip has asked, a new host, or an order, which waits for those before it."""
        try:
            order = _parse_order(frame.payload)
        except WireError:
            if self._asked is None or self._asked.done():
                raise
            self._asked.set_result(frame.payload)
            return
        if isinstance(order, NewHost):
            self._take_host(frame.descriptors)
        else:
            self._orders.put_nowait(order)

    def _take_host(self, descriptors: tuple[int, ...]) -> None:
        if len(descriptors) != 1:
            for descriptor in descriptors:
                os.close(descriptor)
            raise WireError("NewHost", got=f"{len(descriptors)} descriptors", want="1")
        self._new_host(AsyncChannel(socket.socket(fileno=descriptors[0])))

    async def _answer(self, asked: object) -> object:
        match asked:
            case MicrocodeUpdate():
                return await self._update(asked)
            case AcceptRollback():
                return await self._change_anchor(asked, "rollback accepted", self._anchors.forgive, RollbackAccepted)
            case GiveUpAnchor():
                return await self._change_anchor(asked, "anchor given up", self._anchors.give_up, AnchorGivenUp)
            case RenewCertificates():
                return await self._renewed(asked, datetime.now(UTC))
            case ListAnchors():
                return AnchorsAre(
                    tuple(
                        AnchorShown(each.namespace, each.epoch, each.isv_svn, each.recoveries, each.is_forgiven)
                        for each in self._anchors.all()
                    )
                )
        return self._update_firmware(asked)

    async def _change_anchor(
        self,
        order: AcceptRollback | GiveUpAnchor,
        what: str,
        change: Callable[[bytes], Anchor],
        done: type[RollbackAccepted] | type[AnchorGivenUp],
    ) -> RollbackAccepted | AnchorGivenUp | Fault:
        """Writes the owner's act down before it is done: what is not in the log has not happened."""
        namespace = order.namespace
        try:
            epoch, now = self._anchors.find(namespace).epoch, datetime.now(UTC)
            entry = partial(log_act, self._directory, what, order.reason, now, namespace=namespace.hex(), epoch=epoch)
            await asyncio.to_thread(entry)
            changed = await asyncio.to_thread(change, namespace)
        except AnchorRefusedError as error:
            return fault(Code.STATE_REFUSED, str(error))
        except AnchorLimitError as error:
            return fault(Code.STATE_LIMIT, str(error))
        except StateError as error:
            return fault(Code.UNAVAILABLE, str(error))
        return done(namespace, changed.epoch)

    async def _renewed(self, order: RenewCertificates, now: datetime) -> PckChainIs:
        """The PCK's chain as it is once it was renewed, if it had to be."""
        held = self._sgx.certificate
        is_strange = held.root_digest != order.root_digest
        if is_strange or order.owner:
            self._sgx.forget_vcek_chains()
        if is_strange or not held.validity.holds(now):
            await self._renew()
        held = self._sgx.certificate
        seconds = (int(at.timestamp()) for at in (held.validity.not_before, held.validity.not_after))
        return PckChainIs(held.root_digest, *seconds)

    def _update_firmware(self, order: object) -> object:
        from casemate.chip.snp.errors import FirmwareError
        from casemate.wire.messages.snp_certification import UpdateFirmware

        if not isinstance(order, UpdateFirmware):
            return fault(Code.MALFORMED, "no order of a supervisor")
        try:
            return self._snp().update(order)
        except FirmwareError as error:
            return fault(Code.FIRMWARE_REFUSED, str(error))
        except (StateError, WireError) as error:
            return fault(Code.UNAVAILABLE, str(error))

    async def _update(self, update: MicrocodeUpdate) -> object:
        try:
            self._sgx.update(Tcb(update.cpu_svn, update.pce_svn))
            await self.certify(datetime.now(UTC))
        except LeafError as error:
            return fault(Code.WRONG_STATE, str(error))
        except (CertificationError, StateError) as error:
            return fault(Code.UNAVAILABLE, str(error))
        return MicrocodeIs(self._sgx.tcb.cpu_svn, self._sgx.tcb.pce_svn)


def _parse_order(payload: bytes) -> object:
    """The supervisor's order. The one for SEV-SNP is imported when it first comes."""
    if payload[:1] == _UPDATE_FIRMWARE:
        from casemate.wire.messages.snp_certification import UpdateFirmware

        return parse_message(payload, UpdateFirmware)
    of_anchors = (AcceptRollback, GiveUpAnchor, ListAnchors)
    order: object = parse_message(payload, MicrocodeUpdate, *of_anchors, RenewCertificates, NewHost)
    return order
