"""The chip's side of its link to the supervisor: has its key certified, and takes microcode updates."""

from casemate.chip.errors import CertificationError, LeafError, StateError
from casemate.chip.silicon import Silicon
from casemate.chip.tcb import Tcb
from casemate.link.async_channel import AsyncChannel
from casemate.link.errors import PeerGoneError
from casemate.wire.errors import WireError
from casemate.wire.faults import Code, Fault, fault
from casemate.wire.message import encode_message, parse_message
from casemate.wire.messages.supervisor import Certified, MicrocodeIs, MicrocodeUpdate


class SupervisorLink:
    """One conversation, strictly in turns, so it needs no numbers."""

    def __init__(self, channel: AsyncChannel, silicon: Silicon) -> None:
        self._channel = channel
        self._silicon = silicon

    async def certify(self) -> None:
        """Sees to it that the PCK is certified; asks for nothing if it is already.

        Raises:
            CertificationError: the vendor refused, or certified another key.
            PeerGoneError: the supervisor is gone.
        """
        request = self._silicon.certification_request
        if request is None:
            return
        await self.say(request)
        answer: object = parse_message((await self._channel.receive()).payload, Certified, Fault)
        if not isinstance(answer, Certified):
            raise CertificationError(f"the vendor did not certify this chip: {answer}")
        self._silicon.certified(answer.chain)

    async def say(self, message: object) -> None:
        """Sends one message."""
        await self._channel.send(encode_message(message))

    async def run(self) -> None:
        """Takes microcode updates until the supervisor is gone."""
        try:
            while True:
                frame = await self._channel.receive()
                await self.say(await self._update(parse_message(frame.payload, MicrocodeUpdate)))
        except (PeerGoneError, WireError):
            return

    async def _update(self, update: MicrocodeUpdate) -> object:
        try:
            self._silicon.update(Tcb(update.cpu_svn, update.pce_svn))
            await self.certify()
        except LeafError as error:
            return fault(Code.WRONG_STATE, str(error))
        except (CertificationError, StateError) as error:
            return fault(Code.UNAVAILABLE, str(error))
        return MicrocodeIs(self._silicon.tcb.cpu_svn, self._silicon.tcb.pce_svn)
