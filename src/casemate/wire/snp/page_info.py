"""The launch digest of SEV-SNP: a chain of SHA-384 over one PAGE_INFO for each page that LAUNCH_UPDATE adds."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Self

from casemate.wire.encodings.spans import Layout, number, raw, zeros

PAGE_SIZE = 4096
DIGEST_SIZE = 48
"""Bytes of SHA-384."""
VMSA_GPA = 0xFFFF_FFFF_F000
"""The GPA in PAGE_INFO of every VMSA: all bits set, cut to a page and to 48 bits (56860, SNP_LAUNCH_UPDATE)."""


class PageType(IntEnum):
    """PAGE_TYPE of SNP_LAUNCH_UPDATE (56860, 8.17, table "Page types")."""

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6


_HASHED = (PageType.NORMAL, PageType.VMSA)


@dataclass(frozen=True, slots=True)
class PageInfo:
    """PAGE_INFO, 0x70 bytes: what one page adds to the launch digest."""

    LAYOUT: ClassVar[Layout] = Layout(
        "PAGE_INFO",
        "AMD 56860, 8.17.2 SNP_LAUNCH_UPDATE, table PAGE_INFO",
        (
            raw(0x00, DIGEST_SIZE, "digest_cur"),
            raw(0x30, DIGEST_SIZE, "contents"),
            number(0x60, 2, "length"),
            number(0x62, 1, "page_type", PageType),
            number(0x63, 1, "imi_page"),
            number(0x64, 1, "vmpl3_perms"),
            number(0x65, 1, "vmpl2_perms"),
            number(0x66, 1, "vmpl1_perms"),
            zeros(0x67, 1),
            number(0x68, 8, "gpa"),
        ),
    )

    digest_cur: bytes
    """The launch digest before this page."""
    contents: bytes
    """SHA-384 of the page where its type is measured by content, else zeros."""
    length: int
    page_type: PageType
    imi_page: int
    """1 for a page of an initial migration image."""
    vmpl3_perms: int
    vmpl2_perms: int
    vmpl1_perms: int
    gpa: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        return cls(**cls.LAYOUT.parse(data))

    def encode(self) -> bytes:
        return self.LAYOUT.encode(self)


@dataclass(frozen=True, slots=True)
class LaunchPage:
    """One page as it is given to SNP_LAUNCH_UPDATE."""

    page_type: PageType
    gpa: int
    """Guest physical address; ignored for a VMSA, see :data:`VMSA_GPA`."""
    content: bytes
    """4096 bytes; ignored for ZERO, UNMEASURED, SECRETS and CPUID pages."""


def extend(digest: bytes, page: LaunchPage) -> bytes:
    """The launch digest after ``page``, for which VMPL 1 to 3 have no permissions, outside a migration image."""
    hashed = hashlib.sha384(page.content).digest() if page.page_type in _HASHED else bytes(DIGEST_SIZE)
    return extend_run(digest, (hashed,), page.page_type, page.gpa)


def extend_run(
    digest: bytes, contents: Iterable[bytes], page_type: PageType, gpa: int, perms: tuple[int, int, int] = (0, 0, 0)
) -> bytes:
    """The launch digest after contiguous pages: SHA-384 over one PAGE_INFO for each, written out here for speed.

    Args:
        digest: the one before.
        contents: the content hash in PAGE_INFO, for each page.
        page_type: of all of them.
        gpa: of the first; ignored for a VMSA.
        perms: of VMPL 3, 2 and 1.
    """
    middle = bytes((PageInfo.LAYOUT.size, 0, page_type, 0, *perms, 0))
    is_vmsa = page_type is PageType.VMSA
    at = VMSA_GPA if is_vmsa else gpa
    for hashed in contents:
        digest = hashlib.sha384(b"".join((digest, hashed, middle, at.to_bytes(8, "little")))).digest()
        at = at if is_vmsa else at + PAGE_SIZE
    return digest


def hash_pages(content: bytes) -> list[bytes]:
    """SHA-384 of each page. A page equal to the one before it is not hashed again: firmware has many equal pages."""
    hashes: list[bytes] = []
    before, hashed = b"", b""
    for at in range(0, len(content), PAGE_SIZE):
        page = content[at : at + PAGE_SIZE]
        if page != before:
            before, hashed = page, hashlib.sha384(page).digest()
        hashes.append(hashed)
    return hashes
