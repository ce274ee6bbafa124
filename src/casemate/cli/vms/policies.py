"""`casemate vm policy`: what to demand of a guest's report, from its own files and from the user's own machine."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from casemate.cli.vms.launching import DEBUG
from casemate.wire.messages.vms import LaunchVm
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, digest_of, plan
from casemate.wire.snp.ovmf import parse_ovmf
from casemate.wire.snp.report import SigningKey
from casemate.wire.snp.tcb import TcbVersion

if TYPE_CHECKING:
    from casemate.verifier import SnpPolicy
    from casemate.wire.messages.control import SnpRootIs

POLICY_HEADER = """\
# A Casemate policy for an SEV-SNP guest: whom to trust, with what. Every member must be here: see docs/snp.md.
# ANY_... means that a value does not matter, UNSAFE_... gives up a protection.
"""


@dataclass(frozen=True, slots=True)
class Maker:
    """Whose word on the key that signs is taken."""

    root: "SnpRootIs"
    seeded: bool
    signing_key: SigningKey


def launch_digest(wanted: LaunchVm) -> bytes:
    """What the firmware will measure, computed here: nobody is asked.

    Raises:
        WireError: the firmware is no image, or has no place for what is wanted.
    """
    kernel = None
    if wanted.kernel is not None:
        kernel = KernelHashes.of(wanted.kernel, wanted.initrd or b"", (wanted.append or b"").decode())
    shape = GuestShape(wanted.vcpus, wanted.vcpu_signature, wanted.vmm, wanted.guest_features, kernel)
    return digest_of(planned.page for planned in plan(parse_ovmf(wanted.firmware), shape))


def snp_policy_of(wanted: LaunchVm, maker: Maker) -> "SnpPolicy":
    """Exactly this guest, under this root, at the newest TCB, for a challenge that is still to come."""
    from casemate.verifier import SimulatedRoot, SnpPolicy
    from casemate.verifier import policy as words
    from casemate.verifier import snp_policy as snp

    newest = TcbVersion.parse(maker.root.product, maker.root.newest_tcb)
    return SnpPolicy(
        root=SimulatedRoot.of(maker.root.root_certificate),
        public_seed=words.UNSAFE_PUBLIC_SEED if maker.seeded else words.REFUSE_PUBLIC_SEED,
        revocation=snp.REQUIRE_REVOCATION_LIST,
        signing_keys=frozenset({maker.signing_key}),
        measurement=frozenset({launch_digest(wanted)}),
        host_data=frozenset({wanted.host_data}),
        id_key_digest=snp.ANY_ID_KEY,
        author_key_digest=snp.ANY_AUTHOR_KEY,
        family_id=snp.ANY_FAMILY_ID,
        image_id=snp.ANY_IMAGE_ID,
        report_id=snp.ANY_REPORT_ID,
        chip_id=snp.ANY_CHIP,
        platform_info=snp.ANY_PLATFORM,
        mitigations=snp.ANY_MITIGATIONS,
        vmpl=frozenset({0}),
        minimum_guest_svn=snp.ANY_GUEST_SVN,
        debug=words.UNSAFE_ALLOW_DEBUG if wanted.policy & DEBUG else words.REFUSE_DEBUG,
        migration=words.MUST_BE_OFF,
        smt=words.ANY_SMT,
        sockets=snp.ANY_SOCKETS,
        minimum_abi=snp.ANY_ABI,
        provisional=snp.REFUSE_PROVISIONAL,
        reported_tcb=newest,
        committed_tcb=newest,
        launch_tcb=newest,
        current_tcb=newest,
        report_data=words.FRESH_NONCE,
    )
