"""The page in which QEMU gives OVMF the hashes of kernel, initial RAM disk and command line; it is measured.

Source: QEMU, target/i386/sev.c, "SevHashTable"; OVMF, AmdSev/BlobVerifierLibSevHashes.
"""

import hashlib
import uuid
from dataclasses import dataclass

from casemate.wire.errors import WireError
from casemate.wire.snp.page_info import PAGE_SIZE

_TABLE = uuid.UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
_KERNEL = uuid.UUID("4de79437-abd2-427f-b835-d5b172d2045b")
_INITRD = uuid.UUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
_CMDLINE = uuid.UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class KernelHashes:
    """SHA-256 of each of the three, 32 bytes."""

    kernel: bytes
    initrd: bytes
    cmdline: bytes

    @classmethod
    def of(cls, kernel: bytes, initrd: bytes = b"", cmdline: str = "") -> "KernelHashes":
        """Hashes files; the command line, even an empty one, is hashed with its final zero byte."""
        hashed = [hashlib.sha256(part).digest() for part in (kernel, initrd, cmdline.encode() + b"\x00")]
        return cls(*hashed)

    def table(self) -> bytes:
        """The table, padded to 16 bytes: command line, initial RAM disk and kernel, in this order."""
        entries = b"".join(
            _entry(guid, digest)
            for guid, digest in ((_CMDLINE, self.cmdline), (_INITRD, self.initrd), (_KERNEL, self.kernel))
        )
        table = _entry(_TABLE, entries)
        return table + bytes(-len(table) % _ALIGNMENT)

    def page(self, offset: int) -> bytes:
        """The page with the table at ``offset``, which OVMF's own table names."""
        table = self.table()
        if offset + len(table) > PAGE_SIZE:
            raise WireError(
                "OVMF.SEV_HASH_TABLE.base",
                got=f"offset {offset:#x} in its page",
                want=f"at most {PAGE_SIZE - len(table):#x}",
            )
        return bytes(offset) + table + bytes(PAGE_SIZE - offset - len(table))


def _entry(guid: uuid.UUID, content: bytes) -> bytes:
    """GUID, length of the whole entry (u16), content."""
    return guid.bytes_le + (16 + 2 + len(content)).to_bytes(2, "little") + content
