"""Runs calls of known callers, for all ways in which calls come: the sealed channel, the plain form, a TLS session.

Each of these says which key has proved itself, or that none has, and carries the answer back. Everything that the
manifest rules about a call is decided here, once.
"""

import time

from casemate.enclave.boot import Program
from casemate.enclave.entry.answer import Answer
from casemate.enclave.entry.caller_identity import admit
from casemate.enclave.entry.interface_checks import check_arguments, check_result, declared_entry
from casemate.enclave.entry.open_streams import StreamOwner
from casemate.enclave.entry.peers import Peers
from casemate.enclave.entry.stream_calls import LastStep, StreamCalls
from casemate.enclave.guest.requests import CallServices, Services
from casemate.enclave.io.host_questions import HostQuestions
from casemate.wire.encodings.json_text import Json
from casemate.wire.protocol.call import StepTaken, StreamStep
from casemate.wire.protocol.faults import Code, refuse
from casemate.wire.protocol.manifest import EntryPoint


class Calls:
    """Runs calls, one at a time."""

    def __init__(self, program: Program, peers: Peers) -> None:
        manifest = program.image.manifest
        self._manifest = manifest
        self._schemas = program.image.schemas
        self._peers = peers
        questions = HostQuestions(
            program.image, peers.pump, peers.host, peers.console, is_guest_gone=peers.guest.is_gone
        )
        self._services = Services(program, peers.leaf, questions)
        self._streams = StreamCalls(program.image, peers, self._services)

    def deadline(self) -> float:
        """When a call that begins now must have ended, on the monotonic clock."""
        return time.monotonic() + self._manifest.limits.time_ms / 1000

    def call(self, name: str, arguments: bytes, public_key: bytes | None, deadline: float) -> Answer:
        """Calls an entry point, after its checks in their fixed order.

        Args:
            name: the entry point's, as the caller says.
            arguments: the caller's JSON, unparsed.
            public_key: the Ed25519 key that has proved itself over this very call; None where nobody has.
            deadline: of :meth:`deadline`; what came before counts as the call's time.

        Raises:
            FaultError: with every other outcome. Its words are for the caller, and for nobody else.
        """
        entry = self._entry(name)
        if entry.stream:
            raise refuse(Code.ARGUMENTS_REFUSED, f"entry point {name!r} is a stream: open it as one")
        return self._run(entry, arguments, admit(entry, self._manifest, public_key), deadline)

    def plain_call(self, name: str, arguments: bytes, deadline: float) -> Answer:
        """Calls an entry point for an anonymous, unencrypted request; the manifest must declare it plain.

        Raises:
            FaultError: as for :meth:`call`.
        """
        entry = self._entry(name)
        if not entry.plain:
            raise refuse(
                Code.CALLER_REFUSED, f"entry point {name!r} takes sealed calls alone: the manifest does not say plain"
            )
        return self._run(entry, arguments, None, deadline)

    def step(self, step: StreamStep, arguments: bytes, owner: StreamOwner, deadline: float) -> StepTaken | LastStep:
        """One step of a stream: see :meth:`StreamCalls.step`."""
        return self._streams.step(step, arguments, owner, deadline)

    def _entry(self, name: str) -> EntryPoint:
        return declared_entry(self._manifest, name)

    def _run(self, entry: EntryPoint, arguments: bytes, caller: Json, deadline: float) -> Answer:
        schemas = self._schemas.entries[entry.name]
        checked = check_arguments(schemas.input, arguments)
        services = CallServices(self._services)
        returned = self._peers.guest.call(
            entry.name, checked, caller, ask=lambda asked: services.answer(asked, deadline), deadline=deadline
        )
        output = check_result(schemas.output, returned, output_kib=self._manifest.limits.output_kib)
        mark = services.commit(deadline)  # nothing that can still be refused comes after this
        return Answer(output, committed_input=arguments, committed_output=output, state=mark)
