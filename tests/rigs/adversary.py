"""What an adversary tries, one attempt a function: who tries it, what it is, and what must come of it.

To add one, write a function that carries it out and gives what came of it, and put :func:`attempt` above it. What comes
of an attempt is the word that refused it (a rule of the verifier, a fault's code, an error's class), or ``SUCCEEDS``
where nothing stops it. Then ``limit`` says what still bounds the harm, and ``demand`` what a policy can say against it.
"""

import contextlib
import itertools
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.rigs.channel.rig import ALICE, Rig, seal
from tests.rigs.channel.sealed import Sealer, resealed, response_text, sealed_response
from tests.rigs.channel.state import STATEFUL, Host, counts, gives_up, stores
from tests.rigs.client.desk import Desk
from tests.rigs.verifier.snp import strict

from casemate.client.caller_keys import CallerKey
from casemate.client.core import AttestedEnclave
from casemate.client.errors import EnclaveRefusedError
from casemate.client.ra_tls import RaTlsConnection
from casemate.client.ra_tls import call as ra_tls_call
from casemate.client.receipts import check_receipt
from casemate.enclave.keys import EnclaveKeys
from casemate.enclave.tls.credentials import KeyToCertify
from casemate.images.functions.javascript.links import link_modules
from casemate.testing.forge import CertificateDraft, Forged, Forgery, honest
from casemate.testing.forge_snp import ForgedSnp, honest_snp
from casemate.verifier import RefusedError, SgxPolicy, appraise, appraise_snp, parse_policy
from casemate.verifier.common_demands import ExpectedNonce
from casemate.verifier.roots import INTEL_SGX_ROOT
from casemate.wire.encodings.message import encode_message, parse_message
from casemate.wire.errors import CasemateError
from casemate.wire.messages.entry import Left
from casemate.wire.messages.state import StateAppend, StateRead, StateRecords
from casemate.wire.protocol.call import CallFailed, CallRequest, CallResult, Envelope
from casemate.wire.protocol.faults import Code, FaultError, fault
from casemate.wire.protocol.manifest_text import parse_manifest
from casemate.wire.protocol.padding import pad, unpad
from casemate.wire.protocol.report_data import ReportDataBinding
from casemate.wire.protocol.runtime_lock import RuntimeLock

SUCCEEDS = "succeeds"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

Try = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the table."""

    name: str
    who: str
    """Host operator, thief of a key, ..."""
    way: str
    """Through what: evidence, the HPKE channel, RA-TLS, receipts."""
    outcome: str
    """The word that refuses it, or ``SUCCEEDS``."""
    limit: str
    """What bounds the harm where it succeeds; else empty."""
    demand: str
    """What a policy can say against it; empty where it is refused whatever the policy says."""
    carry_out: Try


TABLE: list[Attempt] = []


def attempt(who: str, way: str, name: str, outcome: str, *, limit: str = "", demand: str = "") -> Callable[[Try], Try]:
    """Puts a function into the table."""

    def put(carry_out: Try) -> Try:
        TABLE.append(Attempt(name, who, way, outcome, limit, demand, carry_out))
        return carry_out

    return put


def came_of(carry_out: Callable[[], object]) -> str:
    """The word of whoever refuses, or ``SUCCEEDS``."""
    try:
        carry_out()
    except RefusedError as error:
        return str(error.rule)
    except (FaultError, EnclaveRefusedError) as error:
        return str(error.fault.code)
    except CasemateError as error:
        return type(error).__name__
    return SUCCEEDS


# Evidence: two machines of one maker. `seed` makes the same maker twice, and each call another chip of its make.

MAKER = "the maker of both machines"


@dataclass
class _Root(CertificateDraft):
    """The maker's root, signed once: each signature would make it another certificate."""

    signed: bytes = b""

    def sign(self) -> bytes:
        return self.signed


@cache
def _root() -> bytes:
    return honest(NOW, seed=MAKER).root.sign()


def machine() -> Forgery:
    """An honest enclave on another chip of the same maker each time."""
    forgery = honest(NOW, seed=MAKER)
    draft = forgery.root
    forgery.root = _Root(
        draft.common_name,
        draft.issuer_name,
        draft.key,
        draft.signer,
        draft.serial,
        draft.not_before,
        draft.not_after,
        draft.extensions,
        signed=_root(),
    )
    return forgery


