"""Runs calls of known callers, for all ways in which calls come: the sealed channel, the plain form, a TLS session.

Each of these says who calls and carries the answer back. Everything that the manifest rules about a call is decided
here, once.
"""

import time
from collections.abc import Hashable

from casemate.enclave.boot import Program
from casemate.enclave.capabilities.registry import services_of
from casemate.enclave.entry.answer import Answer, committed, measured, put_out
from casemate.enclave.entry.caller_identity import admit, admit_peer
from casemate.enclave.entry.interface_checks import check_arguments, check_said, declared_entry
from casemate.enclave.entry.open_streams import StreamOwner
from casemate.enclave.entry.peers import OwnProof, Peers
from casemate.enclave.entry.stream_calls import LastStep, StreamCalls
from casemate.enclave.entry.turns import Turns
from casemate.enclave.guest.call_services import CallServices, Course, course_of_client
from casemate.enclave.guest.ocall import Ocalls
from casemate.enclave.peer_policy import KnownPeer
from casemate.enclave.service_life import ServiceLife
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import StepTaken, StreamStep
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import EntryPoint
from casemate.wire.protocol.peers import MAX_DEPTH
from casemate.wire.protocol.peers import Course as PeerCourse

LARGE = 2 * 1024 * 1024
"""Calls with longer arguments (bytes) take place one at a time: each has several copies of them in the memory."""

PLAIN_CALLERS = "plain"
"""The party of all plain calls: nobody can tell who makes them."""


class Calls:
    """Runs calls, up to ``limits.concurrent`` at a time."""

    def __init__(self, program: Program, peers: Peers, own: OwnProof) -> None:
        manifest = program.image.manifest
        self._manifest = manifest
        self._schemas = program.image.schemas
        self._peers = peers
        self._turns = Turns(manifest.limits.concurrent)
        self._large = Turns(1)
        ocalls = Ocalls(program.image.schemas, peers.host, explain=manifest.debug)
        self._services = services_of(program, peers, own, ocalls.ask)
        self.life = ServiceLife(program, peers, self._services)
        self._streams = StreamCalls(program.image, peers, self._services, self._turns, self.life)
        self._traces: set[bytes] = set()
        """Of the calls that are under way, streams aside."""

    async def call(self, name: str, arguments: bytes, public_key: bytes | None, party: Hashable) -> Answer:
        """Calls an entry point, after its checks in their fixed order.

        Args:
            name: the entry point's, as the caller says.
            arguments: the caller's JSON, unparsed.
            public_key: the Ed25519 key that has proved itself over this very call; None where nobody has.
            party: whose call it is, for what it may meet in a guest: see :mod:`casemate.enclave.guest.guests`.

        Raises:
            FaultError: with every other outcome than a result or a refusal of the function's own. Its words are for the
                caller, and for nobody else.
        """
        entry = self._entry(name)
        if entry.stream:
            raise refuse(Code.ARGUMENTS_REFUSED, f"entry point {name!r} is a stream: open it as one")
        shown = admit(entry, self._manifest, public_key)
        return await self._run(entry, arguments, shown, party, course_of_client())

    async def plain_call(self, name: str, arguments: bytes) -> Answer:
        """Calls an entry point for an anonymous, unencrypted request; the manifest must declare it plain.

        Raises:
            FaultError: as for :meth:`call`.
        """
        entry = self._entry(name)
        if not entry.plain:
            raise refuse(
                Code.CALLER_REFUSED, f"entry point {name!r} takes sealed calls alone: the manifest does not say plain"
            )
        return await self._run(entry, arguments, None, PLAIN_CALLERS, course_of_client())

    async def call_of_peer(self, name: str, arguments: bytes, peer: KnownPeer, course: PeerCourse) -> Answer:
        """Calls an entry point for another enclave, which has proved itself.

        Args:
            name: the entry point's.
            arguments: JSON, unparsed.
            peer: who calls.
            course: where the call stands among those that led to it, as the other enclave says. Its trace and depth end
                circles and long chains among enclaves that are honest; the others' ends are the deadlines.

        Raises:
            FaultError: as for :meth:`call`; ``call-cycle``; ``call-depth``.
        """
        entry = self._entry(name)
        if entry.stream:
            raise refuse(Code.ARGUMENTS_REFUSED, f"entry point {name!r} is a stream, which enclaves do not call")
        if course.depth > MAX_DEPTH:
            raise refuse(Code.CALL_DEPTH, f"{course.depth} enclaves have called each other in a row, want {MAX_DEPTH}")
        if course.trace in self._traces:
            raise refuse(Code.CALL_CYCLE, "the call has led back to this enclave, in which it is under way already")
        known = Course(course.trace, course.depth, time.monotonic() + course.time_ms / 1000)
        return await self._run(entry, arguments, admit_peer(entry, peer), peer.identity, known)

    async def step(self, step: StreamStep, arguments: bytes, owner: StreamOwner) -> StepTaken | LastStep:
        """One step of a stream: see :meth:`StreamCalls.step`."""
        return await self._streams.step(step, arguments, owner)

    def _entry(self, name: str) -> EntryPoint:
        return declared_entry(self._manifest, name)

    async def _run(self, entry: EntryPoint, arguments: bytes, shown: Json, party: Hashable, course: Course) -> Answer:
        await self._services.monitor.admit()
        await self.life.ready()
        self._traces.add(course.trace)
        try:
            if len(arguments) <= LARGE:
                return await self._run_now(entry, arguments, shown, party, course)
            await self._large.take(party)
            try:
                return await self._run_now(entry, arguments, shown, party, course)
            finally:
                self._large.give_back()
        finally:
            self._traces.discard(course.trace)

    async def _run_now(
        self, entry: EntryPoint, arguments: bytes, shown: Json, party: Hashable, course: Course
    ) -> Answer:
        checked = check_arguments(self._schemas.entries[entry.name].input, arguments, explain=self._manifest.debug)
        # First the guest, then the turn: who waits for a guest to be made keeps nobody who has one from calling it.
        limit = min(self._manifest.limits.time_ms / 1000, course.until - time.monotonic())
        place, seconds = await self._peers.guests.hold(party, limit)
        try:
            await self._turns.take(party)
        except BaseException:
            self._peers.guests.release(place)
            raise
        try:
            deadline = min(time.monotonic() + seconds, course.until)
            services = CallServices(self._services, shown, course, party, may_write=entry.may_write)
            with measured(services.meter):
                try:
                    with services.working(place.guest):
                        told = await place.guest.call(
                            entry.name,
                            checked,
                            shown,
                            ask=lambda asked: services.answer(asked, deadline),
                            deadline=deadline,
                            about=course.about(limit) | self.life.about(),
                        )
                finally:
                    self._peers.guests.release(place)
                said = check_said(told, entry, self._manifest, self._schemas)
                mark = await services.conclude(said, deadline)  # nothing that can still be refused comes after this
        finally:
            self._turns.give_back()
        services.meter.put_out(put_out(said))
        return Answer(
            said,
            committed_input=arguments,
            committed_output=committed(said),
            state=mark,
            metrics=services.meter.metrics(),
            inner=services.inner.kept,
        )
