"""Streams: calls in steps. Each step is a call of its own to everybody but the function."""

import time
from dataclasses import dataclass

from casemate.enclave.entry.answer import Answer, committed, measured, put_out
from casemate.enclave.entry.caller_identity import admit
from casemate.enclave.entry.interface_checks import check_arguments, check_said, declared_entry
from casemate.enclave.entry.open_streams import OpenStream, StreamOwner, Streams
from casemate.enclave.entry.peers import Peers
from casemate.enclave.entry.turns import Turns
from casemate.enclave.guest.call_services import CallServices, Services, course_of_client
from casemate.enclave.guest.guest import new_number
from casemate.enclave.service_life import ServiceLife
from casemate.engines.frames import Ended, FrameKind, Paused, Refused
from casemate.images.layout import ImageContents
from casemate.process.memory import keep_memory_of_pieces
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import MAX_CHUNK, StepKind, StepTaken, StreamStep
from casemate.wire.protocol.faults import Code, refuse

MAX_STREAM_ARGUMENTS = MAX_CHUNK
"""The longest arguments that a stream may be opened with (bytes of JSON): they are kept for its receipt."""

_GUEST_KINDS = {StepKind.CHUNK: FrameKind.CHUNK, StepKind.END: FrameKind.END, StepKind.PULL: FrameKind.PULL}


@dataclass(frozen=True, slots=True)
class LastStep:
    """The outcome of the last step of a stream."""

    data: bytes
    answer: Answer


