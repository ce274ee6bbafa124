"""Appraisal of SGX evidence, against dcap-qvl and against its signature checks alone."""

import functools
import itertools
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from bench.figures import Arm, Kind, Row, Stats, Target, interleave, timed
from bench.lab import Lab
from casemate.client import challenge, connect
from casemate.client.core import appraise_answer
from casemate.verifier import BoundValues, SgxEvidence, appraise
from casemate.verifier.crypto import parse_certificate
from casemate.wire.encodings.pem import parse_chain
from casemate.wire.sgx.collateral import Collateral
from casemate.wire.sgx.quote import Quote

if TYPE_CHECKING:
    from casemate.wire.messages.host import EvidenceIs

COLD = Target(Kind.RATIO, 5, "≤ 5x")
CACHED = Target(Kind.OVER, 0.5, "≤ +0.5 ms")
"""Appraisal should take as long as its signature checks; half a millisecond is allowed for parsing and comparing."""
QVL = "dcap-qvl (Rust), parsing included"
SIGNATURES = "its two ECDSA P-256 signatures"


def verification(lab: Lab) -> list[Row]:
    """Each appraisal is of a new quote, as in use; collateral and platform are cached."""
    with connect(lab.machine.host_socket) as client:
        number = client.launch(lab.image)
        nonces = [challenge() for _ in range(min(lab.rounds.verifications, 20))]
        answers = [(client.evidence(number, nonce), nonce) for nonce in nonces]
        client.destroy(number)
    collateral = Collateral.parse(answers[0][0].endorsements)
    root = lab.machine.status.root_certificate
    now = datetime.now(UTC)
    turns = [itertools.cycle(answers) for _ in range(5)]

    def ours(turn: int) -> None:
        answer, nonce = next(turns[turn])
        appraise_answer(answer, nonce, lab.policy, now)

    def appraisal_alone() -> None:
        answer, nonce = next(turns[2])
        evidence = SgxEvidence(answer.evidence, BoundValues(answer.hpke_key, answer.receipt_key, answer.layers))
        appraise(evidence, lab.policy.with_nonce(nonce), collateral, now)

    checks = itertools.cycle([_signature_checks(answer) for answer, _ in answers])

    def signatures_alone() -> None:
        next(checks)()

    arms: list[Arm] = [
        timed(lambda: ours(0), prepare=forget),
        timed(lambda: ours(1)),
        timed(appraisal_alone),
        timed(signatures_alone),
    ]
    judge = _dcap_qvl(root, now)
    if judge is not None:
        arms.append(timed(lambda: judge(next(turns[4])[0])))
    cold_s, cached_s, alone_s, signatures_s, *qvl_s = interleave(lab.rounds.verifications, *arms, warm_up=3)
    signatures = Stats.of_seconds(signatures_s)
    qvl = Stats.of_seconds(qvl_s[0]) if qvl_s else None
    return [
        Row(
            "verify",
            "evidence and collateral, nothing remembered",
            "ms",
            Stats.of_seconds(cold_s),
            QVL if qvl else "",
            qvl,
            COLD if qvl else None,
            "" if qvl else "dcap-qvl is not installed here",
        ),
        Row(
            "verify",
            "another quote, cached collateral",
            "ms",
            Stats.of_seconds(alone_s),
            SIGNATURES,
            signatures,
            CACHED,
        ),
        Row(
            "verify",
            "the same, collateral's bytes parsed again",
            "ms",
            Stats.of_seconds(cached_s),
            SIGNATURES,
            signatures,
            note="what a client does at each attest",
        ),
    ]


def _signature_checks(answer: "EvidenceIs") -> Callable[[], None]:
    """Checks of a quote's own two signatures, with keys and encodings made beforehand."""
    quote = Quote.parse(answer.evidence)
    data = quote.signature_data
    pck = parse_certificate(parse_chain("chain", data.certification_data.data)[0].der).point
    assert pck is not None
    prepared = [
        (_key(pck), _der(data.qe_report_signature), data.qe_report.encode()),
        (_key(b"\x04" + data.attestation_key), _der(data.signature), quote.signed_bytes()),
    ]

    def check() -> None:
        for key, signature, message in prepared:
            key.verify(signature, message, ECDSA(SHA256()))

    return check


def _key(point: bytes) -> EllipticCurvePublicKey:
    return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)


def _der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def _dcap_qvl(root: bytes, now: datetime) -> "Callable[[EvidenceIs], object] | None":
    try:
        import dcap_qvl
    except ImportError:
        return None
    library: Any = dcap_qvl
    seconds = int(now.timestamp())

    def judge(answer: "EvidenceIs") -> object:
        given = library.QuoteCollateralV3.from_json(answer.endorsements.decode())
        return library.verify_with_root_ca(answer.evidence, given, root, seconds)

    return judge


def forget() -> None:
    """Empties the caches of the verifier and of the modules it uses, but for what they know of their own classes."""
    for name, module in tuple(sys.modules.items()):
        if name == "casemate.verifier.demands":  # it keeps what policies' classes are like, and nothing of any evidence
            continue
        if name.startswith(("casemate.verifier", "casemate.wire")):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):  # noqa: SLF001 - its only name
                    value.cache_clear()
