"""`casemate vm policy`: a policy for a guest's reports, from its files and the user's own machine."""

from typing import TYPE_CHECKING

from casemate.cli.snp.policies import Maker, snp_policy
from casemate.cli.vm.launch import DEBUG
from casemate.wire.messages.vm.host import LaunchVm
from casemate.wire.snp.kernel_hashes import KernelHashes
from casemate.wire.snp.launch import GuestShape, launch_digest
from casemate.wire.snp.ovmf import parse_ovmf

if TYPE_CHECKING:
    from casemate.verifier import SnpPolicy


def digest_of_launch(wanted: LaunchVm) -> bytes:
    """The launch digest that the firmware will measure, computed here without asking the host.

    Raises:
        WireError: the firmware is no image, or has no place for what is wanted.
    """
    kernel = None
    if wanted.kernel is not None:
        kernel = KernelHashes.of(wanted.kernel, wanted.initrd or b"", (wanted.append or b"").decode())
    shape = GuestShape(wanted.vcpus, wanted.vcpu_signature, wanted.vmm, wanted.guest_features, kernel)
    return launch_digest(parse_ovmf(wanted.firmware), shape)


def vm_policy(wanted: LaunchVm, maker: Maker) -> "SnpPolicy":
    """A policy for exactly this guest, as it will be launched."""
    debug = bool(wanted.policy & DEBUG)
    return snp_policy(maker, measurement=digest_of_launch(wanted), debug=debug, host_data=wanted.host_data)