class StreamCalls:
    """Runs the steps of streams.

    A step that fails because of the function ends its stream. One that is refused for what the client asks changes
    nothing.
    """

    def __init__(self, image: ImageContents, peers: Peers, services: Services, turns: Turns, life: ServiceLife) -> None:
        self._manifest = image.manifest
        self._time_limit = image.manifest.limits.time_ms / 1000
        self._schemas = image.schemas
        self._peers = peers
        self._services = services
        self._turns = turns
        self._life = life
        self._streams = Streams()

    async def step(self, step: StreamStep, arguments: bytes, owner: StreamOwner) -> StepTaken | LastStep:
        """Takes one step of a stream, after its checks in their fixed order.

        Args:
            step: which.
            arguments: JSON for OPEN, a piece of input for CHUNK, else nothing.
            owner: whose session it is, the key that has proved itself, and the entry point that is named.

        Raises:
            FaultError: with every other outcome than those, a refusal of the function's own among them.
        """
        for number in self._streams.lost():
            self._give_up(number)
        if step.kind is StepKind.OPEN:
            return await self._open(step, arguments, owner)
        stream = self._streams.find(step.stream, owner)
        _check_step(step.kind, arguments, stream)
        if step.kind is StepKind.CANCEL:
            self._give_up(step.stream)
            return StepTaken(step.stream, is_hungry=False, data=b"")
        self._services.monitor.check()
        stream.is_stepping = True
        try:
            return await self._go_on(step, arguments, stream)
        except BaseException:
            self._end(step.stream)  # the guest has forgotten it, or is gone
            raise
        finally:
            stream.is_stepping = False

    async def _go_on(self, step: StreamStep, piece: bytes, stream: OpenStream) -> StepTaken | LastStep:
        guests, party = self._peers.guests, stream.owner.party
        try:
            await guests.hold_again(stream.place, party)
        except BaseException:
            self._give_up(step.stream)
            raise
        try:
            await self._turns.take(party)
        except BaseException:
            guests.release(stream.place)
            self._give_up(step.stream)
            raise
        try:
            deadline = time.monotonic() + self._time_limit
            stream.input.pass_on(piece)
            with measured(stream.services.meter):
                try:
                    with stream.services.working(stream.place.guest):
                        said = await stream.place.guest.step(
                            stream.in_guest,
                            _GUEST_KINDS[step.kind],
                            piece,
                            ask=lambda asked: stream.services.answer(asked, deadline),
                            deadline=deadline,
                        )
                finally:
                    guests.release(stream.place)
                return await self._said(step.stream, stream, said, deadline)
        finally:
            self._turns.give_back()

    async def _open(self, step: StreamStep, arguments: bytes, owner: StreamOwner) -> StepTaken | LastStep:
        entry = declared_entry(self._manifest, owner.entry)
        if not entry.stream:
            raise refuse(Code.ARGUMENTS_REFUSED, f"entry point {entry.name!r} is no stream: call it in one piece")
        if step.stream != 0:
            raise refuse(Code.ARGUMENTS_REFUSED, f"a stream to open has no number yet, this one has {step.stream}")
        caller = admit(entry, self._manifest, owner.public_key)
        if len(arguments) > MAX_STREAM_ARGUMENTS:
            raise refuse(
                Code.ARGUMENTS_REFUSED,
                f"the arguments have {len(arguments)} bytes, a stream is opened with at most {MAX_STREAM_ARGUMENTS}:"
                " send the rest in pieces",
            )
        await self._services.monitor.admit()
        await self._life.ready()
        checked = check_arguments(self._schemas.entries[entry.name].input, arguments, explain=self._manifest.debug)
        guests = self._peers.guests
        place, seconds = await guests.hold(owner.party, self._time_limit)
        try:
            given_up = self._streams.make_room(time.monotonic())
            if given_up is not None:
                self._give_up(given_up)
            keep_memory_of_pieces()
            stream = OpenStream(
                owner,
                entry,
                arguments,
                place,
                new_number(),
                CallServices(self._services, caller, course_of_client(), owner.party, may_write=entry.may_write),
            )
            number = self._streams.add(stream)
            place.streams += 1
        except BaseException:
            guests.release(place)
            raise
        stream.is_stepping = True
        try:
            return await self._begin(number, stream, checked, caller, seconds)
        except BaseException:
            self._end(number)  # the guest has not begun it, has forgotten it, or is gone
            raise
        finally:
            stream.is_stepping = False

    async def _begin(
        self, number: int, stream: OpenStream, arguments: bytes, caller: Json, seconds: float
    ) -> StepTaken | LastStep:
        guests = self._peers.guests
        try:
            await self._turns.take(stream.owner.party)
        except BaseException:
            guests.release(stream.place)
            raise
        try:
            deadline = time.monotonic() + seconds
            with measured(stream.services.meter):
                try:
                    with stream.services.working(stream.place.guest):
                        said = await stream.place.guest.open(
                            stream.in_guest,
                            stream.entry.name,
                            arguments,
                            caller,
                            ask=lambda asked: stream.services.answer(asked, deadline),
                            deadline=deadline,
                            about=stream.services.course.about(self._time_limit) | self._life.about(),
                        )
                finally:
                    guests.release(stream.place)
                return await self._said(number, stream, said, deadline)
        finally:
            self._turns.give_back()

    async def _said(
        self, number: int, stream: OpenStream, told: Paused | Ended | Refused, deadline: float
    ) -> StepTaken | LastStep:
        data = b"" if isinstance(told, Refused) else told.data
        meter = stream.services.meter
        stream.output.pass_on(data)
        meter.put_out(data)
        if isinstance(told, Paused):
            stream.is_hungry = told.is_hungry
            self._streams.rest(number, time.monotonic())
            return StepTaken(number, told.is_hungry, data)
        self._end(number)
        outcome = told.text if isinstance(told, Ended) else told
        said = check_said(outcome, stream.entry, self._manifest, self._schemas)
        meter.put_out(put_out(said))
        answer = Answer(
            said,
            committed_input=stream.input.text(stream.arguments),
            committed_output=stream.output.text(committed(said)),
            state=await stream.services.conclude(said, deadline),
            metrics=meter.metrics(),
            inner=stream.services.inner.kept,
        )
        return LastStep(data, answer)

    def _give_up(self, number: int) -> None:
        """Ends a stream before its end, in the guest as well; nothing where it has ended already."""
        stream = self._end(number)
        if stream is not None:
            stream.place.guest.drop(stream.in_guest)

    def _end(self, number: int) -> OpenStream | None:
        """Forgets a stream, so that its guest is free for others."""
        stream = self._streams.remove(number)
        if stream is not None:
            stream.place.streams -= 1
            self._peers.guests.tidy(stream.place)
        return stream


def _check_step(kind: StepKind, piece: bytes, stream: OpenStream) -> None:
    """Refuses what the stream does not wait for; it goes on waiting."""
    if stream.is_stepping:
        raise refuse(Code.WRONG_STATE, "a step of this stream is under way: wait for its answer")
    if kind is StepKind.CHUNK and not 1 <= len(piece) <= MAX_CHUNK:
        raise refuse(Code.ARGUMENTS_REFUSED, f"a piece of {len(piece)} bytes, want 1 to {MAX_CHUNK}")
    if kind is not StepKind.CHUNK and piece:
        raise refuse(Code.ARGUMENTS_REFUSED, f"{len(piece)} bytes with a step that has none")
    if kind is StepKind.CANCEL:
        return
    if kind is StepKind.PULL and stream.is_hungry:
        raise refuse(Code.WRONG_STATE, "the function waits for input: send a piece of it, or its end")
    if kind is not StepKind.PULL and not stream.is_hungry:
        raise refuse(Code.WRONG_STATE, "the function has more to say before it takes input: pull")
