"""An attested function as a guest of SEV-SNP: the pages of its image that are measured, and fields of its reports.

SIMULATED: such a guest is paravirtual. Its pages are measured as those of any guest, but its process runs directly on
the host's processor, without the memory and the modes of a VM. Its reports say so: FAMILY_ID is :data:`FAMILY_ID`,
which the chip gives to no other guest. In place of an ID block it has the SIGSTRUCT, which the chip checks as EINIT
does.
"""

import hashlib
from collections.abc import Iterator

from casemate.wire.snp.page_info import PAGE_SIZE, LaunchPage, PageType
from casemate.wire.snp.report import GuestPolicy

FAMILY_ID = b"paravirtual\x00\x00\x00\x00\x00"
"""FAMILY_ID of every paravirtual guest, and of no other."""

_IMAGE_ID_SIZE = 16


def guest_pages(pages: bytes) -> Iterator[LaunchPage]:
    """An image's pages, in their order from GPA 0 on; it has no measured registers."""
    for gpa in range(0, len(pages), PAGE_SIZE):
        yield LaunchPage(PageType.NORMAL, gpa, pages[gpa : gpa + PAGE_SIZE])


def guest_policy(*, debug: bool) -> int:
    """POLICY: multithreading allowed, as the simulated platform has it; debugging where the SIGSTRUCT says DEBUG."""
    return GuestPolicy.RESERVED_ONE | GuestPolicy.SMT | (GuestPolicy.DEBUG if debug else 0)


def image_id(isv_prod_id: int) -> bytes:
    """IMAGE_ID: ISVPRODID, little-endian."""
    return isv_prod_id.to_bytes(_IMAGE_ID_SIZE, "little")


def id_key_digest(mr_signer: bytes) -> bytes:
    """ID_KEY_DIGEST: SHA-384 of MRSIGNER, which is SHA-256 of the developer's RSA modulus; AMD has id keys on P-384."""
    return hashlib.sha384(mr_signer).digest()
