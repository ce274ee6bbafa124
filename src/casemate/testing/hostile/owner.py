"""The owner of a guest: signs its identity, challenges it, and appraises what comes back."""

from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from casemate.testing.hostile.outcome import AttackOutcome, AttackResult
from casemate.testing.hostile.prover import POLICY, Prover, SignedIdBlock
from casemate.verifier import (
    AbiVersion,
    ExpectedReportData,
    RefusedError,
    SimulatedRoot,
    SnpEndorsements,
    SnpEvidence,
    SnpPolicy,
    appraise_snp,
)
from casemate.verifier.snp.policy import Floor
from casemate.wire.snp.id_block import EcdsaPublicKey, EcdsaSignature, IdAuth, IdBlock, IdSignature
from casemate.wire.snp.report import SigningKey


def identity(measurement: bytes) -> SignedIdBlock:
    """An id block for a guest of this launch digest, signed by a key made for it."""
    key = generate_private_key(SECP384R1())
    block = IdBlock(ld=measurement, policy=POLICY)
    return SignedIdBlock(block.encode(), IdAuth.of(_signed(key, block.encode()), None).encode())


def judge(
    prover: Prover,
    evidence: SnpEvidence,
    endorsements: SnpEndorsements,
    *,
    measurement: bytes,
    report_data: bytes,
    floor: Floor = "ANY_TCB",
) -> AttackResult:
    """Appraises evidence as the owner, for this guest, challenge and TCB."""
    policy = policy_for(
        prover.root, measurement=measurement, report_data=report_data, floor=floor, seeded=prover.seeded
    )
    try:
        appraise_snp(evidence, policy, endorsements, datetime.now(UTC))
    except RefusedError as error:
        return AttackResult(AttackOutcome.REFUSAL, str(error.rule), str(error))
    return AttackResult(AttackOutcome.SUCCESS, "", "the guest's owner accepts the evidence")


def policy_for(
    root: SimulatedRoot, *, measurement: bytes, report_data: bytes, floor: Floor = "ANY_TCB", seeded: bool = False
) -> SnpPolicy:
    """The policy of an owner who knows the guest, and demands of the machine only that it is up to date."""
    return SnpPolicy(
        root=root,
        public_seed="UNSAFE_PUBLIC_SEED" if seeded else "REFUSE_PUBLIC_SEED",
        revocation="REQUIRE_REVOCATION_LIST",
        signing_keys=frozenset({SigningKey.VCEK}),
        measurement=frozenset({measurement}),
        host_data="ANY_HOST_DATA",
        id_key_digest="ANY_ID_KEY",
        author_key_digest="ANY_AUTHOR_KEY",
        family_id="ANY_FAMILY_ID",
        image_id="ANY_IMAGE_ID",
        report_id="ANY_REPORT_ID",
        platform_info="ANY_PLATFORM",
        mitigations="ANY_MITIGATIONS",
        chip_id="ANY_CHIP",
        vmpl=frozenset({0}),
        minimum_guest_svn=0,
        debug="REFUSE_DEBUG",
        migration="MUST_BE_OFF",
        smt="ANY_SMT",
        sockets="ANY_SOCKETS",
        minimum_abi=AbiVersion(0, 0),
        provisional="REFUSE_PROVISIONAL",
        reported_tcb=floor,
        committed_tcb=floor,
        launch_tcb=floor,
        current_tcb=floor,
        report_data=ExpectedReportData(report_data),
        layers="ANY_SANDBOX",
    )


def _signed(key: EllipticCurvePrivateKey, message: bytes) -> IdSignature:
    numbers = key.public_key().public_numbers()
    signature = decode_dss_signature(key.sign(message, ECDSA(SHA384())))
    return IdSignature(EcdsaSignature.of(*signature), EcdsaPublicKey.of(numbers.x, numbers.y))