def judged(evidence: Forged, policy: SgxPolicy) -> str:
    return came_of(lambda: appraise(evidence.evidence, policy, evidence.collateral, NOW))


@attempt(
    "host operator",
    "evidence",
    "diversion: another genuine machine with the same software answers",
    SUCCEEDS,
    limit="the code is the one that was asked for; what it knows about its machine's owner is not in the evidence",
    demand="`ppid`, `platform_instance` or `chip_id` with the machines that may answer; callers stand in the manifest",
)
def _() -> str:
    wanted, other = machine().sign(), machine().sign()
    assert wanted.evidence.quote != other.evidence.quote
    return judged(other, replace(wanted.policy, report_data=other.policy.report_data))


@attempt(
    "host operator",
    "evidence",
    "diversion of an SGX enclave to another genuine machine, where the policy names the machines",
    "platform.ppid",
    demand="`ppid` with the machines that may answer",
)
def _() -> str:
    wanted, other = machine().sign(), machine().sign()
    own = appraise(wanted.evidence, wanted.policy, wanted.collateral, NOW).platform.ppid
    assert judged(wanted, replace(wanted.policy, ppid=frozenset({own}))) == SUCCEEDS
    return judged(other, replace(other.policy, ppid=frozenset({own})))


@attempt(
    "host operator",
    "evidence",
    "diversion of an SEV-SNP guest to another genuine machine",
    "snp.chip-id",
    demand="`chip_id` with the machines that may answer",
)
def _() -> str:
    other = honest_snp(NOW).change(lambda report: replace(report, chip_id=b"\x55" * 64))
    return _snp(other, chip_id=frozenset({b"\x01" * 64}))


@attempt("host operator", "evidence", "evidence that answered an earlier challenge", "binding.report-data")
def _() -> str:
    old = machine().sign()
    return judged(old, replace(old.policy, report_data=ExpectedNonce(b"n" * 32)))


@attempt("host operator", "evidence", "one enclave's quote with another one's keys", "binding.report-data")
def _() -> str:
    forged = machine().sign()
    bound = forged.evidence.bound
    assert bound is not None
    moved = replace(forged.evidence, bound=replace(bound, hpke_key=EnclaveKeys().hpke_key))
    return came_of(lambda: appraise(moved, forged.policy, forged.collateral, NOW))


@attempt("host operator", "evidence", "the simulated maker's evidence for Intel's", "chain.simulated")
def _() -> str:
    forged = machine().sign()
    return judged(forged, replace(forged.policy, root=INTEL_SGX_ROOT))


@attempt("host operator", "evidence", "a chain of the operator's own with the maker's names", "chain.root")
def _() -> str:
    return judged(honest(NOW).sign(), machine().sign().policy)


@attempt(
    "thief of an attestation key",
    "evidence",
    "a quote for code that never ran, before anybody knows of the theft",
    SUCCEEDS,
    limit="until the maker revokes the chip or raises the TCB",
    demand="`minimum_evaluation_number`, `minimum_tcb_date` and fresh collateral, once it is known; SNP: `chip_id`",
)
def _() -> str:
    stolen = machine()
    return judged(stolen.sign(), stolen.sign().policy)


@attempt("thief of an attestation key", "evidence", "the same after the chip was revoked", "revoked.pck")
def _() -> str:
    stolen = machine()
    stolen.pck_crl.serials.append(stolen.pck.serial)
    forged = stolen.sign()
    return judged(forged, forged.policy)


# The HPKE channel: enclaves in threads, and a host that is the adversary's.


@attempt("host operator", "HPKE channel", "evidence of one machine, the calls to another", "cannot-open")
def _() -> str:
    with Rig() as proved, Rig() as other:
        session = proved.attest()
        other.attest()  # it knows a session of that number
        reply = other.enter(seal(session, "echo", None).envelope)
        return str(reply.code)


@attempt("host operator", "HPKE channel", "a request a second time", "sequence-used")
def _() -> str:
    with Rig() as rig:
        pending = seal(rig.attest(), "echo", None)
        rig.enter(pending.envelope)
        return str(rig.enter(pending.envelope).code)


