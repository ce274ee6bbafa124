"""An image: an SGXS stream and the SIGSTRUCT over it; on disk NAME.sgxs and NAME.sigstruct."""

import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from casemate.images.errors import ImageFileError
from casemate.wire.errors import os_error_text
from casemate.wire.messages.chip import MAX_SGXS
from casemate.wire.sgx.sgxs import Sgxs, measure_sgxs
from casemate.wire.sgx.sigstruct import SIGSTRUCT_SIZE, Sigstruct
from casemate.wire.snp.launch import digest_of
from casemate.wire.snp.paravirtual import guest_pages

if TYPE_CHECKING:
    from casemate.images.layout import ImageContents

SGXS_SUFFIX = ".sgxs"
SIGSTRUCT_SUFFIX = ".sigstruct"


@dataclass(frozen=True)
class Image:
    """An enclave before its launch, as its two files. Nothing is parsed before it is asked for."""

    name: str
    """The files' name without suffix; what measures is in the stream."""
    sgxs: bytes
    sigstruct: bytes

    @cached_property
    def mr_enclave(self) -> bytes:
        """MRENCLAVE: SHA-256 of the stream, whatever the SIGSTRUCT says."""
        return measure_sgxs(self.sgxs)

    @cached_property
    def launch_digest(self) -> bytes:
        """What SEV-SNP measures of its pages (48 bytes); WireError where the stream is none."""
        return digest_of(guest_pages(self.parse_sgxs().linear_contents()))

    @cached_property
    def mr_signer(self) -> bytes:
        """MRSIGNER: SHA-256 of the SIGSTRUCT's modulus."""
        return self.parse_sigstruct().mr_signer()

    def parse_sgxs(self) -> Sgxs:
        """The stream's pages; :class:`casemate.wire.errors.WireError` where it is none."""
        return Sgxs.parse(self.sgxs)

    def parse_sigstruct(self) -> Sigstruct:
        """The SIGSTRUCT, its signature unchecked; WireError where it is none."""
        return Sigstruct.parse(self.sigstruct)

    def contents(self) -> "ImageContents":
        """Manifest, lock and files out of the pages; WireError or ManifestError where they are not in order."""
        from casemate.images.layout import read_pages  # compiles schemas: clients that launch need no engine for that

        return read_pages(self.parse_sgxs().linear_contents())


def write_image(image: Image, folder: Path) -> tuple[Path, Path]:
    """Writes both files into a folder, which is made; gives their paths, the stream's first."""
    paths = folder / f"{image.name}{SGXS_SUFFIX}", folder / f"{image.name}{SIGSTRUCT_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_bytes(image.sgxs)
        paths[1].write_bytes(image.sigstruct)
    except OSError as error:
        raise ImageFileError(f"the image cannot be written to {folder}: {os_error_text(error)}") from None
    return paths


def read_image(path: Path) -> Image:
    """The image of which ``path`` names one file, or both without a suffix, or the one folder that holds one image."""
    if path.is_dir():
        streams = sorted(path.glob(f"*{SGXS_SUFFIX}"))
        if len(streams) != 1:
            raise ImageFileError(f"{path} holds {len(streams)} images, name one of them")
        path = streams[0]
    stem = path.with_suffix("") if path.suffix in (SGXS_SUFFIX, SIGSTRUCT_SUFFIX) else path
    return Image(
        stem.name,
        _read(stem.with_name(stem.name + SGXS_SUFFIX), MAX_SGXS),
        _read(stem.with_name(stem.name + SIGSTRUCT_SUFFIX), SIGSTRUCT_SIZE),
    )


def _without_waiting(path: str, flags: int) -> int:
    """Opens what may be a pipe into which nobody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path, limit: int) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageFileError(f"{path} is no plain file")
            content = file.read(limit + 1)
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {os_error_text(error)}") from None
    if len(content) > limit:
        raise ImageFileError(f"{path} is larger than {limit} bytes")
    return content
