"""The launch of a guest (AMD 56860, 4.3, 8.16 to 8.18): its policy, its digest page by page, its owner's signatures."""

from dataclasses import dataclass

from casemate.chip.crypto import check_p384
from casemate.chip.errors import ForgedError
from casemate.chip.snp.cpuid_policy import check_cpuid
from casemate.chip.snp.errors import FirmwareError, FirmwareStatus
from casemate.chip.snp.guest_context import NO_IDENTITY, GuestContext, GuestIdentity
from casemate.wire.errors import WireError
from casemate.wire.messages.snp_firmware import MAX_UPDATE_PAGES, LaunchFinish, LaunchUpdate
from casemate.wire.snp.cpuid_page import CpuidPage
from casemate.wire.snp.id_block import IdAuth, IdBlock, IdSignature
from casemate.wire.snp.mode import VmMode
from casemate.wire.snp.page_info import DIGEST_SIZE, PAGE_SIZE, PageType, extend_run
from casemate.wire.snp.paravirtual import FAMILY_ID
from casemate.wire.snp.report import GuestPolicy
from casemate.wire.snp.secrets_page import SecretsPage
from casemate.wire.snp.tcb import Product

MEASURED = (PageType.NORMAL, PageType.VMSA)
"""Types whose pages are measured by content."""

_SINGLE = (PageType.SECRETS, PageType.CPUID)
"""Types that the firmware makes or checks: one page at a time."""
_PERMISSIONS = 0xF
_ABI_MASK = 0xFFFF
_UNMET = {
    GuestPolicy.RAPL_DIS: "RAPL is not turned off here",
    GuestPolicy.CIPHERTEXT_HIDING_DRAM: "DRAM is a file of the host's: whoever likes reads ciphertext",
}
"""Demands that this platform never meets. The others it always does: one socket, no CXL, no page is ever swapped, no
migration agent; AES-256-XTS from Genoa on."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a guest's pages can be."""

    pages: int
    """Number of pages of DRAM."""
    top: int
    """One more than the highest guest physical address."""


def check_policy(policy: int, *, product: Product, api_major: int, api_minor: int) -> None:
    """Whether a guest with ``policy`` may be launched on this processor by a firmware of this version.

    Raises:
        FirmwareError: INVALID_PARAM: reserved bits. POLICY_FAILURE: the platform is not what the policy demands.
    """
    try:
        flags = GuestPolicy(policy & ~_ABI_MASK)
    except ValueError:
        raise FirmwareError(
            FirmwareStatus.INVALID_PARAM, f"policy {policy:#x} has bits that this firmware does not know"
        ) from None
    if GuestPolicy.RESERVED_ONE not in flags:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, f"policy {policy:#x}: bit 17 must be one")
    wanted = (policy >> 8 & 0xFF, policy & 0xFF)
    if wanted > (api_major, api_minor):
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE,
            f"the policy wants firmware of interface {wanted[0]}.{wanted[1]}, this is {api_major}.{api_minor}",
        )
    if GuestPolicy.SMT not in flags:
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE, f"policy {policy:#x} forbids SMT (bit 16 is zero), and SMT is on here"
        )
    if GuestPolicy.MEM_AES_256_XTS in flags and product is Product.MILAN:
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE, "the policy demands MEM_AES_256_XTS: a Milan encrypts with AES-128-XTS"
        )
    for flag, reason in _UNMET.items():
        if flag in flags:
            raise FirmwareError(FirmwareStatus.POLICY_FAILURE, f"the policy demands {flag.name}: {reason}")


def check_update(update: LaunchUpdate, memory: Memory) -> None:
    """Returns where the pages of ``update`` could be added; their state is the memory controller's to check.

    Raises:
        FirmwareError: INVALID_ADDRESS, INVALID_PARAM.
    """
    single = update.page_type in _SINGLE
    if not 1 <= update.count <= (1 if single else MAX_UPDATE_PAGES):
        want = "1" if single else f"1 to {MAX_UPDATE_PAGES}"
        raise FirmwareError(
            FirmwareStatus.INVALID_PARAM, f"{update.count} pages of type {update.page_type.name}, want {want}"
        )
    _check_place("spa", update.spa, update.count, memory.pages * PAGE_SIZE)
    if update.page_type is not PageType.VMSA:
        _check_place("gpa", update.gpa, update.count, memory.top)
    if (update.vmpl1_perms | update.vmpl2_perms | update.vmpl3_perms) & ~_PERMISSIONS:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, "permissions of a VMPL have four bits")