@attempt("host operator", "HPKE channel", "the answer to one request for that to another", "ResponseRefusedError")
def _() -> str:
    with Rig() as rig:
        session = rig.attest()
        first, second = seal(session, "echo", {"n": 1}), seal(session, "echo", {"n": 1})
        rig.enter(first.envelope)
        answered = rig.enter(second.envelope)
        assert isinstance(answered, Left)
        return came_of(lambda: first.open(answered.sealed))


@attempt("host operator", "HPKE channel", "one session number to two clients", "session-unknown")
def _() -> str:
    with Rig() as rig:
        first, second = rig.attest(), rig.attest()
        second = AttestedEnclave(second.evidence, second.binding, second.proof, first.session)
        rig.call(first, "echo", None)
        seal(second, "echo", None)  # a number that the first has used: passed over
        refused = rig.enter(seal(second, "echo", None).envelope)
        assert rig.call(first, "echo", None).value["entry"] == "echo"  # and the first goes on
        return str(refused.code)


@attempt("host operator", "HPKE channel", "a session's sealed secret with a request of its own making", "cannot-open")
def _() -> str:
    with Rig() as rig:
        session = rig.attest()
        honest = seal(session, "echo", None).envelope
        about = honest.binding.of_session
        own = Sealer(session.binding.hpke_key, about).request(honest.binding, seal(session, "echo", None).request)
        return str(rig.enter(replace(own, encapsulation=honest.encapsulation)).code)


@attempt("host operator", "HPKE channel", "one session's sealed secret in another session", "cannot-open")
def _() -> str:
    with Rig() as rig:
        one, other = (seal(rig.attest(), "echo", None).envelope for _ in range(2))
        return str(rig.enter(replace(one, encapsulation=other.encapsulation)).code)


@attempt("host operator", "HPKE channel", "another enclave's answer to the same request", "ResponseRefusedError")
def _() -> str:
    with Rig() as rig, Rig() as other:
        pending = seal(rig.attest(), "echo", None)
        answered = other.enter(seal(other.attest(), "echo", None).envelope)
        assert isinstance(answered, Left)
        return came_of(lambda: pending.open(answered.sealed))


@attempt(
    "thief of an enclave's HPKE key",
    "HPKE channel",
    "reads what is sealed to that launch",
    SUCCEEDS,
    limit="to calls of that one launch: keys are made anew at each start and are never stored; no forward secrecy",
    demand="an up-to-date TCB; `chip_id` or a root of one's own, so that only machines one trusts can lose keys",
)
def _() -> str:
    stolen = EnclaveKeys()
    envelope = seal(_session_with(stolen), "echo", {"secret": "x"}).envelope
    request = _read(envelope, stolen)
    return SUCCEEDS if b"secret" in request.content.arguments else "nothing was read"


@attempt(
    "thief of a session's keys",
    "HPKE channel",
    "reads and answers that session's calls",
    SUCCEEDS,
    limit="to that one session, which ends with the launch; receipts need another key",
    demand="an up-to-date TCB; clients that attest anew for each task",
)
def _() -> str:
    with Rig() as rig:
        session = rig.attest()
        pending, stolen = seal(session, "echo", None), session._session._keys
        honest = parse_message(response_text(pending, rig.enter(pending.envelope).sealed), CallResult)
        other = seal(rig.attest(), "echo", None)
        assert came_of(lambda: stolen.open(rig.enter(other.envelope).sealed, other.envelope.binding, b"")) != SUCCEEDS
        forged = sealed_response(pending, pad(encode_message(replace(honest, output=b"{}"))))
        assert came_of(lambda: pending.open(forged)) == "ReceiptRefusedError"
        refusal = sealed_response(pending, pad(encode_message(CallFailed(fault(Code.GUEST_ERROR, "x")))))
        return SUCCEEDS if came_of(lambda: pending.open(refusal)) == Code.GUEST_ERROR else "nobody believed it"


@attempt(
    "thief of a session's keys",
    "HPKE channel",
    "has a caller's signed request answered in a session of its own",
    "caller-refused",
)
def _() -> str:
    with Rig() as rig:
        found = rig.attest()
        signed = seal(found, "private", None, ALICE)
        own = AttestedEnclave(found.evidence, found.binding, found.proof, found.session)  # of another secret
        again = resealed(own, "private", signed.request)
        assert again.envelope.binding == signed.envelope.binding
        return came_of(lambda: again.open(rig.enter(again.envelope).sealed))


