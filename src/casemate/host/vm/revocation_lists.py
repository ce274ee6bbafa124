"""The revocation lists of SEV-SNP roots, which the supervisor puts into the host's folder."""

from pathlib import Path

from casemate.process.plain_file import read_plain
from casemate.wire.messages.snp_firmware import MAX_CERTIFICATES


def read_revocation_list(directory: Path, product: str) -> bytes | None:
    """The list of a product's root (DER); None where there is none, or the file is too long to be one."""
    try:
        content = read_plain(directory / f"amd-{product}.crl", MAX_CERTIFICATES + 1)
    except OSError:
        return None
    return content if len(content) <= MAX_CERTIFICATES else None