def _check_place(name: str, start: int, count: int, end: int) -> None:
    if start % PAGE_SIZE or start + count * PAGE_SIZE > end:
        raise FirmwareError(
            FirmwareStatus.INVALID_ADDRESS, f"{count} pages at {name} {start:#x}: want whole pages below {end:#x}"
        )


def secrets_page(context: GuestContext, fms: int) -> bytes:
    """What the firmware itself puts into a SECRETS page."""
    keys = [key.reveal() for key in context.vmpcks]
    return SecretsPage(fms=fms, vmpck0=keys[0], vmpck1=keys[1], vmpck2=keys[2], vmpck3=keys[3]).encode()


def checked_cpuid_page(content: bytes, mode: VmMode) -> bytes:
    """What goes into a CPUID page: what the host proposes, where that is true of this processor.

    Raises:
        FirmwareError: INVALID_PARAM.
    """
    try:
        page = CpuidPage.parse(content)
    except WireError as error:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, str(error)) from None
    check_cpuid(page.functions, mode)
    return page.encode()


def extended(digest: bytes, update: LaunchUpdate, digests: bytes) -> bytes:
    """The launch digest after the pages of ``update``.

    Args:
        digest: the one before.
        update: where they are, and who may do what with them.
        digests: SHA-384 of each, one after another, where their type is measured by content; else nothing.
    """
    empty = bytes(DIGEST_SIZE)
    contents = [digests[at : at + DIGEST_SIZE] for at in range(0, len(digests), DIGEST_SIZE)] or [empty] * update.count
    perms = (update.vmpl3_perms, update.vmpl2_perms, update.vmpl1_perms)
    return extend_run(digest, contents, update.page_type, update.gpa, perms)


def identified(context: GuestContext, finish: LaunchFinish) -> GuestIdentity:
    """The identity that SNP_LAUNCH_FINISH gives to a guest of this digest and policy.

    Raises:
        FirmwareError: INVALID_PARAM: malformed. BAD_SIGNATURE, BAD_MEASUREMENT, POLICY_FAILURE: as they say.
    """
    if finish.id_block is None or finish.id_auth is None:
        if finish.id_block or finish.id_auth or finish.author_key:
            raise FirmwareError(FirmwareStatus.INVALID_PARAM, "id_block and id_auth come together, an author with both")
        return GuestIdentity(
            finish.host_data, None, NO_IDENTITY.id_key_digest, NO_IDENTITY.author_key_digest, author_key=False
        )
    try:
        block, auth = IdBlock.parse(finish.id_block), IdAuth.parse(finish.id_auth)
        author = auth.author_signature() if finish.author_key else None
    except WireError as error:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, str(error)) from None
    _check_signatures(finish.id_block, auth.id, author)
    _check_block(context, block)
    return GuestIdentity(
        host_data=finish.host_data,
        block=block,
        id_key_digest=auth.id.key.digest,
        author_key_digest=bytes(DIGEST_SIZE) if author is None else author.key.digest,
        author_key=author is not None,
    )


def _check_signatures(block: bytes, by_id: IdSignature, by_author: IdSignature | None) -> None:
    _check_signature("the id block is not signed by the id key", by_id, block)
    if by_author is not None:
        _check_signature("the id key is not signed by the author key", by_author, by_id.key.encode())


def _check_signature(reason: str, signed: IdSignature, message: bytes) -> None:
    try:
        check_p384(signed.key.point, signed.signature.numbers, message)
    except ForgedError:
        raise FirmwareError(FirmwareStatus.BAD_SIGNATURE, reason) from None


def _check_block(context: GuestContext, block: IdBlock) -> None:
    if block.family_id == FAMILY_ID:
        raise FirmwareError(FirmwareStatus.INVALID_PARAM, "this FAMILY_ID marks paravirtual guests, and this is none")
    if block.ld != context.digest:
        raise FirmwareError(
            FirmwareStatus.BAD_MEASUREMENT,
            f"the launch digest is {context.digest.hex()}, the id block wants {block.ld.hex()}",
        )
    if block.policy != context.policy:
        raise FirmwareError(
            FirmwareStatus.POLICY_FAILURE, f"the policy is {context.policy:#x}, the id block wants {block.policy:#x}"
        )