@attempt(
    "thief of an enclave's HPKE key",
    "HPKE channel",
    "answers a new challenge with the evidence it has",
    "binding.report-data",
)
def _() -> str:
    stolen = machine().sign()
    fresh = replace(stolen.policy, report_data=ExpectedNonce(b"another challenge, 32 bytes long"))
    return judged(stolen, fresh)


@attempt(
    "thief of an enclave's HPKE key",
    "HPKE channel",
    "passes a caller's signed request on to another enclave",
    "caller-refused",
)
def _() -> str:
    stolen = EnclaveKeys()
    signed = seal(_session_with(stolen), "private", None, ALICE)
    request = _read(signed.envelope, stolen)
    with Rig() as rig:
        again = resealed(rig.attest(), "private", request)
        assert again.envelope.binding == signed.envelope.binding
        answered = rig.enter(again.envelope)
        assert isinstance(answered, Left), answered
        return came_of(lambda: again.open(answered.sealed))


# RA-TLS: certificates with evidence, and whoever serves them.


@attempt("host operator", "RA-TLS", "an enclave's evidence in a certificate for a key of its own", "ra-tls.public-key")
def _() -> str:
    genuine, key = RaTlsMachine(), ec.generate_private_key(ec.SECP384R1())
    builder = x509.CertificateBuilder(
        genuine.certificate.issuer,
        genuine.certificate.subject,
        key.public_key(),
        genuine.certificate.serial_number,
        genuine.certificate.not_valid_before_utc,
        genuine.certificate.not_valid_after_utc,
    )
    for extension in genuine.certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return genuine.called_at(Server((builder.sign(key, hashes.SHA384()), key)))


@attempt("host operator", "RA-TLS", "other code with genuine evidence of its own", "enclave.mr-enclave")
def _() -> str:
    genuine, other = RaTlsMachine(), RaTlsMachine(mr_enclave=b"x" * 32)
    return genuine.called_at(other.server())


@attempt(
    "host operator",
    "RA-TLS",
    "diversion: another genuine machine with the same software answers",
    SUCCEEDS,
    limit="as over the HPKE channel",
    demand="as for quotes: `ppid`, `platform_instance`",
)
def _() -> str:
    genuine, other = RaTlsMachine(), RaTlsMachine()
    return genuine.called_at(other.server())


@attempt(
    "host operator",
    "RA-TLS",
    "diversion to another genuine machine, where the policy names the machines",
    "platform.ppid",
    demand="`ppid` with the machines that may answer",
)
def _() -> str:
    genuine, other = RaTlsMachine(), RaTlsMachine()
    return genuine.called_at(other.server(), ppid=frozenset({b"\x55" * 16}))


@attempt(
    "thief of a TLS key",
    "RA-TLS",
    "serves the enclave's certificate from a machine of its own: the certificate binds a key and no session",
    SUCCEEDS,
    limit="until the certificate ends, 24 hours at most",
    demand="`report_data` with a nonce refuses certificates made ahead, Casemate's own too; the HPKE channel",
)
def _() -> str:
    genuine = RaTlsMachine()
    return genuine.called_at(genuine.server())  # the same key and certificate, in another process's hands


@attempt("thief of a TLS key", "RA-TLS", "the same to a policy that demands an answer to a challenge", "ra-tls.nonce")
def _() -> str:
    genuine = RaTlsMachine()
    return genuine.called_at(genuine.server(), report_data=ExpectedNonce(b"n" * 32))


@attempt("thief of a TLS key", "RA-TLS", "the same after the certificate has ended", "ra-tls.validity")
def _() -> str:
    genuine = RaTlsMachine(made_at=NOW - timedelta(days=2))
    return genuine.called_at(genuine.server())


@attempt(
    "host operator",
    "RA-TLS",
    "lets a caller show its client certificate to an impostor, to learn who calls",
    "enclave.mr-enclave",
)
def _() -> str:
    genuine, other = RaTlsMachine(), RaTlsMachine(mr_enclave=b"x" * 32)
    impostor = other.server()
    came = genuine.called_at(impostor, caller=CallerKey.generate())
    return came if not impostor.shown else "a certificate was shown"


