"""Policies for reports of SEV-SNP guests on the user's own machine."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from casemate.wire.snp.paravirtual import FAMILY_ID, id_key_digest, image_id
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import TcbVersion

if TYPE_CHECKING:
    from casemate.client.local import LocalMachine
    from casemate.images.image import Image
    from casemate.verifier import SnpPolicy
    from casemate.wire.messages.control import SnpRootIs

POLICY_HEADER = """\
# A Casemate policy for an SEV-SNP guest: whom to trust, with what. All these members must be here.
# `casemate docs snp` explains them, and has more.
# ANY_... means that a value does not matter, UNSAFE_... gives up a protection.
"""


@dataclass(frozen=True, slots=True)
class Maker:
    """The maker of a processor: its root, and the kind of key that signs."""

    root: "SnpRootIs"
    seeded: bool
    signing_key: SigningKey = SigningKey.VCEK


def maker_of(machine: "LocalMachine") -> Maker:
    """The maker of the user's own machine, which the user's own supervisor names."""
    return Maker(machine.snp.root(), machine.status.seeded)


def snp_policy(maker: Maker, *, measurement: bytes, debug: bool, host_data: bytes) -> "SnpPolicy":
    """A policy for exactly this guest, under this root, at the newest TCB, for a challenge that is still to come."""
    from casemate.verifier import SimulatedRoot, SnpPolicy

    newest = TcbVersion.parse(maker.root.product, maker.root.newest_tcb)
    return SnpPolicy(
        root=SimulatedRoot.of(maker.root.root_certificate),
        public_seed="UNSAFE_PUBLIC_SEED" if maker.seeded else "REFUSE_PUBLIC_SEED",
        revocation="REQUIRE_REVOCATION_LIST",
        signing_keys=frozenset({maker.signing_key}),
        measurement=frozenset({measurement}),
        host_data=frozenset({host_data}),
        id_key_digest="ANY_ID_KEY",
        author_key_digest="ANY_AUTHOR_KEY",
        family_id="ANY_FAMILY_ID",
        image_id="ANY_IMAGE_ID",
        report_id="ANY_REPORT_ID",
        chip_id="ANY_CHIP",
        platform_info="ANY_PLATFORM",
        mitigations="ANY_MITIGATIONS",
        vmpl=frozenset({0}),
        minimum_guest_svn="ANY_GUEST_SVN",
        debug="UNSAFE_ALLOW_DEBUG" if debug else "REFUSE_DEBUG",
        migration="MUST_BE_OFF",
        smt="ANY_SMT",
        sockets="ANY_SOCKETS",
        minimum_abi="ANY_ABI",
        provisional="REFUSE_PROVISIONAL",
        reported_tcb=newest,
        committed_tcb=newest,
        launch_tcb=newest,
        current_tcb=newest,
        report_data="FRESH_NONCE",
        layers="ANY_SANDBOX",
    )


def function_policy(image: "Image", maker: Maker, *, confined: bool) -> "SnpPolicy":
    """A policy for a function's image as a paravirtual guest: this code, of this signer, in this version or later.

    Args:
        image: the function's.
        maker: of the machine.
        confined: whether to demand the sandbox layers that every Linux has.
    """
    from casemate.cli.policies import COMMON_LAYERS
    from casemate.verifier import RequiredLayers

    signed = image.parse_sigstruct()
    made = snp_policy(maker, measurement=image.launch_digest, debug=signed.attributes.debug, host_data=bytes(32))
    return replace(
        made,
        family_id=frozenset({FAMILY_ID}),
        image_id=frozenset({image_id(signed.isv_prod_id)}),
        id_key_digest=frozenset({id_key_digest(signed.mr_signer())}),
        minimum_guest_svn=signed.isv_svn,
        layers=RequiredLayers(COMMON_LAYERS, COMMON_LAYERS) if confined else made.layers,
    )
