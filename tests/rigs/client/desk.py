"""A host with one enclave and a forged platform, in threads: what clients meet, without a machine."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rigs.channel.guests import Script, echo
from tests.rigs.channel.rig import MANIFEST, MR_ENCLAVE, Rig

from casemate.client.core import AttestedEnclave, appraise_answer, challenge
from casemate.link.channel import Channel
from casemate.link.errors import PeerGoneError
from casemate.link.numbered_frames import numbered, split
from casemate.testing.forge import Forgery, honest
from casemate.verifier import BoundValues, RequiredLayers, SgxPolicy
from casemate.wire.encodings.message import parse_message
from casemate.wire.errors import WireError
from casemate.wire.messages import host
from casemate.wire.messages.entry import Challenge, ChallengeAnswer, Left
from casemate.wire.protocol.faults import Code, fault
from casemate.wire.protocol.lifecycle import State
from casemate.wire.protocol.sandbox_layers import LayerName
from casemate.wire.protocol.tee import Tee
from casemate.wire.sgx.quote import Quote

NOW = datetime.now(UTC).replace(microsecond=0)


class Desk:
    """An enclave whose evidence satisfies :attr:`policy`."""

    def __init__(self, *, script: Script = echo, manifest: str = MANIFEST) -> None:
        self._turn = threading.Lock()
        self.rig = Rig(script=script, manifest=manifest)
        self.forgery: Forgery = honest(NOW)
        self.forgery.body = replace(self.forgery.body, mr_enclave=MR_ENCLAVE)
        self.forged = self.forgery.sign()
        self.policy: SgxPolicy = replace(
            self.forged.policy,
            mr_enclave=frozenset({MR_ENCLAVE}),
            report_data="FRESH_NONCE",
            layers=RequiredLayers(frozenset({LayerName.SECCOMP}), frozenset({LayerName.LANDLOCK})),
        )

    def __enter__(self) -> Self:
        self.rig.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rig.__exit__(kind, error, trace)

    def evidence(self, nonce: bytes) -> host.EvidenceIs:
        """An honest answer to a challenge."""
        said = self.rig.ask(Challenge(nonce, bytes(512)))
        assert isinstance(said, ChallengeAnswer)
        self.forgery.nonce = nonce
        self.forgery.bound = BoundValues(said.hpke_key, said.receipt_key, said.layers)
        chain = Quote.parse(self.forged.evidence.quote).signature_data.certification_data.data
        return host.EvidenceIs(
            tee=Tee.SGX,
            evidence=self.forgery._quote(chain).encode(),
            hpke_key=said.hpke_key,
            receipt_key=said.receipt_key,
            layers=said.layers,
            session=said.session,
            endorsements=self.forged.collateral.encode(),
        )

    def attest(self) -> AttestedEnclave:
        """A session with an appraised enclave."""
        nonce = challenge()
        return appraise_answer(self.evidence(nonce), nonce, self.policy, NOW)

    def answer(self, question: object) -> object:
        """What an honest host answers; one question at a time, though clients of an earlier test may still ask."""
        with self._turn:
            return self._answer(question)

    def _answer(self, question: object) -> object:
        match question:
            case host.GetEvidence(1, nonce):
                return self.evidence(nonce)
            case host.Call(1, envelope):
                reply = self.rig.enter(envelope)
                return host.Answer(reply.sealed) if isinstance(reply, Left) else reply
            case host.Launch():
                return host.Launched(1, MR_ENCLAVE)
            case host.ListEnclaves():
                return host.EnclavesAre((SHOWN,))
            case host.StartEnclave(1):
                return SHOWN
            case host.StopEnclave(1):
                return replace(SHOWN, state=State.STOPPED)
            case host.DestroyEnclave(1):
                return replace(SHOWN, state=State.DESTROYED)
        return fault(Code.UNKNOWN_ENCLAVE, "there is enclave 1 alone")


SHOWN = host.EnclaveIs(
    1, "rig", MR_ENCLAVE, bytes(32), 3, 2, debug=False, state=State.RUNNING, reason="", image=bytes(32)
)
QUESTIONS = (
    *(host.GetEvidence, host.Call, host.Launch, host.ListEnclaves),
    *(host.StartEnclave, host.StopEnclave, host.DestroyEnclave),
)
Respond = Callable[[Channel, int, object], None]
"""Answers one question, or does something else to the client."""


class Door:
    """A listening socket behind which ``respond`` answers, by default as ``desk`` says."""

    def __init__(self, path: Path, desk: Desk | None, respond: Respond | None = None) -> None:
        self.path = path
        self._desk = desk
        self._respond = respond or self._honest
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()

    def die(self) -> None:
        """Hangs up on everybody."""
        _hang_up(self._listener)
        self._accepting.join()  # it may be about to add a client
        for sock in self._clients:
            _hang_up(sock)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            channel = Channel(sock)
            while True:
                number, message = split(channel.receive().payload)
                question: object = parse_message(message, *QUESTIONS)
                self._respond(channel, number, question)
        except (PeerGoneError, WireError, OSError, ValueError):
            return

    def _honest(self, channel: Channel, number: int, question: object) -> None:
        assert self._desk is not None
        with self._lock:
            answer = self._desk.answer(question)
        channel.send(numbered(number, answer))


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