@attempt(
    "host operator",
    "RA-TLS",
    "relays the handshake that is appraised, and takes the one with the client certificate itself",
    "TlsRefusedError",
)
def _() -> str:
    genuine, other = RaTlsMachine(), RaTlsMachine(mr_enclave=b"x" * 32)
    impostor = genuine.server(then=other)
    came = genuine.called_at(impostor, caller=CallerKey.generate())
    return came if not impostor.shown else "a certificate was shown"


# Receipts


@attempt("whoever keeps a receipt", "receipts", "another result in it", "ReceiptRefusedError")
def _() -> str:
    with Desk() as desk:
        kept = desk.rig.call(desk.attest(), "echo", {"n": 1}).receipt
        assert kept.output is not None
        changed = replace(kept, output=replace(kept.output, content=kept.output.content.replace("echo", "x")))
        return came_of(lambda: check_receipt(changed, desk.policy))


@attempt(
    "whoever keeps a receipt", "receipts", "one call's receipt with another launch's signature", "ReceiptRefusedError"
)
def _() -> str:
    with Desk() as desk, Desk() as other:
        kept = desk.rig.call(desk.attest(), "echo", None).receipt
        theirs = other.rig.call(other.attest(), "echo", None).receipt
        return came_of(lambda: check_receipt(replace(kept, signature=theirs.signature), desk.policy))


@attempt(
    "whoever keeps a receipt", "receipts", "an enclave's receipt with another machine's evidence", "binding.report-data"
)
def _() -> str:
    with Desk() as desk, Desk() as other:
        kept = desk.rig.call(desk.attest(), "echo", None).receipt
        theirs = other.rig.call(other.attest(), "echo", None).receipt
        return came_of(lambda: check_receipt(replace(kept, proof=theirs.proof), other.policy))


# Sealed state


@attempt("host operator", "sealed state", "yesterday's copy of the disk", "state-rolled-back")
def _() -> str:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        host, session = Host(rig), rig.attest()
        for _ in range(2):
            host.call(session)
        records = [asked.record for asked in host.asked if isinstance(asked, StateAppend)]
        anchor = rig.anchor

    def yesterdays(question: object) -> object:
        return StateRecords(question.number, (records[0],)) if isinstance(question, StateRead) else stores(question)

    with Rig(manifest=STATEFUL, script=gives_up) as rig:
        rig.anchor = anchor
        return str(Host(rig, yesterdays).refused(rig.attest()).code)


@attempt("host operator", "sealed state", "no records at all, as if the state were new", "state-rolled-back")
def _() -> str:
    with Rig(manifest=STATEFUL, script=counts) as rig:
        Host(rig).call(rig.attest())
        anchor = rig.anchor
    with Rig(manifest=STATEFUL, script=gives_up) as rig:
        rig.anchor = anchor
        return str(Host(rig).refused(rig.attest()).code)


# Images and policies by strangers: what must be refused before it costs anything, or means two things.

_LONG_KEY = b"a" + b".a" * 16_000 + b" = 1\n"


@attempt("author of an image", "images", "a lock with a key of 16,000 parts, to exhaust the chip", "RuntimeLockError")
def _() -> str:
    return came_of(lambda: RuntimeLock.parse(b"[runtime]\n" + _LONG_KEY))


@attempt("author of an image", "images", "a manifest with such a key, to exhaust an enclave", "ManifestError")
def _() -> str:
    return came_of(lambda: parse_manifest(_LONG_KEY, lambda _: None))


@attempt("author of an image", "images", "an import behind a hash-bang line that V8 ends earlier", "SourceError")
def _() -> str:
    hidden = "#!\u2028import('data:text/javascript,1')\nexport const x = 1;"
    return came_of(lambda: link_modules({"guest/main.js": hidden.encode()}))


@attempt("author of an image", "images", "an import behind a line end that V8 alone sees", "SourceError")
def _() -> str:
    hidden = "// \u2029import('data:text/javascript,1')\nexport const x = 1;"
    return came_of(lambda: link_modules({"guest/main.js": hidden.encode()}))


@attempt("author of an image", "images", "imported JSON with a number that V8 would round", "SourceError")
def _() -> str:
    files = {
        "guest/main.js": b'import big from "./big.json" with { type: "json" };\nexport const x = big;\n',
        "guest/big.json": b'{"wei": 12345678901234567890}',
    }
    return came_of(lambda: link_modules(files))


@attempt("whoever hands out a policy", "policies", "a policy with a key of 16,000 parts", "PolicyError")
def _() -> str:
    return came_of(lambda: parse_policy(_LONG_KEY.decode()))


def _read(envelope: Envelope, stolen: EnclaveKeys) -> CallRequest:
    """A session's first request, read by whoever has the enclave's keys."""
    assert envelope.encapsulation is not None
    session = stolen.open_session(envelope.encapsulation, envelope.binding.of_session)
    return parse_message(unpad(session.open(envelope.sealed, envelope.binding)), CallRequest)


def _session_with(keys: EnclaveKeys) -> AttestedEnclave:
    """A client's session with an enclave whose keys somebody else has, too."""
    with Rig() as rig:
        found = rig.attest()  # of which the keys are exchanged, and the numbers stay
    binding = ReportDataBinding(keys.hpke_key, keys.receipt_key, found.binding.nonce, found.binding.layers)
    return AttestedEnclave(found.evidence, binding, found.proof, 1)


def _snp(forged: ForgedSnp, **demands: Any) -> str:
    evidence, endorsements, root = forged.sign()
    policy = strict(root, **demands)
    return came_of(lambda: appraise_snp(evidence, policy, endorsements, NOW))


class RaTlsMachine:
    """A machine of the maker, and an enclave on it with a TLS key and a certificate."""

    def __init__(self, *, mr_enclave: bytes | None = None, made_at: datetime = NOW) -> None:
        made = KeyToCertify()
        forged = [self._quoted(report_data, mr_enclave) for report_data in made.report_datas()]
        self.forged = forged[0]
        credentials = made.certify(tuple(each.evidence.quote for each in forged), name="enclave", now=made_at)
        self.certificate, self.key = credentials.certificate, credentials.key

    def server(self, then: "RaTlsMachine | None" = None) -> "Server":
        """Serves its certificate, the first time at least; ``then`` has its turn from the second connection on."""
        return Server((self.certificate, self.key), *([] if then is None else [(then.certificate, then.key)]))

    def called_at(self, server: "Server", caller: CallerKey | None = None, **demands: Any) -> str:
        """What comes of a call that is meant for this machine's software."""
        policy = replace(self.forged.policy, report_data="FRESH_NONCE", layers="UNSAFE_ANY_SANDBOX")
        with server as port:
            connection = RaTlsConnection(
                "127.0.0.1",
                port,
                policy=replace(policy, **demands),
                collateral=self.forged.collateral,
                caller=caller,
                timeout=10,
                now=lambda: NOW,
            )
            with contextlib.closing(connection):
                return came_of(lambda: ra_tls_call(connection, "main", {}))

    def _quoted(self, report_data: bytes, mr_enclave: bytes | None) -> Forged:
        forgery = machine()
        forgery.body = replace(forgery.body, report_data=report_data)
        if mr_enclave is not None:
            forgery.body = replace(forgery.body, mr_enclave=mr_enclave)
        return forgery.sign()


Served = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class Server:
    """A TLS server that asks for client certificates, answers every request, and remembers whether one was shown."""

    def __init__(self, *served: Served) -> None:
        self._served = served
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.shown = False

    def __enter__(self) -> int:
        self._thread.start()
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        for number in itertools.count():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(10)
            with sock, contextlib.suppress(OSError):
                self._answer(sock, self._served[min(number, len(self._served) - 1)])

    def _answer(self, sock: socket.socket, served: Served) -> None:
        try:
            with _context(served).wrap_socket(sock, server_side=True) as secure:
                self.shown |= bool(secure.getpeercert(binary_form=True))
                request = b""
                while not request.endswith(b"{}"):  # its body: what is left unread would reset the connection
                    piece = secure.recv(65536)
                    if not piece:
                        return
                    request += piece
                secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        except ssl.SSLCertVerificationError:  # nobody signed the caller's: but it was shown
            self.shown = True


def _context(served: Served) -> ssl.SSLContext:
    certificate, key = served
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_OPTIONAL
    pem = certificate.public_bytes(Encoding.PEM)
    context.load_verify_locations(cadata=pem.decode())
    with tempfile.NamedTemporaryFile() as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
